#include "idle.h"

#include "../../base/clock.h"
#include "../../base/thread.h"

void idle_init(struct idle_pool *p, void (*free)(struct idle *))
{
	*p = (struct idle_pool){.free = free};
	pthread_mutex_init(&p->lock, NULL);
	cond_init(&p->changed);
}

static void free_list(struct idle_pool *p, struct idle *list)
{
	while (list) {
		struct idle *x = list;

		list = x->next;
		p->free(x);
	}
}

void idle_done(struct idle_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (p->keeping)
		pthread_join(p->keeper, NULL);
	free_list(p, p->list);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
}

/* ---- The keeper ---- */

static bool is_over(const struct idle *x)
{
	return x->dialer && (ssh_dialer_ended(x->dialer) || clock_ms() - x->since_ms > IDLE_MAX_MS);
}

/* Take out what is over. */
static struct idle *sort_out_locked(struct idle_pool *p)
{
	struct idle *over = NULL, *x;

	for (struct idle **at = &p->list; (x = *at);) {
		if (!is_over(x)) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		p->n--;
		x->next = over;
		over = x;
	}
	return over;
}

static void *keep(void *ctx)
{
	struct idle_pool *p = ctx;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct idle *over = sort_out_locked(p);
		struct timespec at;

		if (over) {
			pthread_mutex_unlock(&p->lock);
			free_list(p, over);
			pthread_mutex_lock(&p->lock);
		} else if (p->n == 0) {
			pthread_cond_wait(&p->changed, &p->lock);
		} else {
			clock_gettime(CLOCK_MONOTONIC, &at);
			at.tv_sec += IDLE_LOOK_MS / 1000;
			pthread_cond_timedwait(&p->changed, &p->lock, &at);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- Taking and putting ---- */

struct idle *idle_take(struct idle_pool *p)
{
	struct idle *x;

	pthread_mutex_lock(&p->lock);
	x = p->list;
	if (x) {
		p->list = x->next;
		p->n--;
	}
	pthread_mutex_unlock(&p->lock);
	return x;
}

void idle_put(struct idle_pool *p, struct idle *x)
{
	bool room;

	pthread_mutex_lock(&p->lock);
	if (x->dialer && !p->keeping)
		p->keeping = thread_start(&p->keeper, NULL, keep, p) == 0;
	room = p->n < IDLE_MAX && (!x->dialer || p->keeping);
	if (room) {
		x->since_ms = clock_ms();
		x->next = p->list;
		p->list = x;
		p->n++;
		if (p->n == 1 && p->keeping)
			pthread_cond_signal(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	if (!room)
		p->free(x);
}
