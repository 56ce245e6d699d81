/*
 * The composite backend. Only places that have routes below them are nodes of its own (struct
 * spot); a route without routes below it is its backend's root node itself. A spot is a place with
 * the directory that serves it at the moment: its route's root, or the directory of the same name
 * in the backend above, or nothing (then it is synthesised and read-only). That choice is fixed for
 * the life of the spot, so `through` needs no lock; a later lookup that finds another directory
 * makes another spot.
 */
#include "composite.h"

#include "../listing.h"
#include "place.h"

#include <dirent.h>
#include <string.h>

struct composite {
	struct bk bk;
	struct place *root;
	struct timespec made;
	pthread_mutex_t lock; /* guards `spots` and every spot's link in it */
	struct spot *spots;   /* weak: the newest of each place is found first */
};

struct spot {
	struct bk_node node;
	const struct place *place;
	struct bk_node *base; /* a reference, or NULL: synthesised */
	struct spot *prev, *next;
};

static struct composite *composite_of(const struct bk *bk)
{
	return container_of(bk, struct composite, bk);
}

static struct spot *spot_of(struct bk_node *node)
{
	return container_of(node, struct spot, node);
}

/* ---- Spots ---- */

static struct spot *spot_find(struct composite *c, const struct place *place,
			      const struct bk_node *base)
{
	for (struct spot *s = c->spots; s; s = s->next)
		if (s->place == place && s->base == base && bk_node_tryref(&s->node))
			return s;
	return NULL;
}

static void spot_insert(struct composite *c, struct spot *s)
{
	s->next = c->spots;
	if (s->next)
		s->next->prev = s;
	c->spots = s;
}

/* The spot of PLACE over BASE (a reference that this takes, or NULL). NULL: memory is out. */
static struct spot *spot_get(struct composite *c, const struct place *place, struct bk_node *base)
{
	struct spot *s;

	pthread_mutex_lock(&c->lock);
	s = spot_find(c, place, base);
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (s) {
			bk_node_init(&s->node, &c->bk);
			s->place = place;
			s->base = TAKE(base);
			spot_insert(c, s);
		}
	}
	pthread_mutex_unlock(&c->lock);
	bk_node_unref(base);
	return s;
}

static void composite_node_free(struct bk_node *node)
{
	struct composite *c = composite_of(node->bk);
	struct spot *s = spot_of(node);

	pthread_mutex_lock(&c->lock);
	if (s->prev)
		s->prev->next = s->next;
	else
		c->spots = s->next;
	if (s->next)
		s->next->prev = s->prev;
	pthread_mutex_unlock(&c->lock);
	bk_node_unref(s->base);
	free(s);
}

/* ---- Attributes ---- */

static void synthesised(const struct composite *c, const struct place *place, struct stat *ret_st)
{
	*ret_st = (struct stat){
	    .st_ino = bk_unique_ino(&c->bk, 0, place->number),
	    .st_mode = S_IFDIR | 0555,
	    .st_nlink = 2,
	    .st_blksize = 4096,
	    .st_atim = c->made,
	    .st_mtim = c->made,
	    .st_ctim = c->made,
	};
}

static int composite_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			     struct stat *ret_st)
{
	struct spot *s = spot_of(node);

	if (s->base)
		return bk_getattr(req, s->base, NULL, ret_st);
	synthesised(composite_of(node->bk), s->place, ret_st);
	return 0;
}

/* ---- Names ---- */

/* The directory that serves CHILD, a parent that is no route's, in the backend above: a reference,
 * or NULL where there is none. A failing backend above does not hide the routes below. */
static struct bk_node *base_of_parent(struct bk_req *req, struct bk_node *above, const char *name)
{
	struct bk_node *node;
	struct stat st;

	if (!above || bk_lookup(req, above, name, &node, &st) < 0)
		return NULL;
	if (S_ISDIR(st.st_mode))
		return node;
	bk_node_unref(node);
	return NULL;
}

static int lookup_place(struct bk_req *req, struct spot *dir, const struct place *place,
			struct bk_node **ret_node, struct stat *ret_st)
{
	struct composite *c = composite_of(dir->node.bk);
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	int r;

	if (place->route)
		node = bk_node_ref(place->route_root);
	else
		node = base_of_parent(req, dir->base, place->name);
	if (place->children) {
		struct spot *s = spot_get(c, place, TAKE(node));

		if (!s)
			return -ENOMEM;
		node = &s->node;
	}
	r = bk_getattr(req, node, NULL, ret_st);
	if (r < 0)
		return r;
	*ret_node = TAKE(node);
	return 0;
}

static int composite_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
			    struct bk_node **ret_node, struct stat *ret_st)
{
	struct spot *s = spot_of(dir);
	const struct place *child = place_child(s->place, name, strlen(name));

	if (child)
		return lookup_place(req, s, child, ret_node, ret_st);
	if (!s->base)
		return -ENOENT;
	return bk_lookup(req, s->base, name, ret_node, ret_st);
}

static int composite_through(struct bk_node *node, const char *name, struct bk_node **ret)
{
	struct spot *s = spot_of(node);
	const struct place *child = name ? place_child(s->place, name, strlen(name)) : NULL;

	if (child) {
		*ret = child->route_root;
		return -EBUSY;
	}
	*ret = s->base;
	return s->base ? 0 : -EROFS;
}

/* ---- Directories ---- */

/* Of a place without a route, the synthesised one. */
static uint64_t number_of(const struct composite *c, const struct place *p)
{
	const struct bk *route = p->route;

	return route ? bk_unique_ino(route, route->ino_dev, route->root_ino)
		     : bk_unique_ino(&c->bk, 0, p->number);
}

static int add_places(const struct composite *c, const struct place *place, struct listing *l)
{
	int r = 0;

	for (const struct place *p = place->children; p && r == 0; p = p->next)
		if (!p->hidden)
			r = listing_add(l, p->name, number_of(c, p), DT_DIR);
	return r;
}

struct merge {
	const struct place *place;
	struct listing *listing;
	uint64_t next;
	int error;
	bool any;
};

static bool merge_entry(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct merge *m = ctx;

	m->next = next;
	m->any = true;
	if (!place_child(m->place, name, strlen(name)))
		m->error = listing_add(m->listing, name, ino, type);
	return m->error == 0;
}

static int add_base(struct bk_req *req, struct spot *s, struct listing *l)
{
	struct merge m = {.place = s->place, .listing = l};
	struct bk_file *dir;
	int r;

	r = bk_opendir(req, s->base, &dir);
	if (r < 0)
		return r;
	do {
		m.any = false;
		r = bk_readdir(req, dir, m.next, merge_entry, &m);
		if (r == 0)
			r = m.error;
	} while (r == 0 && m.any);
	bk_release(dir);
	return r;
}

static int list_spot(struct bk_req *req, struct bk_node *node, struct listing *l)
{
	struct spot *s = spot_of(node);
	struct composite *c = composite_of(s->node.bk);
	int r = add_places(c, s->place, l);

	if (r < 0)
		return r;
	if (s->base)
		return add_base(req, s, l);
	r = listing_add(l, ".", bk_unique_ino(&c->bk, 0, s->place->number), DT_DIR);
	return r < 0 ? r : listing_add(l, "..", 0, DT_DIR);
}

static int composite_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie,
			     bk_fill_fn fill, void *ctx)
{
	return listing_read(req, file, cookie, list_spot, fill, ctx);
}

/* ---- The backend ---- */

static struct bk_node *composite_root(struct bk *bk)
{
	struct composite *c = composite_of(bk);
	struct spot *s;

	if (!c->root->children)
		return bk_node_ref(c->root->route_root);
	s = spot_get(c, c->root, bk_node_ref(c->root->route_root));
	return s ? &s->node : NULL;
}

static void composite_destroy(struct bk *bk)
{
	struct composite *c = composite_of(bk);

	place_free(c->root);
	pthread_mutex_destroy(&c->lock);
	bk_done(bk);
	free(c);
}

static const struct bk_ops composite_ops = {
    .type = "composite",
    .destroy = composite_destroy,
    .root = composite_root,
    .node_free = composite_node_free,
    .lookup = composite_lookup,
    .getattr = composite_getattr,
    .opendir = listing_open,
    .readdir = composite_readdir,
    .release = listing_release,
    .through = composite_through,
};

static int add_route(struct composite *c, const struct route *route, uint64_t *number,
		     struct err *err)
{
	struct place *p;
	int r = place_make(c->root, route->path, number, &p);

	if (r == -EINVAL)
		return err_set(err, r, "route %s: not an absolute path of plain components",
			       route->path);
	if (r < 0)
		return r;
	if (p->route)
		return err_set(err, -EINVAL, "route %s: given twice", route->path);
	p->route = route->bk;
	p->hidden = route->hidden;
	p->route_root = bk_root(route->bk);
	return p->route_root ? 0 : -ENOMEM;
}

/* Whether a lookup of ours may have to ask a backend that blocks. */
static bool covers_blocking(const struct place *p)
{
	bool blocking = p->route && p->children && p->route->blocking;

	for (const struct place *c = p->children; c && !blocking; c = c->next)
		blocking = covers_blocking(c);
	return blocking;
}

int composite_new(const struct route *routes, size_t n, struct bk **ret, struct err *err)
{
	struct composite *c = calloc(1, sizeof(*c));
	uint64_t number = 1;
	int r;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	clock_gettime(CLOCK_REALTIME, &c->made);
	r = bk_init(&c->bk, &composite_ops, "");
	c->root = place_new(NULL, "", 0);
	if (r == 0 && !c->root)
		r = -ENOMEM;
	if (r == 0)
		c->root->number = number;
	for (size_t i = 0; i < n && r == 0; i++)
		if (routes[i].bk)
			r = add_route(c, &routes[i], &number, err);
	if (r == 0 && !c->root->route)
		r = err_set(err, -EINVAL, "no route for /");
	if (r < 0) {
		composite_destroy(&c->bk);
		return r;
	}
	c->bk.blocking = covers_blocking(c->root);
	*ret = &c->bk;
	return 0;
}
