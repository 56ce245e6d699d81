/*
 * A directory taken whole and sorted. Names lie in chunks, so that a million of them are not a
 * million allocations; chunks below two pages, which musl would give back to the kernel each time.
 */
#include "internal.h"

#include <dirent.h>
#include <string.h>

#define CHUNK 4000

struct ops_chunk {
	struct ops_chunk *next;
	size_t len;
	char data[CHUNK];
};

struct filling {
	struct ops_list list;
	uint64_t next;
	bool any;
	int error;
};

static const char *keep_name(struct ops_list *l, const char *name)
{
	size_t n = strlen(name) + 1;
	struct ops_chunk *c = l->chunks;
	char *place;

	if (n > CHUNK)
		return NULL;
	if (!c || c->len + n > CHUNK) {
		c = malloc(sizeof(*c));
		if (!c)
			return NULL;
		c->next = l->chunks;
		c->len = 0;
		l->chunks = c;
	}
	place = c->data + c->len;
	c->len += n;
	return memcpy(place, name, n);
}

static int add(struct ops_list *l, const char *name, unsigned type)
{
	if (l->n == l->size) {
		size_t size = l->size ? l->size * 2 : 64;
		struct ops_entry *more = reallocarray(l->entries, size, sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->entries = more;
		l->size = size;
	}
	name = keep_name(l, name);
	if (!name)
		return -ENOMEM;
	l->entries[l->n++] = (struct ops_entry){name, type};
	return 0;
}

static bool fill(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct filling *f = ctx;

	f->any = true;
	f->next = next;
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		f->error = add(&f->list, name, type);
	return f->error == 0;
}

static int as_paths(const void *a, const void *b)
{
	const struct ops_entry *x = a, *y = b;
	const unsigned char *p = (const void *)x->name, *q = (const void *)y->name;
	int c, d;

	while (*p && *p == *q) {
		p++;
		q++;
	}
	c = *p ? *p : x->type == DT_DIR ? '/' : 0;
	d = *q ? *q : y->type == DT_DIR ? '/' : 0;
	return c - d;
}

/* What the listing does not say. */
static void find_types(struct ops_req *req, const struct ops_place *dir, struct ops_list *l)
{
	struct bk_node *node;
	struct stat st;

	for (size_t i = 0; i < l->n; i++) {
		struct ops_entry *e = &l->entries[i];

		if (e->type != DT_UNKNOWN ||
		    bk_lookup(&req->req, dir->node, e->name, &node, &st) < 0)
			continue;
		e->type = IFTODT(st.st_mode);
		bk_node_unref(node);
	}
}

int ops_list(struct ops *o, struct ops_req *req, const struct ops_place *dir, struct ops_list *ret)
{
	struct filling f = {.next = 0};
	struct bk_file *file;
	int r = ops_may(o, &dir->st, R_OK);

	if (r == 0)
		r = bk_opendir(&req->req, dir->node, &file);
	if (r < 0)
		return r;
	do {
		f.any = false;
		r = ops_step(req);
		if (r == 0)
			r = bk_readdir(&req->req, file, f.next, fill, &f);
		if (r == 0)
			r = f.error;
	} while (r == 0 && f.any);
	bk_release(file);
	if (r < 0) {
		ops_list_done(&f.list);
		return r;
	}
	find_types(req, dir, &f.list);
	if (f.list.n > 1)
		qsort(f.list.entries, f.list.n, sizeof(*f.list.entries), as_paths);
	*ret = f.list;
	return 0;
}

void ops_list_done(struct ops_list *l)
{
	for (struct ops_chunk *c = l->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(l->entries);
	*l = (struct ops_list){0};
}
