/*
 * Which pool serves which route: bk->front of a blocking backend, made at its first call. The lock
 * orders before that of a pool.
 *
 * A reading thread may run a call itself, which saves handing it over, as long as enough of them
 * are left to read: half of all, and of one route's calls no more than a quarter do.
 */
#ifndef AIB_FUSE_POOLS_H
#define AIB_FUSE_POOLS_H

#include "backend.h"
#include "base/pool.h"

#include <stdatomic.h>

struct route_pool {
	struct pool *pool;
	struct bk *bk;
	atomic_uint here; /* its calls that reading threads run */
	struct route_pool *next;
};

struct pools {
	pthread_mutex_t lock; /* guards all below, and writing bk.front */
	struct route_pool *all;
	struct pool_conf conf;
	unsigned readers;
	atomic_uint here; /* calls that reading threads run */
};

/* With READERS threads that read requests. */
void pools_init(struct pools *p, const struct pool_conf *conf, unsigned readers);
/* The pool of BK. Returns 0 or -ENOMEM. */
int pools_get(struct pools *p, struct bk *bk, struct route_pool **ret);

/* Whether the reading thread that asks may run a call of RP itself; pools_leave ends that. */
bool pools_enter(struct pools *p, struct route_pool *rp);
void pools_leave(struct pools *p, struct route_pool *rp);

/* As pool_stop, for all at once. */
bool pools_stop(struct pools *p, uint64_t timeout_ms);
/* After pools_stop returned true. */
void pools_done(struct pools *p);

#endif
