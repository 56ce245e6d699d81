/* See workers.h. Threads are detached; `threads` counts them and `idle` those that wait. */
#include "workers.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#define IDLE_SECONDS 5

struct workers {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t more;  /* work was queued, or `ending` was set */
	pthread_cond_t gone;  /* a thread has ended */
	struct work *first, **last;
	unsigned queued, max_queued;
	unsigned threads, max_threads, idle;
	bool ending;
};

struct workers *workers_new(unsigned max_threads, unsigned max_queued)
{
	struct workers *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->more, &attr);
	pthread_cond_init(&w->gone, &attr);
	pthread_condattr_destroy(&attr);
	w->last = &w->first;
	w->max_threads = max_threads;
	w->max_queued = max_queued;
	return w;
}

static struct work *take_locked(struct workers *w)
{
	struct work *work = w->first;

	if (!work)
		return NULL;
	w->first = work->next;
	if (!w->first)
		w->last = &w->first;
	w->queued--;
	return work;
}

/* Whether work came, or the end, before the thread had been idle for too long. */
static bool wait_locked(struct workers *w)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	w->idle++;
	while (!w->first && !w->ending && r == 0)
		r = pthread_cond_timedwait(&w->more, &w->lock, &until);
	w->idle--;
	return w->first;
}

static void *worker(void *arg)
{
	struct workers *w = arg;
	struct work *work;

	pthread_mutex_lock(&w->lock);
	do {
		while ((work = take_locked(w))) {
			pthread_mutex_unlock(&w->lock);
			work->run(work);
			pthread_mutex_lock(&w->lock);
		}
	} while (!w->ending && wait_locked(w));
	w->threads--;
	pthread_cond_signal(&w->gone);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_thread_locked(struct workers *w)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, worker, w);
	pthread_attr_destroy(&attr);
	if (r == 0)
		w->threads++;
	return -r;
}

int workers_submit(struct workers *w, struct work *work)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	if (w->queued >= w->max_queued || w->ending)
		r = -EAGAIN;
	else if (w->idle <= w->queued && w->threads < w->max_threads)
		r = start_thread_locked(w) < 0 && w->threads == 0 ? -EAGAIN : 0;
	if (r == 0) {
		work->next = NULL;
		*w->last = work;
		w->last = &work->next;
		w->queued++;
		pthread_cond_signal(&w->more);
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->more);
	while (w->threads > 0)
		pthread_cond_wait(&w->gone, &w->lock);
	pthread_mutex_unlock(&w->lock);
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->gone);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
