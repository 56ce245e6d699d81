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

/* ---- Open directories ---- */

struct open_listing {
	struct bk_file file;
	pthread_mutex_t lock; /* guards the listing */
	struct listing listing;
};

int listing_open(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	struct open_listing *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->file.node = bk_node_ref(node);
	pthread_mutex_init(&o->lock, NULL);
	*ret = &o->file;
	return 0;
}

void listing_release(struct bk_file *file)
{
	struct open_listing *o = container_of(file, struct open_listing, file);

	listing_done(&o->listing);
	pthread_mutex_destroy(&o->lock);
	bk_node_unref(file->node);
	free(o);
}

int listing_read(struct bk_req *req, struct bk_file *file, uint64_t cookie,
		 int (*take)(struct bk_req *req, struct bk_node *node, struct listing *l),
		 bk_fill_fn fill, void *ctx)
{
	struct open_listing *o = container_of(file, struct open_listing, file);
	int r = 0;

	pthread_mutex_lock(&o->lock);
	if (cookie == 0) {
		listing_done(&o->listing);
		r = take(req, file->node, &o->listing);
		if (r < 0)
			listing_done(&o->listing);
	}
	if (r == 0)
		listing_fill(&o->listing, cookie, fill, ctx);
	pthread_mutex_unlock(&o->lock);
	return r;
}
