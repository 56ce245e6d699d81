/*
 * The threads that start commands: a few for each sandbox, so that one that does not answer holds
 * up its own commands only. Made when they are needed; of those that nobody uses any more the
 * newest are kept. All of it is the loop's thread's.
 */
#ifndef AIB_EXEC_STARTERS_H
#define AIB_EXEC_STARTERS_H

#include "conn.h"

struct starter {
	struct bk *bk; /* of the sandbox; NULL: requests about sessions */
	struct pool *pool;
	unsigned refs;
	struct starter *prev, *next;
};

/* The threads of BK's sandbox, until starter_put. 0 or -errno. */
int starter_get(struct server *s, struct bk *bk, struct starter **ret);
void starter_put(struct server *s, struct starter *st);
/* Whether a command is starting. */
bool starters_busy(const struct server *s);
/* End all, where none is busy. */
void starters_end(struct server *s);

#endif
