/*
 * Slots live in chunks that never move, so growing copies pointers only; free slots are a list
 * through the slots themselves. Memory of a chunk is kept for the next nodes.
 */
#include "inode.h"

#include <assert.h>
#include <malloc.h>

/* Fewer nodes than that are not worth a look at the heap. */
#define TRIM_MIN 8192

static struct inode *slot(struct inode_table *t, uint64_t number)
{
	uint64_t i = number - 1;

	return &t->chunks[i / INODE_CHUNK][i % INODE_CHUNK];
}

static struct inode *known_locked(struct inode_table *t, uint64_t number)
{
	struct inode *i;

	if (number == 0 || number > t->top)
		return NULL;
	i = slot(t, number);
	return i->node ? i : NULL;
}

static int grow_locked(struct inode_table *t)
{
	struct inode *chunk;

	if (t->n_chunks == t->room) {
		size_t room = t->room ? t->room * 2 : 16;
		struct inode **chunks = reallocarray(t->chunks, room, sizeof(*chunks));

		if (!chunks)
			return -ENOMEM;
		t->chunks = chunks;
		t->room = room;
	}
	chunk = calloc(INODE_CHUNK, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	t->chunks[t->n_chunks++] = chunk;
	return 0;
}

static int take_slot_locked(struct inode_table *t, uint32_t *ret)
{
	int r;

	if (t->used >= t->max)
		return -ENFILE;
	if (t->free) {
		*ret = t->free;
		t->free = slot(t, t->free)->lookups;
	} else {
		if (t->top == t->n_chunks * INODE_CHUNK) {
			r = grow_locked(t);
			if (r < 0)
				return r;
		}
		*ret = ++t->top;
	}
	t->used++;
	if (t->used > t->high)
		t->high = t->used;
	return 0;
}

static int insert_locked(struct inode_table *t, struct bk_node *node)
{
	uint32_t number;
	int r = take_slot_locked(t, &number);

	if (r < 0)
		return r;
	*slot(t, number) = (struct inode){
	    .node = node,
	    .lookups = 1,
	    .generation = slot(t, number)->generation,
	    .era = atomic_load(&node->era),
	};
	node->front = number;
	atomic_store(&node->untold, false);
	return 0;
}

/* One more lookup of a node that is there. The kernel keeps the root's inode whatever it is told.
 */
static void again_locked(struct inode_table *t, const struct bk_node *node)
{
	struct inode *i = slot(t, node->front);
	unsigned era = atomic_load(&node->era);

	i->lookups++;
	if (i->era != era && node->front != INODE_ROOT)
		i->generation++;
	i->era = era;
}

static struct inode_id id_locked(struct inode_table *t, const struct bk_node *node)
{
	return (struct inode_id){
	    .number = node->front,
	    .generation = slot(t, node->front)->generation,
	};
}

int inode_init(struct inode_table *t, struct bk_node *root, uint32_t max)
{
	struct inode_id id;
	int r;

	*t = (struct inode_table){.max = max};
	pthread_mutex_init(&t->lock, NULL);
	r = inode_add(t, root, &id);
	if (r < 0)
		inode_done(t);
	else
		assert(id.number == INODE_ROOT);
	return r;
}

void inode_done(struct inode_table *t)
{
	for (uint32_t n = 1; n <= t->top; n++) {
		struct inode *i = slot(t, n);

		if (i->node) {
			i->node->front = 0;
			bk_node_unref(TAKE(i->node));
		}
	}
	for (size_t i = 0; i < t->n_chunks; i++)
		free(t->chunks[i]);
	free(t->chunks);
	pthread_mutex_destroy(&t->lock);
}

int inode_add(struct inode_table *t, struct bk_node *node, struct inode_id *ret)
{
	struct bk_node *spare = NULL;
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (node->front) {
		again_locked(t, node);
		spare = node;
	} else {
		r = insert_locked(t, node);
		if (r < 0)
			spare = node;
	}
	if (r == 0)
		*ret = id_locked(t, node);
	pthread_mutex_unlock(&t->lock);
	bk_node_unref(spare);
	return r;
}

int inode_told(struct inode_table *t, const struct bk_node *node, struct inode_id *ret)
{
	int r = -ESTALE;

	pthread_mutex_lock(&t->lock);
	if (node->front &&
	    (node->front == INODE_ROOT || slot(t, node->front)->era == atomic_load(&node->era))) {
		*ret = id_locked(t, node);
		r = 0;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

bool inode_is_known(struct inode_table *t, const struct inode_id *id)
{
	const struct inode *i;
	bool known;

	pthread_mutex_lock(&t->lock);
	i = known_locked(t, id->number);
	known = i && i->generation == id->generation;
	pthread_mutex_unlock(&t->lock);
	return known;
}

struct bk_node *inode_get(struct inode_table *t, uint64_t number)
{
	struct inode *i;
	struct bk_node *node = NULL;

	pthread_mutex_lock(&t->lock);
	i = known_locked(t, number);
	if (i)
		node = bk_node_ref(i->node);
	pthread_mutex_unlock(&t->lock);
	return node;
}

static bool wants_trim_locked(struct inode_table *t)
{
	if (t->high < TRIM_MIN || t->used > t->high / 2)
		return false;
	t->high = t->used;
	return true;
}

bool inode_forget(struct inode_table *t, uint64_t number, uint64_t n, struct inode_id *ret)
{
	struct bk_node *gone = NULL;
	bool trim = false;
	struct inode *i;

	pthread_mutex_lock(&t->lock);
	i = number == INODE_ROOT ? NULL : known_locked(t, number);
	if (i && i->lookups > n) {
		i->lookups -= n;
	} else if (i) {
		gone = TAKE(i->node);
		gone->front = 0;
		if (ret)
			*ret = (struct inode_id){.number = number, .generation = i->generation};
		i->generation++;
		i->lookups = t->free;
		t->free = number;
		t->used--;
		trim = wants_trim_locked(t);
	}
	pthread_mutex_unlock(&t->lock);
	bk_node_unref(gone);
	if (trim)
		malloc_trim(0);
	return gone;
}

size_t inode_list(struct inode_table *t, const struct bk *bk, uint64_t *at, uint64_t *numbers,
		  size_t max)
{
	size_t n = 0;

	pthread_mutex_lock(&t->lock);
	while (*at < t->top && n < max) {
		const struct bk_node *node = slot(t, ++*at)->node;

		if (node && (node->bk == bk || node->bk->ops->through))
			numbers[n++] = *at;
	}
	pthread_mutex_unlock(&t->lock);
	return n;
}

uint32_t inode_count(struct inode_table *t)
{
	uint32_t n;

	pthread_mutex_lock(&t->lock);
	n = t->used;
	pthread_mutex_unlock(&t->lock);
	return n;
}
