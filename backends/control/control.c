/*
 * The control tree's names and attributes. It knows nothing of what its files say or do.
 */
#include "control.h"

#include "metrics.h"
#include "tree.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

static bool may_all(const struct control *c, uid_t uid)
{
	if (uid == 0 || uid == c->conf.uid)
		return true;
	for (size_t i = 0; i < c->conf.n_users; i++)
		if (uid == c->conf.users[i])
			return true;
	return false;
}

int control_allowed(const struct control_node *n, const struct bk_req *req)
{
	struct control *c = control_of(n->node.bk);
	bool owner;

	if (may_all(c, req->uid) || (n->ops && n->ops->everyone))
		return 0;
	pthread_rwlock_rdlock(&c->lock);
	owner = n->owned && n->uid == req->uid;
	pthread_rwlock_unlock(&c->lock);
	return owner ? 0 : -EACCES;
}

/* The same for who wants to get to what is below it. */
static int may_pass(const struct control_node *n, const struct bk_req *req)
{
	return n->open ? 0 : control_allowed(n, req);
}

/* ---- Attributes ---- */

static mode_t file_mode(const struct control_file_ops *ops)
{
	mode_t mode = S_IFREG;

	if (ops->show || ops->live_read || ops->transact)
		mode |= 0400;
	if (ops->command || ops->store || (ops->transact && !ops->read_only))
		mode |= 0200;
	return mode;
}

static mode_t dir_mode(const struct control_node *n)
{
	mode_t mode = S_IFDIR | (n->dir_ops ? 0700 : 0500);

	/* The directories that are made there are removed by their owners only. */
	if (n->open)
		mode |= n->dir_ops ? S_ISVTX | 0033 : 0011;
	return mode;
}

/* What the kernel is to enforce: users who come from anywhere are checked by us alone. */
static mode_t open_to_all(mode_t mode)
{
	mode_t user = mode & 0700;

	return mode | user >> 3 | user >> 6;
}

static mode_t node_mode(const struct control_node *n)
{
	const struct control *c = control_of(n->node.bk);
	mode_t mode;

	if (n->kind == CONTROL_LINK)
		return S_IFLNK | 0777;
	mode = n->kind == CONTROL_FILE ? file_mode(n->ops) : dir_mode(n);
	return c->conf.n_users || (n->ops && n->ops->everyone) ? open_to_all(mode) : mode;
}

static uint64_t ino_of(const struct control_node *n)
{
	const struct bk *bk = n->node.bk;

	return bk_unique_ino(bk, bk->ino_dev, n->number);
}

static void fill_stat(const struct control_node *n, struct stat *ret_st)
{
	struct control *c = control_of(n->node.bk);

	*ret_st = (struct stat){
	    .st_ino = ino_of(n),
	    .st_mode = node_mode(n),
	    .st_nlink = n->kind == CONTROL_DIR ? 2 : 1,
	    .st_blksize = 4096,
	    .st_atim = c->made,
	    .st_mtim = c->made,
	    .st_ctim = c->made,
	};
	pthread_rwlock_rdlock(&c->lock);
	ret_st->st_uid = n->owned ? n->uid : c->conf.uid;
	ret_st->st_gid = n->owned ? n->gid : c->conf.gid;
	pthread_rwlock_unlock(&c->lock);
	if (n->kind == CONTROL_FILE)
		ret_st->st_size = control_size(n);
	else if (n->kind == CONTROL_LINK)
		ret_st->st_size = strlen(n->target);
}

static int control_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			   struct stat *ret_st)
{
	fill_stat(control_node_of(node), ret_st);
	return 0;
}

/* Times mean nothing here, but who opens with O_TRUNC, or touches a file, is not to fail. */
static int control_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			   const struct bk_setattr *attr, struct stat *ret_st)
{
	struct control_node *n = control_node_of(node);
	int r = control_allowed(n, req);
	unsigned harmless = BK_SET_SIZE | BK_SET_KILL_SUIDGID | BK_SET_ATIME | BK_SET_MTIME |
			    BK_SET_ATIME_NOW | BK_SET_MTIME_NOW;

	if (r == 0 && attr->mask & ~harmless)
		r = -EPERM;
	if (r == 0 && attr->mask & BK_SET_SIZE)
		r = control_truncate(req, n, file, attr->size);
	if (r == 0)
		fill_stat(n, ret_st);
	return r;
}

static int control_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	const struct control_node *n = control_node_of(node);
	size_t len;

	if (n->kind != CONTROL_LINK)
		return -EINVAL;
	len = strnlen(n->target, PATH_MAX);
	memcpy(buf, n->target, len);
	return len;
}

/* ---- Names ---- */

/* A tree's root in place of its node, whose reference this takes. */
static int enter_tree(struct bk_req *req, struct control_node *n, struct bk_node **ret_node,
		      struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *held = &n->node;
	struct bk_node *root;
	int r = n->tree_ops->enter ? n->tree_ops->enter(req, n->object) : 0;

	if (r < 0)
		return r;
	root = n->tree_ops->root(n->object);
	if (!root)
		return -ENOENT;
	r = bk_getattr(req, root, NULL, ret_st);
	if (r == 0)
		*ret_node = bk_node_ref(root);
	return r;
}

static int control_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
			  struct bk_node **ret_node, struct stat *ret_st)
{
	struct control_node *n;
	int r = may_pass(control_node_of(dir), req);

	if (r < 0)
		return r;
	n = control_child(control_node_of(dir), name);
	if (!n)
		return -ENOENT;
	r = may_pass(n, req);
	if (r < 0) {
		bk_node_unref(&n->node);
		return r;
	}
	if (n->kind == CONTROL_TREE)
		return enter_tree(req, n, ret_node, ret_st);
	fill_stat(n, ret_st);
	*ret_node = &n->node;
	return 0;
}

static int control_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
			 struct bk_node **ret_node, struct stat *ret_st)
{
	const struct control_node *n = control_node_of(dir);
	int r = may_pass(n, req);

	if (r == 0)
		r = n->dir_ops && n->dir_ops->mkdir ? n->dir_ops->mkdir(n->object, req, name)
						    : -EPERM;
	return r < 0 ? r : control_lookup(req, dir, name, ret_node, ret_st);
}

static int control_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	const struct control_node *n = control_node_of(dir);
	struct control_node *child;
	int r = may_pass(n, req);

	if (r < 0)
		return r;
	if (!n->dir_ops || !n->dir_ops->rmdir)
		return -EPERM;
	child = control_child(control_node_of(dir), name);
	if (!child)
		return -ENOENT;
	r = child->kind == CONTROL_DIR ? control_allowed(child, req) : -ENOTDIR;
	if (r == 0)
		r = n->dir_ops->rmdir(n->object, req, name);
	bk_node_unref(&child->node);
	return r;
}

/* Only a tree's name is another backend's to answer; that one is not the control tree's to change.
 */
static int control_through(struct bk_node *node, const char *name, struct bk_node **ret)
{
	struct control_node *child;

	*ret = node;
	if (!name || control_node_of(node)->kind != CONTROL_DIR)
		return 0;
	child = control_child(control_node_of(node), name);
	if (!child)
		return 0;
	if (child->kind == CONTROL_TREE)
		*ret = child->tree_ops->root(child->object);
	bk_node_unref(&child->node);
	return child->kind == CONTROL_TREE ? -EBUSY : 0;
}

static unsigned dirent_type(const struct control_node *n)
{
	static const unsigned char types[] = {
	    [CONTROL_DIR] = DT_DIR, [CONTROL_FILE] = DT_REG, [CONTROL_LINK] = DT_LNK};

	return types[n->kind];
}

/* A child's number is a stable cookie. Cookies 1 and 2 are the dots, so a child's is its number
 * and 2. */
static int control_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie,
			   bk_fill_fn fill, void *ctx)
{
	struct control *c = control_of(file->node->bk);
	const struct control_node *dir = control_node_of(file->node);
	int r = control_allowed(dir, req);

	if (r < 0)
		return r;
	if (cookie < 1 && !fill(ctx, ".", ino_of(dir), DT_DIR, 1))
		return 0;
	if (cookie < 2 && !fill(ctx, "..", 0, DT_DIR, 2))
		return 0;
	pthread_rwlock_rdlock(&c->lock);
	for (const struct control_node *n = dir->children; n; n = n->next)
		if (n->number + 2 > cookie && n->kind != CONTROL_TREE &&
		    !fill(ctx, n->name, ino_of(n), dirent_type(n), n->number + 2))
			break;
	pthread_rwlock_unlock(&c->lock);
	return 0;
}

static int control_enter(struct bk *bk, uid_t uid, const char *path, const char *name,
			 struct bk_use *ret, char **ret_dir, struct err *err)
{
	const struct control_conf *conf = &control_of(bk)->conf;

	if (path && conf->enter)
		return conf->enter(conf->ctx, uid, path, ret, ret_dir, err);
	return err_set(err, -ENOENT, "the control tree has no sandbox; name one with --sandbox");
}

/* ---- The backend ---- */

static struct bk_node *control_root(struct bk *bk)
{
	return bk_node_ref(&control_of(bk)->root->node);
}

static void control_destroy(struct bk *bk)
{
	struct control *c = control_of(bk);

	if (c->root) {
		control_clear(c->root);
		bk_node_unref(&c->root->node);
	}
	metrics_done(c);
	pthread_rwlock_destroy(&c->lock);
	bk_done(bk);
	free(c);
}

static const struct bk_ops control_ops = {
    .type = "control",
    .destroy = control_destroy,
    .root = control_root,
    .node_free = control_node_free,
    .lookup = control_lookup,
    .mkdir = control_mkdir,
    .rmdir = control_rmdir,
    .getattr = control_getattr,
    .setattr = control_setattr,
    .readlink = control_readlink,
    .open = control_open,
    .read = control_read,
    .write = control_write,
    .flush = control_flush,
    .wait = control_wait,
    .release = control_release,
    .readdir = control_readdir,
    .through = control_through,
    .enter = control_enter,
};

int control_new(const struct control_conf *conf, struct bk **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	pthread_rwlock_init(&c->lock, NULL);
	clock_gettime(CLOCK_REALTIME, &c->made);
	c->conf = *conf;
	r = bk_init(&c->bk, &control_ops, "/.aib");
	if (r == 0 && !(c->root = control_node_new(c, "", CONTROL_DIR)))
		r = -ENOMEM;
	if (r < 0) {
		control_destroy(&c->bk);
		return r;
	}
	c->root->number = c->bk.root_ino = ++c->last_number;
	c->root->open = conf->open;
	c->bk.entry_ttl_ms = c->bk.attr_ttl_ms = c->bk.negative_ttl_ms = 0;
	c->bk.no_host_exec = true;
	c->bk.direct_io = true;
	*ret = &c->bk;
	return 0;
}
