/*
 * Where a route's pages come from: slabs of 2 MiB, mapped for the purpose, so that removed files
 * give their memory back to the machine whatever else the heap holds. A page finds its slab by
 * its address. A few empty slabs are kept, since pages that the kernel must bring fill slowly.
 * It knows pages only; limits are its caller's.
 */
#include "pool.h"

#include "base/macros.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define SLAB ((size_t)2 << 20)
#define PER_SLAB (SLAB / POOL_PAGE - 1) /* the first page is the header */
#define SPARE 40

struct page {
	struct page *next;
};

struct slab {
	struct slab *prev, *next; /* in pool->some: slabs with a page to give */
	struct page *returned;
	unsigned used;	/* pages given out */
	unsigned fresh; /* pages never given out yet, at the end: still zeros */
};

void mem_pool_init(struct mem_pool *pool)
{
	*pool = (struct mem_pool){.some = NULL};
	pthread_mutex_init(&pool->lock, NULL);
}

void mem_pool_done(struct mem_pool *pool)
{
	while (pool->some) {
		struct slab *s = pool->some;

		pool->some = s->next;
		munmap(s, SLAB);
	}
	pthread_mutex_destroy(&pool->lock);
}

static void add(struct mem_pool *pool, struct slab *s)
{
	s->prev = NULL;
	s->next = pool->some;
	if (s->next)
		s->next->prev = s;
	pool->some = s;
}

static void drop(struct mem_pool *pool, struct slab *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		pool->some = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

/* Have the kernel bring a whole slab at once, as one large page where it has one: brought one by
 * one, at the first write to each, pages cost more than what is written. Without any of that (Linux
 * before 5.14), it is only slower. */
static void populate(void *slab)
{
	(void)madvise(slab, SLAB, MADV_HUGEPAGE);
	(void)madvise(slab, SLAB, MADV_POPULATE_WRITE);
}

/* Map a slab at a multiple of its size. */
static struct slab *map_slab(void)
{
	char *p = mmap(NULL, 2 * SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;
	struct slab *s;

	if (p == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)p & (SLAB - 1);
	if (before > 0)
		munmap(p, before);
	munmap(p + before + SLAB, SLAB - before);
	s = (struct slab *)(p + before);
	populate(s);
	s->fresh = PER_SLAB;
	return s;
}

static void *get_locked(struct mem_pool *pool, struct slab *s, bool *ret_dirty)
{
	struct page *page = s->returned;

	*ret_dirty = page != NULL;
	if (page)
		s->returned = page->next;
	else
		page = (struct page *)((char *)s + SLAB - (size_t)s->fresh-- * POOL_PAGE);
	if (s->used++ == 0 && pool->empty > 0)
		pool->empty--;
	if (s->used == PER_SLAB)
		drop(pool, s);
	return page;
}

void *mem_pool_get(struct mem_pool *pool, bool any)
{
	void *page = NULL;
	bool dirty = false;

	pthread_mutex_lock(&pool->lock);
	if (!pool->some) {
		struct slab *s = map_slab();

		if (s) {
			add(pool, s);
			pool->empty++;
		}
	}
	if (pool->some)
		page = get_locked(pool, pool->some, &dirty);
	pthread_mutex_unlock(&pool->lock);
	if (dirty && !any)
		memset(page, 0, POOL_PAGE);
	return page;
}

void mem_pool_put(struct mem_pool *pool, void *p)
{
	struct slab *s = (struct slab *)((uintptr_t)p & ~(SLAB - 1)), *surplus = NULL;
	struct page *page = p;

	pthread_mutex_lock(&pool->lock);
	page->next = s->returned;
	s->returned = page;
	if (s->used-- == PER_SLAB)
		add(pool, s);
	if (s->used == 0 && pool->empty++ >= SPARE) {
		drop(pool, s);
		pool->empty--;
		surplus = s;
	}
	pthread_mutex_unlock(&pool->lock);
	if (surplus)
		munmap(surplus, SLAB);
}
