/* Threads of a program whose signals are for its main thread, and what they wait at. */
#ifndef AIB_BASE_THREAD_H
#define AIB_BASE_THREAD_H

#include "near.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

/* As pthread_create(3) with every signal blocked in the new thread. ATTR may be NULL. Returns 0 or
 * -errno. */
static inline int thread_start(pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *),
			       void *arg)
{
	sigset_t all, before;
	int e;

	near_leave();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(ret, attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -e;
}

/* The same for a thread that nobody joins. STACK_SIZE is bytes, 0: the default. */
static inline int thread_start_detached(size_t stack_size, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t id;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (stack_size)
		pthread_attr_setstacksize(&attr, stack_size);
	r = thread_start(&id, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return r;
}

/* A condition whose timed waits are on CLOCK_MONOTONIC (clock.h). */
static inline void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

#endif
