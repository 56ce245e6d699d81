/*
 * Connections that wait for the next request, of one endpoint. Where each is a process (ssh), a
 * thread looks after them, so that none stays that has ended, or was not needed for a minute.
 */
#ifndef AIB_DOCKER_IDLE_H
#define AIB_DOCKER_IDLE_H

#include "ssh.h"

#include <pthread.h>

#define IDLE_MAX 8	  /* connections */
#define IDLE_MAX_MS 60000 /* of a connection that is a process */
#define IDLE_LOOK_MS 1000

/* The first member of what waits. */
struct idle {
	struct idle *next;
	uint64_t since_ms;
	const struct ssh_dialer *dialer; /* NULL: no process */
};

struct idle_pool {
	void (*free)(struct idle *);

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	struct idle *list;
	unsigned n;
	pthread_t keeper;
	bool keeping, stop;
};

void idle_init(struct idle_pool *p, void (*free)(struct idle *));
void idle_done(struct idle_pool *p); /* frees all that waits */

struct idle *idle_take(struct idle_pool *p); /* or NULL */
/* X is freed where there is no room. */
void idle_put(struct idle_pool *p, struct idle *x);

#endif
