/*
 * What is known of a runtime's image, for the control tree and for those who wait while another one
 * builds it. It is what was seen last: nobody is asked.
 */
#ifndef AIB_SESSIONS_STATE_H
#define AIB_SESSIONS_STATE_H

#include "runtimes.h"

#include <pthread.h>

enum runtime_state { RUNTIME_NOT_BUILT, RUNTIME_BUILDING, RUNTIME_BUILT, RUNTIME_FAILED };

struct known {
	struct runtime rt;
	struct recipe recipe; /* empty where there is nothing to build */

	pthread_mutex_t lock; /* guards the rest */
	enum runtime_state state;
	unsigned building; /* callers that build it, on whatever engine */
	char line[256];	   /* the newest of them */
	char engine[256];  /* where that is or was */
	struct err error;
};

struct runtimes {
	struct runtimes_conf conf;
	struct known *list; /* in the order of names */
	size_t n;
};

void known_begin(struct known *k, const char *engine);
void known_line(struct known *k, const char *text);
/* R is 0, or the -errno of the build that `known_begin` began, with ERR. */
void known_end(struct known *k, int r, const struct err *err);
/* It was found on ENGINE. */
void known_found(struct known *k, const char *engine);

#endif
