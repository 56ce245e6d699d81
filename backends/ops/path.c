/*
 * From a path to a node: one name at a time, as the kernel would go through the mount for the
 * caller. Directories on the way are kept as a chain, so `..` goes where the walk came from.
 *
 * A link's target is put before what is left of the path. While names of it are gone through
 * (`bound` is set and more than `rest` bytes are left) no step may leave the link's own route.
 */
#include "internal.h"

#include <limits.h>
#include <string.h>

/* ---- Places ---- */

struct ops_place *ops_place_ref(struct ops_place *p)
{
	if (p)
		atomic_fetch_add(&p->refs, 1);
	return p;
}

void ops_place_unref(struct ops_place *p)
{
	while (p && atomic_fetch_sub(&p->refs, 1) == 1) {
		struct ops_place *parent = p->parent;

		bk_node_unref(p->node);
		free(p);
		p = parent;
	}
}

struct ops_place *ops_place_new(struct ops_place *parent, const char *name, struct bk_node *node,
				const struct stat *st)
{
	size_t n = strlen(name) + 1;
	struct ops_place *p = malloc(sizeof(*p) + n);

	if (!p) {
		bk_node_unref(node);
		return NULL;
	}
	*p =
	    (struct ops_place){.refs = 1, .parent = ops_place_ref(parent), .node = node, .st = *st};
	memcpy(p->name, name, n);
	return p;
}

void ops_found_done(struct ops_found *f)
{
	ops_place_unref(f->dir);
	ops_place_unref(f->self);
	bk_node_unref(f->node);
	free(f->name);
	free(f->missing);
	*f = (struct ops_found){0};
}

/* ---- The walk ---- */

struct walk {
	struct ops *o;
	struct ops_req *req;
	struct ops_place *at; /* a reference */
	char *left;	      /* what is to be gone through yet */
	unsigned links;
	const struct bk *bound;
	size_t rest;
};

static const struct bk *route_of(const struct ops_place *p)
{
	return bk_serving(p->node, NULL);
}

static void go_to(struct walk *w, struct ops_place *p) /* takes the reference */
{
	ops_place_unref(w->at);
	w->at = p;
}

static int root_place(struct ops *o, struct ops_req *req, struct ops_place **ret)
{
	struct bk_node *node = bk_root(o->tree->root);
	struct stat st;
	int r = node ? bk_getattr(&req->req, node, NULL, &st) : -ENOMEM;

	if (r < 0) {
		bk_node_unref(node);
		return r;
	}
	*ret = ops_place_new(NULL, "", node, &st);
	return *ret ? 0 : -ENOMEM;
}

/* An absolute target as docker routes show it: below the mount, in the link's own route. Leaves
 * what follows the route's root in *TARGET, and goes there. */
static int enter_absolute(struct walk *w, const struct bk *route, const char **target)
{
	const char *mountpoint = w->o->tree->mountpoint, *path = *target;
	size_t n = strlen(mountpoint), k = strlen(route->route);

	if (strncmp(path, mountpoint, n) != 0)
		return -EPERM;
	path += n;
	if (strcmp(route->route, "/") != 0) {
		if (strncmp(path, route->route, k) != 0)
			return -EPERM;
		path += k;
	}
	if (*path != '/' && *path != '\0')
		return -EPERM;
	while (w->at->parent && route_of(w->at->parent) == route)
		go_to(w, ops_place_ref(w->at->parent));
	*target = path;
	return 0;
}

static int follow(struct walk *w, struct bk_node *link, const char *rest)
{
	char target[PATH_MAX + 1], *left;
	const char *text = target;
	int r;

	if (w->o->tree->nosymfollow || ++w->links > OPS_MAX_LINKS)
		return -ELOOP;
	r = bk_readlink(&w->req->req, link, target);
	if (r < 0)
		return r;
	target[r] = '\0';
	if (r == 0)
		return -ENOENT;
	if (!w->bound) {
		w->bound = link->bk;
		w->rest = strlen(rest);
	}
	r = *target == '/' ? enter_absolute(w, link->bk, &text) : 0;
	if (r < 0)
		return r;
	if (asprintf(&left, "%s%s", text, rest) < 0)
		return -ENOMEM;
	free(w->left);
	w->left = left;
	return 0;
}

static bool only_slashes(const char *s)
{
	return s[strspn(s, "/")] == '\0';
}

static int go_up(struct walk *w)
{
	int r = ops_may(w->o, &w->at->st, X_OK);

	if (r == 0 && !w->at->parent)
		r = -EXDEV;
	if (r == 0)
		go_to(w, ops_place_ref(w->at->parent));
	return r;
}

/* 1: the walk is at its end, in RET. */
static int take_name(struct walk *w, const char *name, const char *rest, bool parents,
		     struct ops_found *ret)
{
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	bool last = only_slashes(rest);
	struct ops_place *place;
	struct stat st = {0};
	int r = ops_may(w->o, &w->at->st, X_OK);

	if (r == 0)
		r = bk_lookup(&w->req->req, w->at->node, name, &node, &st);
	if (r == -ENOENT && (last ? !*rest : parents)) {
		ret->dir = ops_place_ref(w->at);
		ret->name = strdup(name);
		if (!last)
			ret->missing = strdup(rest + strspn(rest, "/"));
		return ret->name && (last || ret->missing) ? 1 : -ENOMEM;
	}
	if (r < 0)
		return r;
	if (S_ISLNK(st.st_mode))
		return follow(w, node, rest);
	if (!S_ISDIR(st.st_mode)) {
		if (*rest)
			return -ENOTDIR;
		ret->dir = ops_place_ref(w->at);
		ret->name = strdup(name);
		ret->node = TAKE(node);
		ret->st = st;
		return ret->name ? 1 : -ENOMEM;
	}
	place = ops_place_new(w->at, name, TAKE(node), &st);
	if (!place)
		return -ENOMEM;
	go_to(w, place);
	return 0;
}

static int step(struct walk *w, bool parents, struct ops_found *ret)
{
	char name[NAME_MAX + 1];
	const char *p = w->left + strspn(w->left, "/");
	size_t n = strcspn(p, "/");
	unsigned links = w->links;
	bool bound;
	int r = 0;

	if (w->bound && strlen(p) <= w->rest)
		w->bound = NULL;
	bound = w->bound;
	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, p, n);
	name[n] = '\0';
	p += n;
	if (strcmp(name, "..") == 0)
		r = go_up(w);
	else if (strcmp(name, ".") != 0)
		r = take_name(w, name, p, parents, ret);
	if (bound && r == -EXDEV)
		r = -EPERM;
	/* A link has put its target in the place of what was left. */
	if (r == 0 && links == w->links)
		memmove(w->left, p, strlen(p) + 1);
	if (r >= 0 && bound && w->bound && route_of(w->at) != w->bound)
		r = -EPERM;
	return r;
}

static int at_directory(struct walk *w, struct ops_found *ret)
{
	ret->self = ops_place_ref(w->at);
	ret->dir = ops_place_ref(w->at->parent);
	ret->node = bk_node_ref(w->at->node);
	ret->st = w->at->st;
	ret->name = strdup(w->at->name);
	return ret->name ? 0 : -ENOMEM;
}

int ops_resolve(struct ops *o, struct ops_req *req, struct ops_place *from, const char *path,
		bool parents, struct ops_found *ret)
{
	struct walk w = {.o = o, .req = req, .at = ops_place_ref(from), .left = strdup(path)};
	struct ops_found found = {0};
	int r = w.left ? 0 : -ENOMEM;

	if (r == 0 && !w.at)
		r = root_place(o, req, &w.at);
	while (r == 0 && !only_slashes(w.left)) {
		r = ops_step(req);
		if (r == 0)
			r = step(&w, parents, &found);
	}
	if (r == 0)
		r = at_directory(&w, &found);
	ops_place_unref(w.at);
	free(w.left);
	if (r < 0) {
		ops_found_done(&found);
		return r;
	}
	*ret = found;
	return 0;
}

int ops_resolve_arg(struct ops *o, bool parents, struct ops_found *ret)
{
	const char *at = o->args.at;
	size_t n = strlen(o->tree->mountpoint);

	if (strncmp(at, o->tree->mountpoint, n) != 0 || (at[n] != '/' && at[n] != '\0'))
		return -EXDEV;
	return ops_resolve(o, &o->req, NULL, at + n, parents, ret);
}
