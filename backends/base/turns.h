/*
 * Threads of which one at a time waits for input, and whoever got some works on it itself. While it
 * works nobody waits, as long as that is short: the same thread is back sooner than another one
 * would be awake. Another takes the turn where there was more to do twice in a row, and where
 * nobody has taken it for a tick of the one that watches: so a long piece of work holds the rest up
 * for two ticks at most.
 *
 * Where several callers ask in turn, as many threads wait at once: each caller then runs on a
 * processor of its own, and a single thread would be asked by others while it works for one.
 *
 * Thread-safe; the lock is a leaf.
 */
#ifndef AIB_BASE_TURNS_H
#define AIB_BASE_TURNS_H

#include "callers.h"

#include <pthread.h>
#include <stdbool.h>

#define TURNS_TICK_MS 1 /* at least; two at most */

struct turns {
	pthread_mutex_t lock; /* guards all below */
	bool over;
	unsigned taken, at_once, most; /* how many have it, may have it now, and ever */
	bool wanted;		       /* one that waits is to take it */
	unsigned long count;	       /* moves when it is taken and when it is left */
	unsigned crowded;	       /* how often in a row there was more to do */
	unsigned threads, waiting;
	struct callers callers;
	bool watched; /* one of them looks at every tick */
	bool quiet;   /* nothing has happened for long: none does */
	unsigned quiet_ticks;
	pthread_cond_t watch, rest; /* where that one waits, and the others */
};

/* MOST threads may wait at once; 1 where the input is a stream, of which one reads. */
void turns_init(struct turns *t, unsigned most);
void turns_done(struct turns *t);

/* There is one thread more; before its first turn. */
void turns_join(struct turns *t);
/* Wait until a turn is this thread's. How many there may be at once; 0: it is the end, and there
 * are none any more. */
unsigned turns_take(struct turns *t);
/* This thread has something to do, for CALLER (0: nobody knows); MORE: there is more than
 * that. Whether none waits for a turn: another thread may be started. */
bool turns_leave(struct turns *t, pid_t caller, bool more);
/* Nobody gets a turn any more; who has it keeps it. */
void turns_end(struct turns *t);

#endif
