/*
 * The pages of one regular file: a tree of WAYS-way index blocks over 4 KiB pages, as high as its
 * last page needs, so that a file of one page has no index at all and a hole of any length costs
 * nothing. mem_node.pages is the page itself at height 0, an index block above.
 * Pages and blocks are charged to the route. No index block is ever empty.
 */
#include "memory.h"

#include <string.h>

#define BITS 6
#define WAYS (1 << BITS)

struct block {
	unsigned used;
	void *at[WAYS];
};

/* How many pages each way of a block of HEIGHT covers, as a shift. */
static unsigned shift_of(unsigned height)
{
	return BITS * (height - 1);
}

static bool covers(unsigned height, uint64_t index)
{
	return BITS * height >= 64 || index >> (BITS * height) == 0;
}

static unsigned way(uint64_t index, unsigned height)
{
	return index >> shift_of(height) & (WAYS - 1);
}

char *mem_page(const struct mem_node *n, uint64_t index)
{
	void *at = n->pages;

	if (!covers(n->height, index))
		return NULL;
	for (unsigned h = n->height; at && h > 0; h--)
		at = ((struct block *)at)->at[way(index, h)];
	return at;
}

/* A page, or a block of HEIGHT above 0; zeros, but a page where ANY will do. */
static int new_at(struct mem *m, unsigned height, bool any, void **ret)
{
	size_t size = height > 0 ? sizeof(struct block) : MEM_PAGE;
	int r = mem_charge(m, size);
	void *p;

	if (r < 0)
		return r;
	p = height > 0 ? calloc(1, size) : mem_pool_get(&m->pool, any);
	if (!p) {
		mem_uncharge(m, size);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

static void free_block(struct mem *m, struct block *b)
{
	mem_uncharge(m, sizeof(*b));
	free(b);
}

static void free_page(struct mem_node *n, void *page)
{
	n->n_pages--;
	mem_uncharge(mem_of(n), MEM_PAGE);
	mem_pool_put(&mem_of(n)->pool, page);
}

/* Raise the tree until it covers INDEX. */
static int grow(struct mem_node *n, uint64_t index)
{
	while (!covers(n->height, index)) {
		if (n->pages) {
			void *top;
			int r = new_at(mem_of(n), n->height + 1, false, &top);

			if (r < 0)
				return r;
			((struct block *)top)->at[0] = n->pages;
			((struct block *)top)->used = 1;
			n->pages = top;
		}
		n->height++;
	}
	return 0;
}

int mem_page_make(struct mem_node *n, uint64_t index, bool whole, char **ret)
{
	void **slot = &n->pages;
	struct block *above = NULL;
	int r = grow(n, index);

	for (unsigned h = n->height; r == 0; h--) {
		if (!*slot) {
			r = new_at(mem_of(n), h, whole, slot);
			if (r < 0)
				break;
			if (above)
				above->used++;
			if (h == 0)
				n->n_pages++;
		}
		if (h == 0)
			break;
		above = *slot;
		slot = &above->at[way(index, h)];
	}
	if (r < 0) {
		mem_pages_drop(n, index, index); /* blocks without a page below */
		return r;
	}
	*ret = *slot;
	return 0;
}

/* What is left of AT, a subtree of HEIGHT, without its pages FIRST to LAST (counted from its own
 * start): itself or NULL. */
static void *drop(struct mem_node *n, void *at, unsigned height, uint64_t first, uint64_t last)
{
	struct block *b = at;
	unsigned shift;

	if (height == 0) {
		free_page(n, at);
		return NULL;
	}
	shift = shift_of(height);
	for (uint64_t i = first >> shift; i <= last >> shift && i < WAYS; i++) {
		uint64_t start = i << shift, end = start + (1ULL << shift) - 1;

		if (!b->at[i])
			continue;
		b->at[i] = drop(n, b->at[i], height - 1, first > start ? first - start : 0,
				(last < end ? last : end) - start);
		if (!b->at[i])
			b->used--;
	}
	if (b->used > 0)
		return b;
	free_block(mem_of(n), b);
	return NULL;
}

/* Lower the tree while it has more levels than its last page needs. */
static void lower(struct mem_node *n)
{
	while (n->pages && n->height > 0) {
		struct block *top = n->pages;

		if (top->used > 1 || !top->at[0])
			return;
		n->pages = top->at[0];
		n->height--;
		free_block(mem_of(n), top);
	}
	if (!n->pages)
		n->height = 0;
}

void mem_pages_drop(struct mem_node *n, uint64_t first, uint64_t last)
{
	if (n->pages && covers(n->height, first))
		n->pages = drop(n, n->pages, n->height, first, last);
	lower(n);
}

static bool next(const void *at, unsigned height, uint64_t index, uint64_t *ret)
{
	const struct block *b = at;
	unsigned shift;

	if (height == 0) {
		*ret = 0;
		return true;
	}
	shift = shift_of(height);
	for (uint64_t i = index >> shift; i < WAYS; i++) {
		uint64_t start = i << shift, found;

		if (b->at[i] &&
		    next(b->at[i], height - 1, index > start ? index - start : 0, &found)) {
			*ret = start + found;
			return true;
		}
	}
	return false;
}

bool mem_pages_next(const struct mem_node *n, uint64_t index, uint64_t *ret)
{
	if (!n->pages || !covers(n->height, index))
		return false;
	return next(n->pages, n->height, index, ret);
}
