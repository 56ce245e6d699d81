/*
 * Which pool serves which route: bk->front of a blocking backend, made at its first call. The lock
 * orders before that of a pool.
 */
#ifndef AIB_FUSE_POOLS_H
#define AIB_FUSE_POOLS_H

#include "backend.h"
#include "base/pool.h"

struct route_pool {
	struct pool *pool;
	struct bk *bk;
	struct route_pool *next;
};

struct pools {
	pthread_mutex_t lock; /* guards all below, and writing bk.front */
	struct route_pool *all;
	struct pool_conf conf;
};

void pools_init(struct pools *p, const struct pool_conf *conf);
/* The pool of BK. Returns 0 or -ENOMEM. */
int pools_get(struct pools *p, struct bk *bk, struct pool **ret);
/* As pool_stop, for all at once. */
bool pools_stop(struct pools *p, uint64_t timeout_ms);
/* After pools_stop returned true. */
void pools_done(struct pools *p);

#endif
