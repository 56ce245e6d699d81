/*
 * The entries of one directory: found by name in a hash, listed by cookie in an array of slots.
 *
 * Cookies grow with each entry, so the slots are sorted by them without sorting. Removing leaves
 * an empty slot; when most are empty they are closed up, which moves slots but never changes a
 * cookie: a listing that goes on after cookie N finds its place by binary search, whatever was
 * made or removed meanwhile. All of it is guarded by mem.tree.
 */
#define HASH_NONFATAL_OOM 1
#include "memory.h"

#include <string.h>
#include <uthash.h>

struct mem_entry {
	UT_hash_handle hh; /* by_name */
	struct mem_node *node;
	uint64_t cookie;
	char name[];
};

struct mem_slot {
	uint64_t cookie;
	struct mem_entry *entry; /* NULL once removed */
};

/* 1 and 2 are "." and "..", which tree.c lists. */
#define LAST_FIXED_COOKIE 2
#define MIN_SLOTS 4

struct mem_dir *mem_dir_new(void)
{
	struct mem_dir *d = calloc(1, sizeof(*d));

	if (d)
		d->last_cookie = LAST_FIXED_COOKIE;
	return d;
}

void mem_dir_free(struct mem_dir *d)
{
	free(d->slots);
	free(d);
}

struct mem_entry *mem_dir_find(const struct mem_dir *d, const char *name)
{
	struct mem_entry *e;

	HASH_FIND_STR(d->by_name, name, e);
	return e;
}

struct mem_entry *mem_dir_first(const struct mem_dir *d)
{
	return d->by_name;
}

/* The place of the first slot after COOKIE, empty or not. */
static size_t slot_after(const struct mem_dir *d, uint64_t cookie)
{
	size_t low = 0, high = d->n_slots;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (d->slots[mid].cookie <= cookie)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct mem_entry *mem_dir_after(const struct mem_dir *d, uint64_t cookie)
{
	for (size_t i = slot_after(d, cookie); i < d->n_slots; i++)
		if (d->slots[i].entry)
			return d->slots[i].entry;
	return NULL;
}

static void close_up(struct mem_dir *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_slots; i++)
		if (d->slots[i].entry)
			d->slots[n++] = d->slots[i];
	d->n_slots = n;
}

/* At least MIN_SLOTS: growing by a half must give more. */
static int resize(struct mem_dir *d, size_t max)
{
	struct mem_slot *slots;

	if (max < MIN_SLOTS)
		max = MIN_SLOTS;
	slots = realloc(d->slots, max * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	d->slots = slots;
	d->max_slots = max;
	return 0;
}

int mem_dir_add(struct mem_dir *d, const char *name, struct mem_node *node)
{
	size_t size = strlen(name) + 1;
	struct mem_entry *e;

	if (d->n_slots == d->max_slots && resize(d, d->max_slots + d->max_slots / 2) < 0)
		return -ENOMEM;
	e = malloc(sizeof(*e) + size);
	if (!e)
		return -ENOMEM;
	memcpy(e->name, name, size);
	e->node = node;
	e->cookie = d->last_cookie + 1;
	HASH_ADD_KEYPTR(hh, d->by_name, e->name, size - 1, e);
	if (!e->hh.tbl) {
		free(e);
		return -ENOMEM;
	}
	d->slots[d->n_slots++] = (struct mem_slot){e->cookie, e};
	d->last_cookie++;
	d->n_entries++;
	return 0;
}

struct mem_node *mem_dir_remove(struct mem_dir *d, struct mem_entry *e)
{
	struct mem_node *node = e->node;

	d->slots[slot_after(d, e->cookie - 1)].entry = NULL;
	HASH_DEL(d->by_name, e);
	free(e);
	if (--d->n_entries == 0) {
		free(TAKE(d->slots));
		d->n_slots = d->max_slots = 0;
	} else if (d->n_slots > 4 * MIN_SLOTS && d->n_entries < d->n_slots / 2) {
		close_up(d);
		(void)resize(d, d->n_slots + d->n_slots / 2); /* smaller: optional */
	}
	return node;
}

struct mem_node *mem_entry_node(const struct mem_entry *e)
{
	return e->node;
}

struct mem_node *mem_entry_swap(struct mem_entry *e, struct mem_node *node)
{
	struct mem_node *old = e->node;

	e->node = node;
	return old;
}

const char *mem_entry_name(const struct mem_entry *e)
{
	return e->name;
}

uint64_t mem_entry_cookie(const struct mem_entry *e)
{
	return e->cookie;
}
