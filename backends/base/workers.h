/*
 * A few threads for work that may block, with a bounded queue. Threads start when there is work and
 * end when they have been idle for some seconds, so an unused set costs nothing.
 */
#ifndef AIB_BASE_WORKERS_H
#define AIB_BASE_WORKERS_H

#include "macros.h"

struct work {
	void (*run)(struct work *); /* owns the work from here on */
	struct work *next;
};

struct workers;

/* At most MAX_THREADS at once and MAX_QUEUED waiting. NULL where memory is out. */
struct workers *workers_new(unsigned max_threads, unsigned max_queued);
/* Runs what is queued, waits for all of it, and frees. The caller sees to it that it ends soon.
 * Takes NULL. */
void workers_free(struct workers *w);
/* 0, or -EAGAIN where the queue is full or no thread could be started: the work is the caller's
 * still. */
int workers_submit(struct workers *w, struct work *work);

#endif
