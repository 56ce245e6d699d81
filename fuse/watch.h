/*
 * One thread that sees to it that kept calls end: at their deadline, when a signal kills the
 * caller, and, for parked ones, at any signal. It also goes on with parked calls that were woken,
 * and has what is to be done later done. An interrupt says only that there was some signal, once:
 * so it asks /proc again and again whether SIGKILL is pending, since an ignored signal must not end
 * a write.
 *
 * watch.lock is a leaf but for libfuse's lock of one request, which comes before it (libfuse calls
 * watch_interrupt with it held): never call libfuse with watch.lock held.
 */
#ifndef AIB_FUSE_WATCH_H
#define AIB_FUSE_WATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct call;

struct watch {
	pthread_mutex_t lock; /* guards all below, and the fields of calls that say so */
	pthread_cond_t cond;
	struct call *all;
	struct call *woken, **woken_end;
	uint64_t sleeps_until_ms;
	uint64_t beat_at_ms;
	uint64_t later_at_ms; /* UINT64_MAX: never */
	bool stop, running;
	pthread_t thread;

	/* Set before watch_start: called on the thread every BEAT_MS; 0: never. */
	void (*beat)(struct watch *w);
	uint64_t beat_ms;
	/* The same: called once after watch_later, unless that was said again meanwhile. */
	void (*later)(struct watch *w);
};

/* While interrupted or given up, how often a call is looked at. */
#define WATCH_TICK_MS 100
/* How long after its deadline a running call may still answer by itself. */
#define WATCH_GRACE_MS 1000

void watch_init(struct watch *w);
int watch_start(struct watch *w); /* 0 or -errno */
void watch_stop(struct watch *w);
void watch_done(struct watch *w);

/* From now on. CHECK_MS is the call's deadline, UINT64_MAX for none. */
void watch_add(struct watch *w, struct call *c, uint64_t check_ms);
/* Claim C and forget it. Returns whether it was this claim that won. */
bool watch_claim(struct watch *w, struct call *c);
/* There was a signal. */
void watch_interrupt(struct watch *w, struct call *c);
void watch_interrupt_locked(struct watch *w, struct call *c);
/* Look at C again at CHECK_MS. */
void watch_again(struct watch *w, struct call *c, uint64_t check_ms);
/* Have C go on, on the watcher's thread. */
void watch_resume_locked(struct watch *w, struct call *c);
/* Call `later` in MS. */
void watch_later(struct watch *w, uint64_t ms);
/* End all that is left with ERR, as far as it goes in one step. */
void watch_end_all(struct watch *w, int err);

/* Whether SIGKILL is pending for thread TID, or it is gone or not to be seen. */
bool watch_is_killed(pid_t tid);

#endif
