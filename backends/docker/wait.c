#include "wait.h"

#include "../base/clock.h"
#include "../base/thread.h"

static void wake(void *arg)
{
	struct waiting *w = arg;

	pthread_mutex_lock(w->lock);
	w->cancelled = true;
	pthread_cond_broadcast(w->cond);
	pthread_mutex_unlock(w->lock);
}

void waiting_begin(struct waiting *w, struct bk_req *req, pthread_mutex_t *lock,
		   pthread_cond_t *cond)
{
	*w = (struct waiting){.req = req, .lock = lock, .cond = cond};
	bk_req_on_cancel(req, wake, w);
}

void waiting_end(struct waiting *w)
{
	bk_req_on_cancel(w->req, NULL, NULL);
}

int waiting_wait(struct waiting *w, uint64_t max_ms)
{
	uint64_t ms = bk_req_left_ms(w->req, max_ms), until = clock_ms() + ms;
	struct timespec ts = clock_timespec(until);

	if (w->cancelled)
		return -EINTR;
	if (ms == 0)
		return -ETIMEDOUT;
	pthread_cond_timedwait(w->cond, w->lock, &ts);
	return w->cancelled ? -EINTR : 0;
}

void gate_init(struct gate *g)
{
	pthread_mutex_init(&g->lock, NULL);
	cond_init(&g->cond);
	g->busy = false;
	g->sharers = g->waiting = 0;
}

void gate_done(struct gate *g)
{
	pthread_cond_destroy(&g->cond);
	pthread_mutex_destroy(&g->lock);
}

int gate_enter(struct bk_req *req, struct gate *g)
{
	struct waiting w;
	int r = 0;

	waiting_begin(&w, req, &g->lock, &g->cond);
	pthread_mutex_lock(&g->lock);
	g->waiting++;
	while ((g->busy || g->sharers > 0) && r == 0)
		r = waiting_wait(&w, 60000);
	g->waiting--;
	if (r == 0)
		g->busy = true;
	else
		pthread_cond_broadcast(&g->cond); /* sharers that stood back */
	pthread_mutex_unlock(&g->lock);
	waiting_end(&w);
	return r;
}

int gate_share(struct bk_req *req, struct gate *g)
{
	struct waiting w;
	int r = 0;

	waiting_begin(&w, req, &g->lock, &g->cond);
	pthread_mutex_lock(&g->lock);
	while ((g->busy || g->waiting > 0) && r == 0)
		r = waiting_wait(&w, 60000);
	if (r == 0)
		g->sharers++;
	pthread_mutex_unlock(&g->lock);
	waiting_end(&w);
	return r;
}

void gate_leave(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	if (g->busy)
		g->busy = false;
	else
		g->sharers--;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
}
