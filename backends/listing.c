#include "listing.h"

#include <string.h>

struct listing_entry {
	uint64_t ino;
	unsigned char type;
	char name[];
};

int listing_add(struct listing *l, const char *name, uint64_t ino, unsigned type)
{
	size_t n = strlen(name) + 1;
	struct listing_entry *e;

	if (l->len == l->size) {
		size_t size = l->size ? l->size * 2 : 32;
		void *p = reallocarray(l->entries, size, sizeof(*l->entries));

		if (!p)
			return -ENOMEM;
		l->entries = p;
		l->size = size;
	}
	e = malloc(sizeof(*e) + n);
	if (!e)
		return -ENOMEM;
	e->ino = ino;
	e->type = type;
	memcpy(e->name, name, n);
	l->entries[l->len++] = e;
	return 0;
}

void listing_fill(const struct listing *l, uint64_t cookie, bk_fill_fn fill, void *ctx)
{
	for (uint64_t i = cookie; i < l->len; i++) {
		const struct listing_entry *e = l->entries[i];

		if (!fill(ctx, e->name, e->ino, e->type, i + 1))
			break;
	}
}

void listing_done(struct listing *l)
{
	for (size_t i = 0; i < l->len; i++)
		free(l->entries[i]);
	free(l->entries);
	*l = (struct listing){0};
}
