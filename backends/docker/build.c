/*
 * An index is built from the stream of a tar archive, in the order in which the Engine walks: a
 * directory comes before its entries. A stack of the directories on the way to the newest entry is
 * all that a check of its parents needs. Then the entries are sorted by (parent, name), which makes
 * the children of each a range.
 */
#include "index.h"

#include "../base/clock.h"
#include "../base/log.h"

#include <limits.h>
#include <string.h>

#define DEPTH_MAX 512
#define NAMES_MAX (UINT32_MAX / 2)
#define DIRECT_FACTOR 8
#define FRESH_MIN_MS 1000
#define FRESH_MAX_MS 30000

struct builder {
	const struct index_build *in;
	struct index *ix;
	char *prefix; /* of the archive's paths: the name of its first entry */
	uint32_t stack[DEPTH_MAX];
	size_t depth;		 /* entries of the stack */
	bool shallow;		 /* only direct children are kept any more */
	uint32_t skipped;	 /* entries that no honest archive has */
	char path[PATH_MAX * 2]; /* of the entry in work, for `hidden` */
};

static int add_text(struct index *ix, const char *s, uint32_t *ret)
{
	size_t n = strlen(s) + 1;

	if (ix->names_len + n > ix->names_size) {
		size_t size = ix->names_size ? ix->names_size * 2 : 4096;
		char *p;

		while (size < ix->names_len + n)
			size *= 2;
		if (size > NAMES_MAX)
			return -E2BIG;
		p = realloc(ix->names, size);
		if (!p)
			return -ENOMEM;
		ix->names = p;
		ix->names_size = size;
	}
	memcpy(ix->names + ix->names_len, s, n);
	*ret = ix->names_len;
	ix->names_len += n;
	return 0;
}

static int add_entry(struct index *ix, uint32_t parent, const char *name,
		     const struct engine_tar_entry *t, uint32_t *ret)
{
	struct index_entry e = {
	    .parent = parent,
	    .mode = t->st.st_mode,
	    .uid = t->st.st_uid,
	    .gid = t->st.st_gid,
	    .size = t->st.st_size,
	    .rdev = t->st.st_rdev,
	    .mtime = t->st.st_mtim.tv_sec,
	    .flags = S_ISDIR(t->st.st_mode) ? INDEX_LISTED : 0,
	};
	int r;

	if (ix->n == ix->size) {
		size_t size = ix->size ? ix->size * 2 : 64;
		struct index_entry *p = realloc(ix->e, size * sizeof(*p));

		if (!p)
			return -ENOMEM;
		ix->e = p;
		ix->size = size;
	}
	r = add_text(ix, name, &e.name);
	if (r == 0 && t->hardlink) {
		e.flags = INDEX_HARD;
		r = add_text(ix, t->hardlink, &e.link);
	} else if (r == 0 && t->link) {
		e.size = strlen(t->link);
		r = add_text(ix, t->link, &e.link);
	}
	if (r < 0)
		return r;
	*ret = ix->n;
	ix->e[ix->n++] = e;
	return 0;
}

/* ---- Paths of the archive ---- */

/* Without slashes and "." at the start. */
static const char *trimmed(const char *path)
{
	while (*path == '/' || (path[0] == '.' && (path[1] == '/' || path[1] == '\0')))
		path++;
	return path;
}

/* PATH below the archive's first entry; NULL where it is not below it, "" for that itself. */
static const char *below_prefix(const struct builder *b, const char *path)
{
	size_t n = strlen(b->prefix);

	path = trimmed(path);
	if (n == 0)
		return path;
	if (strncmp(path, b->prefix, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path[n] ? path + n + 1 : path + n;
}

static bool good_name(const char *name, size_t n)
{
	return n > 0 && n <= NAME_MAX && !(n == 1 && name[0] == '.') &&
	       !(n == 2 && name[0] == '.' && name[1] == '.');
}

/*
 * Take REST ("a/b/c") apart: its directories have to be the ones on the stack. Cuts the stack to
 * them. The last component goes to NAME. False for what no honest archive has.
 */
static bool locate(struct builder *b, const char *rest, char name[NAME_MAX + 1])
{
	size_t depth = 1;

	for (;;) {
		size_t n = strcspn(rest, "/");
		const char *next = rest + n + (rest[n] == '/');

		if (!good_name(rest, n))
			return false;
		if (!*next) {
			memcpy(name, rest, n);
			name[n] = '\0';
			b->depth = depth;
			return depth < DEPTH_MAX;
		}
		if (depth >= b->depth)
			return false;
		const char *have = index_name(b->ix, &b->ix->e[b->stack[depth]]);
		if (strncmp(have, rest, n) != 0 || have[n] != '\0')
			return false;
		depth++;
		rest = next;
	}
}

/* ---- Limits ---- */

/* Drop all but the direct children: the tree is larger than we keep. */
static void make_shallow(struct builder *b)
{
	struct index *ix = b->ix;
	size_t n = 1;

	for (size_t i = 1; i < ix->n; i++)
		if (ix->e[i].parent == 0) {
			ix->e[i].flags &= ~INDEX_LISTED;
			ix->e[n++] = ix->e[i];
		}
	ix->n = n;
	b->shallow = true;
	b->depth = 1;
	log_info("index of %s: more than %zu entries, only its direct children are kept", ix->path,
		 b->in->max);
}

static bool is_hidden(struct builder *b, const char *rest)
{
	const char *dir = strcmp(b->in->path, "/") ? b->in->path : "";

	snprintf(b->path, sizeof(b->path), "%s/%s", dir, rest);
	for (char *p = b->path + strlen(b->path); p > b->path && p[-1] == '/';)
		*--p = '\0';
	return b->in->hidden(b->in->arg, b->path);
}

/* ---- One entry ---- */

static int take(struct builder *b, const struct engine_tar_entry *t)
{
	const char *rest = below_prefix(b, t->path);
	char name[NAME_MAX + 1];
	uint32_t parent, at;
	int r;

	if (!rest || strlen(rest) >= PATH_MAX) {
		b->skipped++;
		return 0;
	}
	if (!*rest)
		return 0;
	if (b->shallow && strchr(rest, '/') && strchr(rest, '/')[1])
		return 0;
	if (!locate(b, rest, name)) {
		/* Below what is hidden nothing is on the stack, and rightly. */
		b->skipped += !is_hidden(b, rest);
		return 0;
	}
	parent = b->stack[b->depth - 1];
	if (b->ix->n >= b->in->max && !b->shallow) {
		make_shallow(b);
		return take(b, t);
	}
	if (b->ix->n >= b->in->max * DIRECT_FACTOR)
		return -E2BIG;
	r = add_entry(b->ix, parent, name, t, &at);
	if (r < 0)
		return r;
	if (S_ISDIR(t->st.st_mode) && !t->hardlink) {
		if (b->shallow || is_hidden(b, rest))
			b->ix->e[at].flags &= ~INDEX_LISTED;
		else
			b->stack[b->depth++] = at;
	}
	return 0;
}

/* ---- The end: sorted, ranges, hard links ---- */

static __thread const struct index *sorting;

static int by_parent_and_name(const void *pa, const void *pb)
{
	const struct index_entry *a = &sorting->e[*(const uint32_t *)pa];
	const struct index_entry *b = &sorting->e[*(const uint32_t *)pb];

	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	return strcmp(sorting->names + a->name, sorting->names + b->name);
}

static int sort(struct index *ix)
{
	_cleanup_free_ uint32_t *order = calloc(ix->n, sizeof(*order));
	_cleanup_free_ uint32_t *place = calloc(ix->n, sizeof(*place));
	struct index_entry *out = calloc(ix->n, sizeof(*out));
	size_t n = 0;

	if (!order || !place || !out) {
		free(out);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < ix->n; i++)
		order[i] = i;
	sorting = ix;
	qsort(order + 1, ix->n - 1, sizeof(*order), by_parent_and_name);
	for (size_t i = 0; i < ix->n; i++) {
		/* A name that came twice: the first is taken. */
		if (i > 1 && by_parent_and_name(&order[i], &order[i - 1]) == 0) {
			place[order[i]] = n - 1;
			continue;
		}
		place[order[i]] = n;
		out[n++] = ix->e[order[i]];
	}
	for (size_t i = 1; i < n; i++) {
		struct index_entry *up = &out[place[out[i].parent]];

		out[i].parent = up - out;
		if (up->count == 0)
			up->first = i;
		/* Children of a name that came twice stay apart: nobody finds them. */
		if (up->first + up->count == i)
			up->count++;
	}
	free(ix->e);
	ix->e = out;
	ix->n = ix->size = n;
	return 0;
}

/* Another name of a file of this archive has its attributes; one of another file is for a HEAD. */
static void resolve_hardlinks(struct builder *b)
{
	struct index *ix = b->ix;

	for (size_t i = 1; i < ix->n; i++) {
		const char *rest;
		uint32_t at = 0;

		if (!(ix->e[i].flags & INDEX_HARD))
			continue;
		rest = below_prefix(b, ix->names + ix->e[i].link);
		ix->e[i].link = 0;
		ix->e[i].flags |= INDEX_STALE;
		while (rest && *rest) {
			size_t n = strcspn(rest, "/");

			at = index_child(ix, at, rest, n);
			if (at == 0)
				break;
			rest += n + (rest[n] == '/');
		}
		if (at == 0 || !S_ISREG(ix->e[at].mode) || ix->e[at].flags & INDEX_HARD)
			continue;
		ix->e[i].mode = ix->e[at].mode;
		ix->e[i].uid = ix->e[at].uid;
		ix->e[i].gid = ix->e[at].gid;
		ix->e[i].size = ix->e[at].size;
		ix->e[i].mtime = ix->e[at].mtime;
		ix->e[i].flags = 0;
	}
}

static int start(struct bk_req *req, struct builder *b, struct engine_tar **ret_tar,
		 struct err *err)
{
	const struct index_build *in = b->in;
	struct engine_stat head = {0};
	struct engine_tar_entry t;
	uint32_t root, none;
	int r;

	r = add_text(b->ix, "", &none); /* offset 0 stands for none */
	if (r == 0)
		r = engine_archive_stat(req, in->engine, in->container, in->path, &head, err);
	free(head.link);
	if (r < 0)
		return r;
	if (!S_ISDIR(head.mode))
		return -ENOTDIR;
	b->ix->root_mtime = head.mtime;
	b->ix->start_s = time(NULL);
	r = engine_archive_get(req, in->engine, in->container, in->path, ret_tar, err);
	if (r < 0)
		return r;
	r = engine_tar_next(req, *ret_tar, &t);
	if (r <= 0 || !S_ISDIR(t.st.st_mode))
		return r < 0 ? r : err_set(err, -EIO, "archive of %s: no directory", in->path);
	b->prefix = strdup(trimmed(t.path));
	if (!b->prefix)
		return -ENOMEM;
	for (size_t n = strlen(b->prefix); n > 0 && b->prefix[n - 1] == '/';)
		b->prefix[--n] = '\0';
	t.link = t.hardlink = NULL;
	r = add_entry(b->ix, 0, "", &t, &root);
	b->stack[0] = root;
	b->depth = 1;
	return r;
}

static int read_all(struct bk_req *req, struct builder *b, struct engine_tar *tar)
{
	struct engine_tar_entry t;
	int r;

	while ((r = engine_tar_next(req, tar, &t)) > 0) {
		bk_req_extend(req, b->in->timeout_ms);
		atomic_store(b->in->progress_ms, clock_ms());
		r = take(b, &t);
		if (r < 0)
			return r;
	}
	return r;
}

static void builder_done(struct builder *b)
{
	index_unref(b->ix);
	free(b->prefix);
}

int index_build(struct bk_req *req, const struct index_build *in, struct index **ret,
		struct err *err)
{
	_cleanup_(engine_tar_closep) struct engine_tar *tar = NULL;
	_cleanup_(builder_done) struct builder b = {.in = in, .ix = calloc(1, sizeof(*b.ix))};
	uint64_t began = clock_ms();
	int r;

	if (!b.ix)
		return -ENOMEM;
	atomic_init(&b.ix->refs, 1);
	b.ix->generation = in->generation;
	b.ix->path = strdup(in->path);
	if (!b.ix->path)
		return -ENOMEM;
	r = start(req, &b, &tar, err);
	if (r == 0)
		r = read_all(req, &b, tar);
	if (r == 0)
		r = sort(b.ix);
	if (r < 0)
		return r;
	resolve_hardlinks(&b);
	if (b.skipped)
		log_warning("index of %s: %u entries left out: their names are not those of files",
			    in->path, b.skipped);
	b.ix->end_ms = clock_ms();
	b.ix->fresh_ms = b.ix->end_ms - began;
	if (b.ix->fresh_ms < FRESH_MIN_MS)
		b.ix->fresh_ms = FRESH_MIN_MS;
	if (b.ix->fresh_ms > FRESH_MAX_MS)
		b.ix->fresh_ms = FRESH_MAX_MS;
	*ret = TAKE(b.ix);
	return 0;
}
