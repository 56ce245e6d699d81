/*
 * A bounded set of threads for work that may wait: the calls of a route, the starts of its
 * commands. Threads start when there is work for them and end when there was none for a while, so
 * an unused pool costs nothing; work waits in a bounded queue, in order. The lock is a leaf; work
 * runs without it. Knows nothing of requests.
 */
#ifndef AIB_BASE_POOL_H
#define AIB_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct pool;

/* Embed it; zeroed. */
struct work {
	void (*run)(struct work *); /* may free the work */
	struct work *prev, *next;   /* the pool's, while it is queued */
	bool queued, must;
};

struct pool_conf {
	unsigned threads; /* at most; at least 1 */
	unsigned queue;	  /* works that wait, at most; those that must be taken do not count */
	uint64_t idle_ms;
};

/* Returns 0 or -ENOMEM. */
int pool_new(const struct pool_conf *conf, struct pool **ret);

/* Any thread; does not block. Returns 0, -EBUSY where the queue is full (unless MUST), or -EAGAIN
 * where no thread can be made and none runs. */
int pool_submit(struct pool *p, struct work *w, bool must);

/* Whether the caller may run a work by itself: nothing waits, and fewer than all threads' number
 * run. Until pool_leave it counts as one of them; pool_stop does not wait for it. Any thread; does
 * not block. */
bool pool_enter(struct pool *p);
void pool_leave(struct pool *p);

/* Take W back where it still waits. Returns whether it did; else it runs, ran or was never here. */
bool pool_remove(struct pool *p, struct work *w);

/* Take nothing more; the threads end when the queue is empty. Returns whether they all have within
 * TIMEOUT_MS. May be called again. */
bool pool_stop(struct pool *p, uint64_t timeout_ms);

/* After pool_stop returned true, or where nothing was ever submitted. Takes NULL. */
void pool_free(struct pool *p);

/* Run what is queued, wait for all of it however long it takes, and free. The caller sees to it
 * that it ends soon. Takes NULL. */
void pool_end(struct pool *p);

#endif
