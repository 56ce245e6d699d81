/*
 * Listings. A directory's names come from an index that holds, or from a new one; an open
 * directory keeps the index it began with, so that its cookies stay good, and adds the files that
 * are not in the container yet. Cookies: 1 and 2 are "." and "..", 3 and on the entries.
 */
#include "live.h"

#include "../base/clock.h"

#include <dirent.h>
#include <string.h>

#define PENDING_MAX 4096

struct ddir {
	struct dfile file;
	struct gate gate; /* two threads may list one handle */
	struct index *ix; /* NULL: lists as empty */
	uint32_t at;
	struct dnode **pending;
	size_t n_pending;
};

static const char *const pseudo_dirs[] = {"/proc", "/sys", "/dev"};

bool dir_is_kernels(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(pseudo_dirs); i++)
		if (path_below(path, pseudo_dirs[i]))
			return true;
	return false;
}

bool dir_is_pseudo(struct docker *d, const char *path)
{
	return strcmp(d->conf.pseudo, "hide") == 0 && dir_is_kernels(path);
}

static bool not_indexed(void *arg, const char *path)
{
	struct docker *d = arg;

	return dir_is_pseudo(d, path) || sandbox_hidden(&d->sb, path);
}

/* ---- An index that holds ---- */

/* Whether entry AT's list of names is what directory PATH has now. */
static int still_holds(struct bk_req *req, struct docker *d, const char *path, struct index *ix,
		       uint32_t at, const struct index_entry *e)
{
	struct engine_stat head = {0};
	struct err err = {""};
	int r;

	if (!(e->flags & INDEX_LISTED))
		return 0;
	if (!(e->flags & INDEX_TOUCHED) && ix->generation == generation(d) &&
	    clock_ms() - ix->end_ms < ix->fresh_ms)
		return 1;
	r = head_path(req, d, path, &head, &err);
	free(head.link);
	if (r < 0)
		return r;
	if (!S_ISDIR(head.mode))
		return -ENOTDIR;
	if (at == 0)
		return head.mtime.tv_sec == ix->root_mtime.tv_sec &&
		       head.mtime.tv_nsec == ix->root_mtime.tv_nsec;
	/* Of directories below, the archive told seconds only: enough where they are long past. */
	return head.mtime.tv_sec == e->mtime && e->mtime < ix->start_s - 2;
}

static int find_holding(struct bk_req *req, struct docker *d, const char *path, struct ddir *dir)
{
	_cleanup_(index_unrefp) struct index *ix = NULL;
	struct index_entry e;
	uint32_t at;
	int r;

	if (index_find(&d->indexes, path, &ix, &at, &e) < 0)
		return 0;
	r = still_holds(req, d, path, ix, at, &e);
	if (r <= 0)
		return r;
	dir->ix = TAKE(ix);
	dir->at = at;
	return 1;
}

static int build(struct bk_req *req, struct docker *d, const char *path, struct ddir *dir)
{
	struct index_build b = {
	    .engine = d->sb.engine,
	    .container = d->sb.ref,
	    .path = path,
	    .max = d->conf.index_max,
	    .generation = generation(d),
	    .timeout_ms = d->conf.timeout,
	    .progress_ms = &d->progress_ms,
	    .hidden = not_indexed,
	    .arg = d,
	};
	struct err err = {""};
	struct index *ix;
	int r = index_build(req, &b, &ix, &err);

	if (r < 0 && r != -EINTR && r != -ENOENT)
		sandbox_fail(&d->sb, r, "%s: cannot be listed: %s", path,
			     *err.text ? err.text : strerror(-r));
	if (r < 0)
		return r;
	dir->ix = index_ref(ix);
	dir->at = 0;
	index_add(&d->indexes, ix);
	return 0;
}

static int load(struct bk_req *req, struct docker *d, const char *path, struct ddir *dir)
{
	int r = find_holding(req, d, path, dir);

	if (r != 0)
		return r < 0 ? r : 0;
	r = gate_enter(req, &d->indexes.gate);
	if (r < 0)
		return r;
	/* Whoever built while we waited may have built it for us. */
	r = find_holding(req, d, path, dir);
	if (r == 0)
		r = build(req, d, path, dir);
	gate_leave(&d->indexes.gate);
	return r < 0 ? r : 0;
}

int list_name(struct bk_req *req, struct docker *d, const char *path, struct index **ret_index,
	      struct index_entry *ret)
{
	struct ddir dir = {.ix = NULL};
	const char *slash = strrchr(path, '/');
	char up[PATH_MAX];
	uint32_t at;
	int r = gate_enter(req, &d->indexes.gate);

	if (r < 0)
		return r;
	snprintf(up, sizeof(up), "%.*s", slash > path ? (int)(slash - path) : 1, path);
	r = build(req, d, up, &dir);
	gate_leave(&d->indexes.gate);
	if (r < 0)
		return r;
	at = index_child(dir.ix, 0, slash + 1, strlen(slash + 1));
	if (at == 0) {
		index_unref(dir.ix);
		return -ENOENT;
	}
	*ret = dir.ix->e[at];
	*ret_index = dir.ix;
	return 0;
}

/* ---- Open directories ---- */

static void drop_listing(struct ddir *dir)
{
	index_unref(TAKE(dir->ix));
	for (size_t i = 0; i < dir->n_pending; i++)
		bk_node_unref(&dir->pending[i]->base);
	free(TAKE(dir->pending));
	dir->n_pending = 0;
}

static int take_pending(struct docker *d, struct dnode *node, struct ddir *dir)
{
	dir->pending = calloc(PENDING_MAX, sizeof(*dir->pending));
	if (!dir->pending)
		return -ENOMEM;
	dir->n_pending = node_pending(d, node, dir->pending, PENDING_MAX);
	return 0;
}

static int relist(struct bk_req *req, struct docker *d, struct ddir *dir)
{
	struct dnode *node = dnode_of(dir->file.base.node);
	char path[PATH_MAX];
	int r = node_path(d, node, path);

	drop_listing(dir);
	if (r == -ENOENT || (r == 0 && dir_is_pseudo(d, path)))
		return 0; /* removed, or not to be walked: empty */
	if (r == 0 && sandbox_hidden(&d->sb, path))
		return sandbox_fail(&d->sb, -EOPNOTSUPP,
				    "%s: the archive transport cannot see what is mounted there; "
				    "use aib-exec",
				    path);
	if (r == 0)
		r = take_pending(d, node, dir);
	return r == 0 ? load(req, d, path, dir) : r;
}

int docker_opendir(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	struct ddir *dir;

	if (!S_ISDIR(dnode_of(node)->type))
		return -ENOTDIR;
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	gate_init(&dir->gate);
	dir->file.base.node = bk_node_ref(node);
	*ret = &dir->file.base;
	return 0;
}

void docker_releasedir(struct bk_file *f)
{
	struct ddir *dir = container_of(dfile_of(f), struct ddir, file);

	drop_listing(dir);
	gate_done(&dir->gate);
	bk_node_unref(f->node);
	free(dir);
}

/* ---- Reading them ---- */

static bool fill_dots(struct docker *d, struct dnode *node, uint64_t *cookie, bk_fill_fn fill,
		      void *ctx)
{
	uint64_t up;

	pthread_mutex_lock(&d->nodes.lock);
	up = node->parent ? node->parent->ino : node->ino;
	pthread_mutex_unlock(&d->nodes.lock);
	if (*cookie < 1 && !fill(ctx, ".", node->ino, DT_DIR, 1))
		return false;
	if (*cookie < 2 && !fill(ctx, "..", up, DT_DIR, 2))
		return false;
	if (*cookie < 2)
		*cookie = 2;
	return true;
}

static bool fill_index(struct docker *d, struct dnode *node, struct ddir *dir, uint64_t *cookie,
		       bk_fill_fn fill, void *ctx)
{
	const struct index_entry *up = dir->ix ? &dir->ix->e[dir->at] : NULL;
	uint32_t n = up ? up->count : 0;

	for (uint64_t i = *cookie - 2; i < n; i++) {
		const struct index_entry *e = &dir->ix->e[up->first + i];
		const char *name = index_name(dir->ix, e);

		if (!fill(ctx, name, child_ino(d, node, name), IFTODT(e->mode), i + 3))
			return false;
	}
	if (*cookie < n + 2)
		*cookie = n + 2;
	return true;
}

static void fill_pending(struct docker *d, struct dnode *node, struct ddir *dir, uint64_t cookie,
			 bk_fill_fn fill, void *ctx)
{
	uint64_t before = 2 + (dir->ix ? dir->ix->e[dir->at].count : 0);

	for (uint64_t i = cookie - before; i < dir->n_pending; i++) {
		struct dnode *n = dir->pending[i];
		char name[NAME_MAX + 1];
		bool here;

		pthread_mutex_lock(&d->nodes.lock);
		here = !n->gone && n->parent == node;
		snprintf(name, sizeof(name), "%s", n->name);
		pthread_mutex_unlock(&d->nodes.lock);
		/* It may have reached the container before the listing was made. */
		if (!here || (dir->ix && index_child(dir->ix, dir->at, name, strlen(name))))
			continue;
		if (!fill(ctx, name, n->ino, DT_REG, before + i + 1))
			return;
	}
}

int docker_readdir(struct bk_req *req, struct bk_file *f, uint64_t cookie, bk_fill_fn fill,
		   void *ctx)
{
	struct docker *d = docker_of(f->node);
	struct dnode *node = dnode_of(f->node);
	struct ddir *dir = container_of(dfile_of(f), struct ddir, file);
	int r = gate_enter(req, &dir->gate);

	if (r < 0)
		return r;
	if (cookie == 0)
		r = relist(req, d, dir);
	if (r == 0 && fill_dots(d, node, &cookie, fill, ctx) &&
	    fill_index(d, node, dir, &cookie, fill, ctx))
		fill_pending(d, node, dir, cookie, fill, ctx);
	gate_leave(&dir->gate);
	return r;
}
