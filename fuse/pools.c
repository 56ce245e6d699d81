/* See pools.h. */
#include "pools.h"

#include "base/clock.h"

void pools_init(struct pools *p, const struct pool_conf *conf, unsigned readers)
{
	*p = (struct pools){.conf = *conf, .readers = readers};
	pthread_mutex_init(&p->lock, NULL);
}

static int make_locked(struct pools *p, struct bk *bk)
{
	struct route_pool *rp = calloc(1, sizeof(*rp));

	if (!rp)
		return -ENOMEM;
	if (pool_new(&p->conf, &rp->pool) < 0) {
		free(rp);
		return -ENOMEM;
	}
	rp->bk = bk;
	rp->next = p->all;
	p->all = rp;
	__atomic_store_n(&bk->front, rp, __ATOMIC_RELEASE);
	return 0;
}

int pools_get(struct pools *p, struct bk *bk, struct route_pool **ret)
{
	int r = 0;

	if (!__atomic_load_n(&bk->front, __ATOMIC_ACQUIRE)) {
		pthread_mutex_lock(&p->lock);
		if (!bk->front)
			r = make_locked(p, bk);
		pthread_mutex_unlock(&p->lock);
	}
	if (r == 0)
		*ret = __atomic_load_n(&bk->front, __ATOMIC_ACQUIRE);
	return r;
}

/* One more in N, where that is not more than MAX. */
static bool take(atomic_uint *n, unsigned max)
{
	if (atomic_fetch_add(n, 1) < max)
		return true;
	atomic_fetch_sub(n, 1);
	return false;
}

bool pools_enter(struct pools *p, struct route_pool *rp)
{
	if (!take(&p->here, p->readers / 2))
		return false;
	if (take(&rp->here, (p->readers + 3) / 4)) {
		if (pool_enter(rp->pool))
			return true;
		atomic_fetch_sub(&rp->here, 1);
	}
	atomic_fetch_sub(&p->here, 1);
	return false;
}

void pools_leave(struct pools *p, struct route_pool *rp)
{
	pool_leave(rp->pool);
	atomic_fetch_sub(&rp->here, 1);
	atomic_fetch_sub(&p->here, 1);
}

bool pools_stop(struct pools *p, uint64_t timeout_ms)
{
	uint64_t until = clock_ms() + timeout_ms;
	bool all = true;

	for (struct route_pool *rp = p->all; rp; rp = rp->next)
		(void)pool_stop(rp->pool, 0);
	for (struct route_pool *rp = p->all; rp; rp = rp->next) {
		uint64_t now = clock_ms();

		all = pool_stop(rp->pool, now < until ? until - now : 0) && all;
	}
	return all;
}

void pools_done(struct pools *p)
{
	while (p->all) {
		struct route_pool *rp = p->all;

		p->all = rp->next;
		rp->bk->front = NULL;
		pool_free(rp->pool);
		free(rp);
	}
	pthread_mutex_destroy(&p->lock);
}
