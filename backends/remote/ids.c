/* See ids.h. The low half of an id is the index of an entry, the high half how often it was used.
 */
#include "ids.h"

#include "base/macros.h"

static int grow(struct ids *t)
{
	uint32_t size = t->size ? t->size * 2 : 64;
	struct ids_entry *p;

	if (t->used >= t->max)
		return -ENFILE;
	p = reallocarray(t->entries, size, sizeof(*p));
	if (!p)
		return -ENOMEM;
	t->entries = p;
	t->size = size;
	return 0;
}

int ids_add(struct ids *t, void *ptr, uint64_t *ret_id)
{
	uint32_t index = t->first_free;
	struct ids_entry *e;

	if (index == 0) {
		int r = t->used == t->size || t->used >= t->max ? grow(t) : 0;

		if (r < 0)
			return r;
		index = ++t->used;
		t->entries[index - 1] = (struct ids_entry){.ptr = NULL};
	}
	e = &t->entries[index - 1];
	t->first_free = e->next_free;
	e->ptr = ptr;
	e->count = 1;
	*ret_id = ids_at(t, index);
	return 0;
}

struct ids_entry *ids_find(const struct ids *t, uint64_t id)
{
	uint32_t index = id;
	struct ids_entry *e;

	if (index == 0 || index > t->used)
		return NULL;
	e = &t->entries[index - 1];
	return e->ptr && e->generation == id >> 32 ? e : NULL;
}

uint64_t ids_at(const struct ids *t, uint32_t index)
{
	return (uint64_t)t->entries[index - 1].generation << 32 | index;
}

void ids_remove(struct ids *t, uint64_t id)
{
	uint32_t index = id;
	struct ids_entry *e = &t->entries[index - 1];

	e->ptr = NULL;
	/* One that has been through all its generations is not used again. */
	if (++e->generation == 0)
		return;
	e->next_free = t->first_free;
	t->first_free = index;
}

void *ids_take_any(struct ids *t)
{
	while (t->used > 0) {
		void *ptr = t->entries[--t->used].ptr;

		if (ptr)
			return ptr;
	}
	return NULL;
}

void ids_done(struct ids *t)
{
	free(TAKE(t->entries));
}
