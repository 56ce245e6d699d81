/*
 * Pages of 4 KiB for the files of one route. Any thread; nothing here waits but for its own lock.
 */
#ifndef AIB_MEMORY_POOL_H
#define AIB_MEMORY_POOL_H

#include <pthread.h>
#include <stdbool.h>

#define POOL_PAGE 4096

struct mem_pool {
	pthread_mutex_t lock;
	struct slab *some; /* slabs with a page to give, empty ones too */
	unsigned empty;	   /* of these, how many gave none */
};

void mem_pool_init(struct mem_pool *pool);
/* Every page must have come back. */
void mem_pool_done(struct mem_pool *pool);
/* A page, of zeros unless ANY will do; NULL where the machine has no memory left. */
void *mem_pool_get(struct mem_pool *pool, bool any);
void mem_pool_put(struct mem_pool *pool, void *page);

#endif
