/*
 * The life of the daemon's process: into the background, what ends it, what watches its end, and
 * what it tells systemd. It knows nothing of mounts.
 *
 * Order: lifecycle_background first, while there is one thread; lifecycle_start next, so that
 * every later thread inherits the blocked signals.
 */
#ifndef AIB_FUSE_LIFECYCLE_H
#define AIB_FUSE_LIFECYCLE_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum lifecycle_report { LIFECYCLE_READY = 'R', LIFECYCLE_ALIVE = 'A', LIFECYCLE_ENDING = 'E' };

struct lifecycle {
	pthread_t thread;
	bool started, background;
	int ready_fd;  /* to the waiting parent, until it was told */
	int report_fd; /* to who supervises us: a byte for each of enum lifecycle_report; -1: none.
			* Non-blocking; borrowed */

	void (*stop)(
	    void *ctx); /* TERM, INT or (in the foreground) HUP came; any number of times */
	void (*overdue)(void *ctx); /* the end takes too long: end the process, whatever is left */
	void *ctx;

	pthread_mutex_t lock; /* guards the two below */
	bool ended;
	uint64_t overdue_ms; /* clock_ms() at which the end is overdue; 0: not ending */
};

#define LIFECYCLE_INIT                                                                             \
	{                                                                                          \
		.ready_fd = -1, .report_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER                 \
	}

/*
 * What a daemon's process is: umask 0, as many open files as allowed, SIGPIPE ignored, standard
 * descriptors open. Call it first.
 */
void lifecycle_init(void);

/*
 * Fork: the child returns 0 in a session of its own; the parent waits until it is ready or has
 * ended, and never returns (its status is 0, or the child's). A signal that ends the parent ends
 * the child, until it is ready. -errno with text where there is no fork.
 */
int lifecycle_background(struct lifecycle *l, struct err *err);

/* Start the thread that waits for signals. The callbacks of L are set. */
int lifecycle_start(struct lifecycle *l, struct err *err);

/* It works: who supervises us is told, or the parent ends, or systemd is told; standard streams go
 * in the background. */
void lifecycle_ready(struct lifecycle *l);

/* It still works: who supervises us is told or, in the foreground, systemd. Does not wait. */
void lifecycle_alive(struct lifecycle *l);

/* How often systemd wants to hear that, in milliseconds; 0: it does not. */
uint64_t lifecycle_alive_ms(void);

/* The end has begun: it is overdue in MS. Only the first call counts. */
void lifecycle_ending(struct lifecycle *l, uint64_t ms);

/* Stop the thread. */
void lifecycle_done(struct lifecycle *l);

#endif
