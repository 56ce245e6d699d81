/*
 * glob: the files of a tree whose paths match, sorted by path as the walk meets them, or by time,
 * and then they are gathered first.
 */
#include "base/pattern.h"
#include "far.h"
#include "scan.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

#define MAX_SORTED (1 << 20) /* files that are gathered */

struct found {
	char *path;
	size_t name; /* where it begins in the path */
	struct stat own, st;
};

struct globbing {
	struct ops *o;
	struct pattern *pattern;
	bool by_time, truncated;
	uint64_t n;
	struct found *found;
	size_t n_found, size;
	struct err error; /* the first */
	uint64_t errors;
};

bool ops_by_time(const struct ops_args *a)
{
	return a->sort && strcmp(a->sort, "mtime") == 0;
}

/* ---- Results ---- */

static int put(struct globbing *g, const char *path, size_t name, const struct stat *own,
	       const struct stat *st)
{
	if (g->o->args.max && g->n == g->o->args.max) {
		g->truncated = true;
		return -ECANCELED;
	}
	g->n++;
	if (g->o->args.json)
		return ops_put_entry(g->o, g->n == 1, path, path + name, own, st);
	return ops_puts(g->o, path) < 0 ? -EPIPE : ops_puts(g->o, "\n");
}

static int keep(struct globbing *g, char *path, size_t name, const struct stat *own,
		const struct stat *st) /* takes PATH */
{
	if (g->n_found == g->size) {
		size_t size = g->size ? g->size * 2 : 64;
		struct found *more = NULL;

		if (g->n_found < MAX_SORTED)
			more = reallocarray(g->found, size, sizeof(*more));
		if (!more) {
			free(path);
			return g->n_found < MAX_SORTED ? -ENOMEM : -E2BIG;
		}
		g->found = more;
		g->size = size;
	}
	g->found[g->n_found++] = (struct found){path, name, *own, *st};
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	const struct timespec *p = &x->st.st_mtim, *q = &y->st.st_mtim;

	if (p->tv_sec != q->tv_sec)
		return p->tv_sec < q->tv_sec ? 1 : -1;
	if (p->tv_nsec != q->tv_nsec)
		return p->tv_nsec < q->tv_nsec ? 1 : -1;
	return strcmp(x->path, y->path);
}

static int put_sorted(struct globbing *g)
{
	int r = 0;

	if (g->n_found > 1)
		qsort(g->found, g->n_found, sizeof(*g->found), newest_first);
	for (size_t i = 0; i < g->n_found; i++) {
		struct found *f = &g->found[i];

		if (r == 0)
			r = put(g, f->path, f->name, &f->own, &f->st);
		free(f->path);
	}
	free(TAKE(g->found));
	return r;
}

/* NAME of the directory that is shown as DIR, both with what is to be told of them. */
static int take(struct globbing *g, const char *dir, const char *name, const struct stat *own,
		const struct stat *st)
{
	_cleanup_buf_ struct buf path = BUF_INIT(2 * OPS_MAX_PATH);
	const char *slash;
	size_t at;
	int r = ops_join(&path, dir, name, strlen(name));

	if (r < 0)
		return r;
	slash = strrchr(name, '/');
	at = path.len - strlen(slash ? slash + 1 : name);
	return g->by_time ? keep(g, buf_take(&path), at, own, st) : put(g, path.data, at, own, st);
}

/* ---- The walk ---- */

/* Whether what NAME of PLACE is, or leads to, is a file: 1, 0, -errno. */
static int look(struct globbing *g, struct ops_place *place, const char *name, struct stat *own,
		struct stat *st)
{
	int r = ops_look(g->o, &g->o->req, place, name, own, st);

	if (r < 0)
		return r == -EINTR || r == -ENOMEM ? r : 0;
	return S_ISREG(st->st_mode);
}

static bool wants_stats(const struct globbing *g)
{
	return g->o->far ? g->o->far->stats : g->o->args.json || g->by_time;
}

/* A file or link as a record; where the link leads is found at the other end. */
static int put_record(struct globbing *g, const struct scan_dir *d, const struct ops_entry *e)
{
	_cleanup_buf_ struct buf path = BUF_INIT(OPS_MAX_PATH), out = BUF_INIT(2 * OPS_MAX_PATH);
	struct far_record x = {.kind = e->type == DT_LNK ? FAR_LINK : FAR_FILE};
	struct stat own, st;
	int r = ops_join(&path, d->shown, e->name, strlen(e->name));

	if (r < 0)
		return r;
	x.path = path.data;
	x.path_len = path.len;
	if (x.kind == FAR_FILE && wants_stats(g)) {
		r = look(g, d->place, e->name, &own, &st);
		if (r <= 0)
			return r;
		x.kind = S_ISLNK(own.st_mode) ? FAR_LINK : FAR_FILE;
		x.number = own.st_size;
		x.mode = own.st_mode & 07777;
		x.mtime = own.st_mtim;
	}
	r = far_put_record(&out, &x);
	return r < 0 ? r : ops_put(g->o, out.data, out.len);
}

static int put_error(struct globbing *g, const char *shown, int r)
{
	_cleanup_buf_ struct buf out = BUF_INIT(2 * OPS_MAX_PATH);
	const struct far_record x = {
	    .kind = FAR_ERROR, .number = -r, .path = shown, .path_len = strlen(shown)};

	r = far_put_record(&out, &x);
	return r < 0 ? r : ops_put(g->o, out.data, out.len);
}

static int take_file(void *ctx, const struct scan_dir *d, const struct ops_entry *e)
{
	struct globbing *g = ctx;
	_cleanup_free_ struct pattern_state *state = NULL;
	struct stat own, st;
	int r = pattern_step(g->pattern, d->state, e->name, &state);

	if (r < 0 || !state || !pattern_ends(g->pattern, state))
		return r;
	if (e->type != DT_REG && e->type != DT_LNK)
		return 0;
	if (g->o->far)
		return put_record(g, d, e);
	r = e->type == DT_LNK || wants_stats(g) ? look(g, d->place, e->name, &own, &st) : 1;
	return r <= 0 ? r : take(g, d->shown, e->name, &own, &st);
}

static int enter(void *ctx, const struct scan_dir *d, const char *name, void **ret_state)
{
	struct globbing *g = ctx;
	struct pattern_state *state;
	int r = pattern_step(g->pattern, d->state, name, &state);

	if (r < 0 || !state)
		return r;
	if (!pattern_goes_on(g->pattern, state)) {
		free(state);
		return 0;
	}
	*ret_state = state;
	return 1;
}

static int failed(void *ctx, const char *shown, int r)
{
	struct globbing *g = ctx;

	if (g->o->far)
		return put_error(g, shown, r);
	if (g->errors++ == 0)
		err_set(&g->error, 0, "Error: '%s': %s", *shown ? shown : ".", strerror(-r));
	return 0;
}

/* ---- What is found at the far end ---- */

/* A link of it, as if it had been met here. */
static int take_link(struct globbing *g, const struct scan_dir *d, const char *path)
{
	_cleanup_found_ struct ops_found f = {0};
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = strndup(path, name - path);
	struct stat own, st;
	int r = dir ? ops_resolve(g->o, &g->o->req, d->place, dir, false, &f) : -ENOMEM;

	if (r == 0 && !f.self)
		r = -ENOTDIR;
	if (r < 0)
		return r == -EINTR || r == -ENOMEM ? r : 0;
	r = look(g, f.self, name, &own, &st);
	return r <= 0 ? r : take(g, d->shown, path, &own, &st);
}

static int take_record(struct globbing *g, const struct scan_dir *d, const struct far_record *x)
{
	_cleanup_buf_ struct buf path = BUF_INIT(2 * OPS_MAX_PATH);
	const struct stat st = {
	    .st_mode = S_IFREG | x->mode, .st_size = x->number, .st_mtim = x->mtime};
	int r = 0;

	if (x->kind == FAR_LINK)
		return take_link(g, d, x->path);
	if (x->kind == FAR_FILE)
		return take(g, d->shown, x->path, &st, &st);
	r = ops_join(&path, d->shown, x->path, x->path_len);
	return r < 0 ? r : failed(g, path.data, -(int)x->number);
}

static int take_far(void *ctx, const struct scan_dir *d, struct bk_results *results)
{
	struct far_reader f = {.results = results, .kind = FAR_GLOB};
	struct globbing *g = ctx;
	struct far_record x;
	int r, taken = 0;

	while (taken == 0 && (r = far_next(&g->o->req, &f, &x)) > 0)
		taken = take_record(g, d, &x);
	far_reader_done(&f);
	bk_results_free(results);
	if (taken < 0 || r == 0 || r == -EINTR || r == -ENOMEM)
		return taken < 0 ? taken : r;
	bk_req_extend(&g->o->req.req, g->o->tree->deadline_ms);
	return failed(g, d->shown, r);
}

/* ---- Beginning and end ---- */

static int report(struct globbing *g)
{
	_cleanup_buf_ struct buf out = BUF_INIT(8 * sizeof(g->error));
	struct ops *o = g->o;

	if (g->errors > 1)
		snprintf(g->error.text + strlen(g->error.text),
			 sizeof(g->error.text) - strlen(g->error.text), " (and %llu more errors)",
			 (unsigned long long)g->errors - 1);
	if (!o->args.json) {
		if (g->errors > 0)
			ops_say(o, g->error.text);
		return g->errors > 0;
	}
	(void)buf_addf(&out, "], \"truncated\": %s, \"error\": ", g->truncated ? "true" : "false");
	if (g->errors > 0)
		(void)ops_json_string(&out, g->error.text, strlen(g->error.text));
	else
		(void)buf_adds(&out, "null");
	(void)buf_adds(&out, "}\n");
	return ops_put(o, out.data, out.len) < 0 || g->errors > 0;
}

/* BASE is NULL where there is none. */
static int run(struct globbing *g, struct ops_place *base)
{
	const struct scan_visitor visitor = {
	    .ctx = g,
	    .file = take_file,
	    .enter = enter,
	    .leave = free,
	    .far = take_far,
	    .kind = FAR_GLOB,
	    .failed = failed,
	};
	struct ops *o = g->o;
	struct pattern_state *state;
	int r = pattern_begin(g->pattern, &state), sorted;

	if (r == 0 && o->args.json)
		r = ops_puts(o, "{\"files\": [");
	if (r == 0 && base)
		r = scan_tree(o, base, o->args.path, state, o->args.gitignore, &visitor);
	free(state);
	sorted = put_sorted(g);
	r = r < 0 ? r : sorted;
	if (r < 0 && r != -ECANCELED)
		(void)failed(g, o->args.path, r);
	return report(g);
}

int ops_glob(struct ops *o)
{
	_cleanup_found_ struct ops_found f = {0};
	struct globbing g = {.o = o};
	unsigned flags = PATTERN_BRACES | (o->args.hidden ? PATTERN_HIDDEN : 0);
	struct err err = {""};
	int r = pattern_new(o->args.pattern, flags, &g.pattern, &err), status;

	if (r < 0)
		return ops_fail(o, "%s", err.text[0] ? err.text : strerror(-r));
	g.by_time = ops_by_time(&o->args);
	r = ops_resolve_arg(o, false, &f);
	if (r == 0 && !f.self)
		r = f.node ? -ENOTDIR : -ENOENT;
	if (o->args.missing_ok && (r == -ENOENT || r == -ENOTDIR))
		r = 0;
	if (r == 0)
		status = run(&g, f.self);
	else if (r == -ENOENT)
		status = ops_fail(o, "Error: Path '%s' not found", o->args.path);
	else
		status = ops_fail_errno(o, r);
	pattern_free(g.pattern);
	return status;
}

/* The state after the names of PATH; NULL where nothing below matches. */
static int state_at(const struct pattern *p, const char *path, struct pattern_state **ret)
{
	struct pattern_state *state;
	int r = pattern_begin(p, &state);

	while (r == 0 && state && *path) {
		struct pattern_state *before = state;
		size_t n = strcspn(path, "/");
		char name[NAME_MAX + 1];

		if (n > NAME_MAX) {
			free(state);
			return -ENAMETOOLONG;
		}
		memcpy(name, path, n);
		name[n] = '\0';
		r = pattern_step(p, before, name, &state);
		free(before);
		path += n + (path[n] == '/');
	}
	*ret = state;
	return r;
}

int ops_glob_far(struct ops *o, struct scan_dir *d)
{
	struct globbing g = {.o = o};
	const struct scan_visitor visitor = {
	    .ctx = &g, .file = take_file, .enter = enter, .leave = free, .failed = failed};
	unsigned flags = PATTERN_BRACES | (o->args.hidden ? PATTERN_HIDDEN : 0);
	struct pattern_state *state = NULL;
	int r = pattern_new(o->args.pattern, flags, &g.pattern, NULL);

	if (r == 0)
		r = state_at(g.pattern, o->far->below, &state);
	d->state = state;
	if (r == 0 && state)
		r = scan_from(o, d, o->args.gitignore, &visitor);
	free(state);
	pattern_free(g.pattern);
	return r;
}
