/*
 * Threads of which one at a time waits for input, and whoever got some works on it itself. While it
 * works nobody waits, as long as that is short: the same thread is back sooner than another one
 * would be awake. Another takes the turn where there was more to do twice in a row, and where
 * nobody has taken it for a tick of the one that watches: so a long piece of work holds the rest up
 * for two ticks at most.
 *
 * Thread-safe; the lock is a leaf.
 */
#ifndef AIB_BASE_TURNS_H
#define AIB_BASE_TURNS_H

#include <pthread.h>
#include <stdbool.h>

#define TURNS_TICK_MS 1 /* at least; two at most */

struct turns {
	pthread_mutex_t lock; /* guards all below */
	bool taken, over;
	bool wanted;	     /* one that waits is to take it */
	unsigned long count; /* moves when it is taken and when it is left */
	unsigned crowded;    /* how often in a row there was more to do */
	unsigned waiting;    /* threads */
	bool watched;	     /* one of them looks at every tick */
	bool quiet;	     /* nothing has happened for long: none does */
	unsigned quiet_ticks;
	pthread_cond_t watch, rest; /* where that one waits, and the others */
};

void turns_init(struct turns *t);
void turns_done(struct turns *t);

/* Wait until the turn is this thread's. False: it is the end, and there are none any more. */
bool turns_take(struct turns *t);
/* This thread has something to do; MORE: there is more than that. Whether none waits for the turn:
 * the caller may start another thread. */
bool turns_leave(struct turns *t, bool more);
/* Nobody gets a turn any more; who has it keeps it. */
void turns_end(struct turns *t);

#endif
