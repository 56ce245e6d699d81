/* See scan.h. */
#include "scan.h"

#include "far.h"

#include <dirent.h>
#include <string.h>

#define MAX_IGNORE_FILE (1024 * 1024)

struct scan {
	struct ops *o;
	bool gitignore;
	const struct scan_visitor *v;
};

/* ---- .gitignore ---- */

/* All of FILE in OUT; what cannot be read ignores nothing. -EINTR, -ENOMEM. */
static int load(struct ops *o, struct bk_file *file, struct buf *out)
{
	ssize_t n;
	int r;

	*out = BUF_INIT(MAX_IGNORE_FILE);
	do {
		r = ops_step(&o->req);
		if (r == 0)
			r = buf_reserve(out, 16384);
		n = r < 0 ? r : bk_read(&o->req.req, file, out->data + out->len, 16384, out->len);
		if (n > 0)
			out->len += n;
	} while (n == 16384);
	return n == -EINTR || n == -ENOMEM ? (int)n : 0;
}

/* NAME of PLACE, which is no link: git follows none either. */
static int open_here(struct ops *o, struct ops_place *place, const char *name, struct bk_file **ret)
{
	struct bk_file *file;
	struct stat st;
	int r = ops_may(o, &place->st, X_OK);

	if (r == 0)
		r = bk_peek(&o->req.req, place->node, name, &file, &st);
	if (r < 0)
		return r;
	r = ops_may(o, &st, R_OK);
	if (r < 0)
		bk_release(file);
	else
		*ret = file;
	return r;
}

static int open_below(struct ops *o, struct ops_place *place, const char *path,
		      struct bk_file **ret)
{
	_cleanup_found_ struct ops_found f = {0};
	int r = ops_resolve(o, &o->req, place, path, false, &f);

	if (r == 0 && !f.node)
		r = -ENOENT;
	return r < 0 ? r : ops_open(o, &o->req, f.node, &f.st, ret);
}

/* The rules of file NAME in PLACE, or below it, added to PARENT's: *RET is PARENT or new (*RET_OWN
 * too). */
static int add_rules(struct ops *o, struct ops_place *place, const char *name, unsigned depth,
		     const struct ignore *parent, const struct ignore **ret,
		     struct ignore **ret_own)
{
	_cleanup_buf_ struct buf text = BUF_INIT(0);
	struct bk_file *file = NULL;
	int r = strchr(name, '/') ? open_below(o, place, name, &file)
				  : open_here(o, place, name, &file);

	*ret = parent;
	*ret_own = NULL;
	if (r == 0)
		r = load(o, file, &text);
	else if (r != -EINTR && r != -ENOMEM)
		r = 0;
	bk_release(file);
	if (r < 0 || text.len == 0)
		return r;
	*ret_own = ignore_new(parent, depth, text.data, text.len);
	if (!*ret_own)
		return -ENOMEM;
	*ret = *ret_own;
	return 0;
}

static bool has_name(const struct ops_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->entries[i].name, name) == 0)
			return true;
	return false;
}

static bool is_ignored(const struct scan *s, const struct scan_dir *d, const struct ops_entry *e)
{
	_cleanup_buf_ struct buf path = BUF_INIT(OPS_MAX_PATH);

	if (!s->gitignore)
		return false;
	if (strcmp(e->name, ".git") == 0)
		return true;
	if (!d->ignore || ops_join(&path, d->path, e->name, strlen(e->name)) < 0)
		return false;
	return ignore_matches(d->ignore, path.data, e->type == DT_DIR);
}

/* ---- The walk ---- */

static int scan_dir(struct scan *s, struct scan_dir *d);

static int failed(struct scan *s, const char *shown, int r)
{
	/* Gone meanwhile. */
	if (r == -ENOENT || r == -ESTALE || r == -ENOTDIR)
		return 0;
	if (r == -EINTR || r == -ENOMEM || r == -EPIPE)
		return r;
	bk_req_extend(&s->o->req.req, s->o->tree->deadline_ms);
	return s->v->failed(s->v->ctx, shown, r);
}

static int place_of(struct scan *s, const struct scan_dir *d, const char *name,
		    struct ops_place **ret)
{
	struct bk_node *node;
	struct stat st;
	int r = ops_may(s->o, &d->place->st, X_OK);

	if (r == 0)
		r = bk_lookup(&s->o->req.req, d->place->node, name, &node, &st);
	if (r < 0)
		return r;
	if (!S_ISDIR(st.st_mode)) {
		bk_node_unref(node);
		return -ENOTDIR;
	}
	*ret = ops_place_new(d->place, name, node, &st);
	return *ret ? 0 : -ENOMEM;
}

static int go_into(struct scan *s, const struct scan_dir *d, const char *name, void *state)
{
	_cleanup_buf_ struct buf shown = BUF_INIT(OPS_MAX_PATH), path = BUF_INIT(OPS_MAX_PATH);
	struct scan_dir child = {
	    .parent = d, .depth = d->depth + 1, .ignore = d->ignore, .state = state};
	int r = ops_join(&shown, d->shown, name, strlen(name));

	if (r == 0)
		r = ops_join(&path, d->path, name, strlen(name));
	if (r == 0 && child.depth > OPS_MAX_DEPTH)
		r = -ENAMETOOLONG;
	if (r == 0)
		r = place_of(s, d, name, &child.place);
	if (r < 0)
		return failed(s, shown.data ? shown.data : name, r);
	child.shown = shown.data;
	child.path = path.data;
	r = scan_dir(s, &child);
	ops_place_unref(child.place);
	return r;
}

/* Whether NAME is one that the far end of D is not to go into. */
static bool is_hidden(const struct scan *s, const struct scan_dir *d, const char *name)
{
	const char *hidden = s->o->far && !d->parent ? s->o->far->hidden : NULL;
	size_t n = strlen(name);

	for (; hidden && *hidden; hidden += strspn(hidden, "/")) {
		size_t k = strcspn(hidden, "/");

		if (k == n && memcmp(hidden, name, n) == 0)
			return true;
		hidden += k;
	}
	return false;
}

static int take_entry(struct scan *s, const struct scan_dir *d, const struct ops_entry *e)
{
	void *state = NULL;
	int r;

	if (is_ignored(s, d, e) || (e->type == DT_DIR && is_hidden(s, d, e->name)))
		return 0;
	if (e->type != DT_DIR)
		return s->v->file(s->v->ctx, d, e);
	r = s->v->enter ? s->v->enter(s->v->ctx, d, e->name, &state) : 1;
	if (r <= 0)
		return r;
	r = go_into(s, d, e->name, state);
	if (s->v->leave)
		s->v->leave(state);
	return r;
}

/* 1: D is searched where it is. 0: it is to be walked. */
static int search_far(struct scan *s, const struct scan_dir *d)
{
	struct bk_results *results;
	int r;

	if (!s->v->far)
		return 0;
	r = far_begin(s->o, s->v->kind, d, &results);
	if (r == -EOPNOTSUPP)
		return 0;
	r = r < 0 ? failed(s, d->shown, r) : s->v->far(s->v->ctx, d, results);
	return r < 0 ? r : 1;
}

static int walk(struct scan *s, struct scan_dir *d)
{
	struct ignore *own = NULL;
	struct ops_list list;
	int r = ops_list(s->o, &s->o->req, d->place, &list);
	const char *rule;

	/* What a rule denies is left out. */
	if (r == -EACCES && d->parent && bk_rule(d->place->node, NULL, &rule) == -EACCES)
		return 0;
	if (r < 0)
		return failed(s, d->shown, r);
	if (s->gitignore && has_name(&list, ".gitignore"))
		r = add_rules(s->o, d->place, ".gitignore", d->depth, d->ignore, &d->ignore, &own);
	for (size_t i = 0; i < list.n && r == 0; i++) {
		r = ops_step(&s->o->req);
		if (r == 0)
			r = take_entry(s, d, &list.entries[i]);
	}
	ops_list_done(&list);
	ignore_free(own);
	return r;
}

static int scan_dir(struct scan *s, struct scan_dir *d)
{
	int r = search_far(s, d);

	return r == 0 ? walk(s, d) : r < 0 ? r : 0;
}

int scan_from(struct ops *o, struct scan_dir *d, bool gitignore, const struct scan_visitor *visitor)
{
	struct scan s = {.o = o, .gitignore = gitignore, .v = visitor};

	return scan_dir(&s, d);
}

/* ---- Above the beginning ---- */

/* The top of the git work tree that PLACE is in, or PLACE. */
static struct ops_place *work_tree(struct ops *o, struct ops_place *place)
{
	struct bk_node *node;
	struct stat st;

	for (struct ops_place *p = place; p; p = p->parent) {
		if (bk_lookup(&o->req.req, p->node, ".git", &node, &st) == 0) {
			bk_node_unref(node);
			return p;
		}
	}
	return place;
}

/* Let D have what the directories from TOP down to the one above PLACE ignore. OWN: room for all.
 */
static int inherit(struct ops *o, struct ops_place *top, struct ops_place *place,
		   struct scan_dir *d, struct ignore **own, size_t *n, struct buf *path)
{
	int r;

	if (place == top)
		return add_rules(o, top, ".git/info/exclude", 0, NULL, &d->ignore, &own[(*n)++]);
	r = inherit(o, top, place->parent, d, own, n, path);
	if (r == 0)
		r = add_rules(o, place->parent, ".gitignore", d->depth, d->ignore, &d->ignore,
			      &own[(*n)++]);
	if (r == 0)
		r = ops_join(path, path->data ? path->data : "", place->name, strlen(place->name));
	d->depth++;
	return r;
}

int scan_tree(struct ops *o, struct ops_place *base, const char *shown, void *state, bool gitignore,
	      const struct scan_visitor *visitor)
{
	struct scan_dir d = {.place = base, .shown = shown, .state = state};
	_cleanup_free_ struct ignore **own = NULL;
	_cleanup_buf_ struct buf path = BUF_INIT(OPS_MAX_PATH);
	struct ops_place *top = base;
	size_t n = 0, levels = 1;
	int r = 0;

	if (gitignore) {
		top = work_tree(o, base);
		for (struct ops_place *p = base; p != top; p = p->parent)
			levels++;
		own = calloc(levels, sizeof(*own));
		r = own ? inherit(o, top, base, &d, own, &n, &path) : -ENOMEM;
	}
	d.path = path.data ? path.data : (char *)"";
	if (r == 0)
		r = scan_from(o, &d, gitignore, visitor);
	while (n > 0)
		ignore_free(own[--n]);
	return r;
}
