/*
 * Its life, and its table of operations. What the other backend decides when it is prepared
 * (whether it may wait, its device, how long names hold) is the same here.
 */
#include "ruled.h"

#include "base/log.h"

#include <assert.h>

static const struct bk_ops ruled_ops, ruled_flushing_ops;

static int make_root(struct ruled *g, struct bk_req *req)
{
	_cleanup_verdict_ struct verdict v = {0};
	struct bk_node *inner = bk_root(g->inner), *node;
	struct stat st = {.st_mode = S_IFDIR};
	int r = inner ? verdict_of(g, NULL, NULL, &v) : -ENOMEM;

	if (r < 0) {
		bk_node_unref(inner);
		return r;
	}
	r = ruled_node(g, inner, &st, &v, &node);
	if (r == 0)
		g->root = ruled_node_of(node);
	return r;
}

static int ruled_prepare(struct bk_req *req, struct bk *bk, void (*progress)(void *, const char *),
			 void *ctx, struct err *err)
{
	struct ruled *g = container_of(bk, struct ruled, bk);
	struct bk *in = g->inner;
	int r = in->ops->prepare ? in->ops->prepare(req, in, progress, ctx, err) : 0;

	if (r < 0)
		return r;
	bk->ops = in->ops->flush ? &ruled_flushing_ops : &ruled_ops;
	bk->blocking = in->blocking;
	bk->direct_io = in->direct_io;
	bk->entry_ttl_ms = atomic_load(&in->entry_ttl_ms);
	bk->attr_ttl_ms = atomic_load(&in->attr_ttl_ms);
	bk->negative_ttl_ms = atomic_load(&in->negative_ttl_ms);
	bk->ino_dev = in->ino_dev;
	bk->root_ino = in->root_ino;
	return make_root(g, req);
}

static void ruled_destroy(struct bk *bk)
{
	struct ruled *g = container_of(bk, struct ruled, bk);

	if (g->root)
		bk_node_unref(&g->root->node);
	if (g->nodes)
		log_error("route %s: %u files still in use at the end", bk->route,
			  HASH_COUNT(g->nodes));
	bk_free(g->inner);
	rules_free(g->rules);
	pthread_mutex_destroy(&g->moving);
	pthread_mutex_destroy(&g->lock);
	bk_done(bk);
	free(g);
}

static struct bk_node *ruled_root(struct bk *bk)
{
	return bk_node_ref(&container_of(bk, struct ruled, bk)->root->node);
}

static const char *ruled_host_dir(struct bk *bk)
{
	struct bk *in = container_of(bk, struct ruled, bk)->inner;

	return in->ops->host_dir ? in->ops->host_dir(in) : NULL;
}

#define RULED_OPS                                                                                  \
	.type = "rules", .prepare = ruled_prepare, .destroy = ruled_destroy, .root = ruled_root,   \
	.node_free = ruled_node_free, .lookup = ruled_lookup, .mknod = ruled_mknod,                \
	.mkdir = ruled_mkdir, .symlink = ruled_symlink, .link = ruled_link,                        \
	.unlink = ruled_unlink, .rmdir = ruled_rmdir, .rename = ruled_rename,                      \
	.getattr = ruled_getattr, .setattr = ruled_setattr, .readlink = ruled_readlink,            \
	.statfs = ruled_statfs, .getxattr = ruled_getxattr, .listxattr = ruled_listxattr,          \
	.setxattr = ruled_setxattr, .removexattr = ruled_removexattr, .open = ruled_open,          \
	.peek = ruled_peek, .create = ruled_create, .read = ruled_read, .write = ruled_write,      \
	.fsync = ruled_fsync, .release = ruled_release, .lseek = ruled_lseek,                      \
	.fallocate = ruled_fallocate, .backing_fd = ruled_backing_fd, .opendir = ruled_opendir,    \
	.readdir = ruled_readdir, .fsyncdir = ruled_fsyncdir, .host_dir = ruled_host_dir,          \
	.rule = ruled_rule

static const struct bk_ops ruled_ops = {RULED_OPS};
/* Where there is no flush, closing a file costs no request. */
static const struct bk_ops ruled_flushing_ops = {RULED_OPS, .flush = ruled_flush};

int rules_wrap(struct bk *bk, struct rules *rules, struct bk **ret)
{
	struct ruled *g = calloc(1, sizeof(*g));
	int r = g ? bk_init(&g->bk, &ruled_ops, bk->route) : -ENOMEM;

	assert(!bk->ops->sandbox && !bk->ops->enter && !bk->ops->through);
	if (r < 0) {
		free(g);
		bk_free(bk);
		rules_free(rules);
		return r;
	}
	pthread_mutex_init(&g->moving, NULL);
	pthread_mutex_init(&g->lock, NULL);
	g->inner = bk;
	g->rules = rules;
	g->bk.readonly = bk->readonly;
	g->bk.no_host_exec = bk->no_host_exec;
	*ret = &g->bk;
	return 0;
}
