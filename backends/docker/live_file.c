/* Open files and directories over the guest. */
#include "live.h"

#include <fcntl.h>
#include <string.h>

/* Flags of an open that belong to its moment. */
#define OPEN_ONCE (O_CREAT | O_EXCL | O_TRUNC)

static struct dfile *file_new(struct bk_node *node, int flags)
{
	struct dfile *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->base.node = bk_node_ref(node);
	f->base.flags = flags;
	return f;
}

static void file_free(struct dfile *f)
{
	bk_node_unref(f->base.node);
	free(f);
}

/* A descriptor comes of local file systems only (devices.h), which tell all at write(2) and
 * fsync(2). */
static void file_give(struct dfile *f, struct channel *c, struct bk_file *inner)
{
	f->base.no_flush = bk_backing_fd(inner) >= 0;
	f->channel = channel_ref(c);
	atomic_store(&f->inner, inner);
}

/* Below /proc and /sys sizes say nothing. */
static bool is_kernel_made(struct docker *d, struct dnode *node)
{
	char path[PATH_MAX];

	return node_path(d, node, path) == 0 &&
	       (path_below(path, "/proc") || path_below(path, "/sys"));
}

int live_open(struct bk_req *req, struct channel *c, struct bk_node *node, int flags,
	      struct bk_file **ret)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	unsigned era = atomic_load(&node->era);
	struct docker *d = docker_of(node);
	struct bk_file *inner;
	struct dfile *f;
	int r;

	if (dnode_of(node)->type != S_IFREG)
		return S_ISDIR(dnode_of(node)->type) ? -EISDIR : -ENXIO;
	r = live_resolve(req, d, c, dnode_of(node), &remote);
	if (r == 0 && atomic_load(&node->era) != era) /* to be looked up again first */
		r = -ESTALE;
	if (r < 0)
		return r;
	f = file_new(node, flags);
	if (!f)
		return -ENOMEM;
	r = bk_open(req, remote, flags, &inner);
	if (r < 0) {
		file_free(f);
		return r;
	}
	file_give(f, c, inner);
	f->base.direct_io = is_kernel_made(d, dnode_of(node));
	*ret = &f->base;
	return 0;
}

int live_create(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name,
		mode_t mode, int flags, struct bk_node **ret_node, struct bk_file **ret_file,
		struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *in = NULL;
	struct docker *d = docker_of(dir);
	uint64_t gen = generation(d);
	struct bk_node *remote, *node;
	struct bk_file *inner;
	struct dfile *f;
	int r = live_resolve(req, d, c, dnode_of(dir), &in);

	if (r == 0)
		r = bk_create(req, in, name, mode, flags, &remote, &inner, ret_st);
	if (r < 0)
		return r;
	r = live_adopt(d, c, dnode_of(dir), name, remote, ret_st, &node);
	f = r == 0 ? file_new(node, flags) : NULL;
	if (!f) {
		bk_release(inner);
		bk_node_unref(r == 0 ? node : NULL);
		return r < 0 ? r : -ENOMEM;
	}
	file_give(f, c, inner);
	if (flags & O_EXCL)
		live_know_no_capability(d, dnode_of(node), gen);
	*ret_node = node;
	*ret_file = &f->base;
	return 0;
}

int live_opendir(struct bk_req *req, struct channel *c, struct bk_node *node, struct bk_file **ret)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	struct docker *d = docker_of(node);
	struct bk_file *inner;
	struct dfile *f;
	int r = live_resolve(req, d, c, dnode_of(node), &remote);

	if (r < 0)
		return r;
	f = file_new(node, 0);
	if (!f)
		return -ENOMEM;
	r = bk_opendir(req, remote, &inner);
	if (r < 0) {
		file_free(f);
		return r;
	}
	file_give(f, c, inner);
	*ret = &f->base;
	return 0;
}

void live_release(struct bk_file *file)
{
	struct dfile *f = dfile_of(file);

	bk_release(f->inner);
	channel_unref(f->channel);
	file_free(f);
}

/* ---- From the archives ---- */

static int upgrade_gated(struct bk_req *req, struct channel *c, struct bk_file *file)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	struct docker *d = docker_of(file->node);
	struct dnode *node = dnode_of(file->node);
	struct bk_file *inner;
	int r;

	if (file_is_live(file) || node_is_gone(d, node) || content_local(node))
		return 0;
	r = live_resolve(req, d, c, node, &remote);
	if (r == 0)
		r = bk_open(req, remote, file->flags & ~OPEN_ONCE, &inner);
	if (r < 0)
		return r == -ESTALE || r == -ENOENT ? 0 : r;
	file_give(dfile_of(file), c, inner);
	content_unclaim(d, node);
	return 0;
}

int live_upgrade(struct bk_req *req, struct channel *c, struct bk_file *file)
{
	struct dnode *node = dnode_of(file->node);
	int r;

	if (node->type != S_IFREG || file_is_live(file))
		return 0;
	r = gate_enter(req, &node->gate);
	if (r < 0)
		return r;
	r = upgrade_gated(req, c, file);
	gate_leave(&node->gate);
	return r;
}

/* ---- Listing ---- */

struct listing {
	struct docker *d;
	struct dnode *dir;
	bk_fill_fn fill;
	void *ctx;
};

/* The number that stat tells: a node may have had it before it was known over this connection. */
static uint64_t number_of(const struct listing *l, const char *name, uint64_t remote)
{
	struct dnode *n;
	uint64_t ino = remote;

	pthread_mutex_lock(&l->d->nodes.lock);
	if (strcmp(name, ".") == 0)
		n = l->dir;
	else if (strcmp(name, "..") == 0)
		n = l->dir->parent ? l->dir->parent : l->dir;
	else
		n = node_find_locked(l->dir, name);
	if (n)
		ino = n->ino;
	pthread_mutex_unlock(&l->d->nodes.lock);
	return ino;
}

static bool fill(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	const struct listing *l = ctx;

	return l->fill(l->ctx, name, number_of(l, name, ino), type, next);
}

int live_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill_fn,
		 void *ctx)
{
	struct listing l = {docker_of(file->node), dnode_of(file->node), fill_fn, ctx};

	return bk_readdir(req, dfile_of(file)->inner, cookie, fill, &l);
}
