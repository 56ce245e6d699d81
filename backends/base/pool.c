/* See pool.h. */
#include "pool.h"

#include "clock.h"
#include "macros.h"
#include "thread.h"

#include <pthread.h>

struct pool {
	struct pool_conf conf;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t work;  /* something was queued, or stop */
	pthread_cond_t ended; /* a thread ended */
	struct work *first, *last;
	unsigned queued, musts; /* all that wait; those of them that do not count */
	unsigned threads, idle;
	unsigned running; /* works, by threads and by who entered */
	bool stop;
};

int pool_new(const struct pool_conf *conf, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->conf = *conf;
	pthread_mutex_init(&p->lock, NULL);
	cond_init(&p->work);
	cond_init(&p->ended);
	*ret = p;
	return 0;
}

static void enqueue_locked(struct pool *p, struct work *w, bool must)
{
	w->must = must;
	w->prev = p->last;
	w->next = NULL;
	w->queued = true;
	if (p->last)
		p->last->next = w;
	else
		p->first = w;
	p->last = w;
	p->queued++;
	p->musts += must;
}

static void dequeue_locked(struct pool *p, struct work *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		p->first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		p->last = w->prev;
	w->queued = false;
	p->queued--;
	p->musts -= w->must;
}

static bool is_full_locked(const struct pool *p)
{
	return p->running >= p->conf.threads;
}

/* Whether there is work; false where the thread should end. */
static bool wait_for_work_locked(struct pool *p)
{
	struct timespec until = clock_timespec(clock_ms() + p->conf.idle_ms);
	int r = 0;

	p->idle++;
	while (!p->first && !p->stop && r == 0)
		r = pthread_cond_timedwait(&p->work, &p->lock, &until);
	while (p->first && is_full_locked(p))
		pthread_cond_wait(&p->work, &p->lock);
	p->idle--;
	return p->first;
}

static void *pool_thread(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	while (wait_for_work_locked(p)) {
		struct work *w = p->first;

		dequeue_locked(p, w);
		p->running++;
		pthread_mutex_unlock(&p->lock);
		w->run(w);
		pthread_mutex_lock(&p->lock);
		p->running--;
	}
	p->threads--;
	pthread_cond_broadcast(&p->ended);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static bool start_thread(struct pool *p)
{
	return thread_start_detached(0, pool_thread, p) == 0;
}

int pool_submit(struct pool *p, struct work *w, bool must)
{
	bool wake = false;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	if (p->stop || (p->queued - p->musts >= p->conf.queue && !must)) {
		r = -EBUSY;
	} else {
		if (p->queued >= p->idle && p->threads < p->conf.threads && start_thread(p))
			p->threads++;
		if (p->threads > 0)
			enqueue_locked(p, w, must);
		else
			r = -EAGAIN;
		wake = p->idle > 0;
	}
	pthread_mutex_unlock(&p->lock);
	/* Not before: who is woken would wait for the lock. */
	if (wake)
		pthread_cond_signal(&p->work);
	return r;
}

bool pool_enter(struct pool *p)
{
	bool may;

	pthread_mutex_lock(&p->lock);
	may = !p->stop && !p->first && !is_full_locked(p);
	p->running += may;
	pthread_mutex_unlock(&p->lock);
	return may;
}

void pool_leave(struct pool *p)
{
	bool wake;

	pthread_mutex_lock(&p->lock);
	p->running--;
	wake = p->first;
	pthread_mutex_unlock(&p->lock);
	if (wake)
		pthread_cond_signal(&p->work);
}

bool pool_remove(struct pool *p, struct work *w)
{
	bool was;

	pthread_mutex_lock(&p->lock);
	was = w->queued;
	if (was)
		dequeue_locked(p, w);
	pthread_mutex_unlock(&p->lock);
	return was;
}

bool pool_stop(struct pool *p, uint64_t timeout_ms)
{
	struct timespec until = clock_timespec(clock_ms() + timeout_ms);
	bool ended;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	while (p->threads > 0 && r == 0)
		r = pthread_cond_timedwait(&p->ended, &p->lock, &until);
	ended = p->threads == 0;
	pthread_mutex_unlock(&p->lock);
	return ended;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->ended);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void pool_end(struct pool *p)
{
	while (p && !pool_stop(p, 60000))
		;
	pool_free(p);
}
