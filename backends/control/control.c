/*
 * The control tree's names and attributes. It knows nothing of what its files say or do.
 */
#include "control.h"

#include "tree.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

int control_allowed(const struct control *c, const struct bk_req *req)
{
	if (req->uid == 0 || req->uid == c->conf.uid)
		return 0;
	for (size_t i = 0; i < c->conf.n_users; i++)
		if (req->uid == c->conf.users[i])
			return 0;
	return -EACCES;
}

/* ---- Building ---- */

static void node_free(struct control_node *n)
{
	free(n->name);
	free(n->target);
	free(n);
}

static void control_node_free(struct bk_node *node)
{
	struct control_node *n = control_node_of(node);

	if (n->ops && n->ops->object_free)
		n->ops->object_free(n->object);
	node_free(n);
}

static struct control_node *node_new(struct control *c, const char *name, enum control_kind kind)
{
	struct control_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	bk_node_init(&n->node, &c->bk);
	n->kind = kind;
	n->name = strdup(name);
	if (!n->name) {
		node_free(n);
		return NULL;
	}
	return n;
}

static void attach(struct control *c, struct control_dir *dir, struct control_node *n)
{
	struct control_node *parent = dir ? (struct control_node *)dir : c->root;
	struct control_node **end;

	pthread_rwlock_wrlock(&c->lock);
	n->number = ++c->last_number;
	for (end = &parent->children; *end; end = &(*end)->next)
		;
	*end = n;
	pthread_rwlock_unlock(&c->lock);
}

int control_add_dir(struct bk *control, struct control_dir *parent, const char *name,
		    struct control_dir **ret)
{
	struct control *c = control_of(control);
	struct control_node *n = node_new(c, name, CONTROL_DIR);

	if (!n)
		return -ENOMEM;
	attach(c, parent, n);
	*ret = (struct control_dir *)n;
	return 0;
}

int control_add_file(struct bk *control, struct control_dir *parent, const char *name,
		     const struct control_file_ops *ops, void *object)
{
	struct control *c = control_of(control);
	struct control_node *n = node_new(c, name, CONTROL_FILE);

	if (!n)
		return -ENOMEM;
	n->ops = ops;
	n->object = object;
	attach(c, parent, n);
	return 0;
}

int control_add_link(struct bk *control, struct control_dir *parent, const char *name,
		     const char *target)
{
	struct control *c = control_of(control);
	struct control_node *n = node_new(c, name, CONTROL_LINK);

	if (!n)
		return -ENOMEM;
	n->target = strdup(target);
	if (!n->target) {
		node_free(n);
		return -ENOMEM;
	}
	attach(c, parent, n);
	return 0;
}

/* ---- Attributes ---- */

static mode_t file_mode(const struct control_file_ops *ops)
{
	mode_t mode = S_IFREG;

	if (ops->show || ops->live_read || ops->transact)
		mode |= 0400;
	if (ops->command || ops->transact)
		mode |= 0200;
	return mode;
}

static mode_t node_mode(const struct control_node *n)
{
	switch (n->kind) {
	case CONTROL_DIR:
		return S_IFDIR | 0500;
	case CONTROL_LINK:
		return S_IFLNK | 0777;
	default:
		return file_mode(n->ops);
	}
}

/* Control users come from anywhere: for them the checks are ours alone, on every operation. */
static mode_t open_to_all(mode_t mode)
{
	mode_t user = mode & 0700;

	return mode | user >> 3 | user >> 6;
}

static void fill_stat(const struct control_node *n, struct stat *ret_st)
{
	const struct control *c = control_of(n->node.bk);
	mode_t mode = node_mode(n);

	*ret_st = (struct stat){
	    .st_ino = n->number,
	    .st_mode = c->conf.n_users ? open_to_all(mode) : mode,
	    .st_nlink = n->kind == CONTROL_DIR ? 2 : 1,
	    .st_uid = c->conf.uid,
	    .st_gid = c->conf.gid,
	    .st_blksize = 4096,
	    .st_atim = c->made,
	    .st_mtim = c->made,
	    .st_ctim = c->made,
	};
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

/* Opening with O_TRUNC, as a shell's `>` does, may arrive as a truncation; it means nothing here.
 */
static int control_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			   const struct bk_setattr *attr, struct stat *ret_st)
{
	int r = control_allowed(control_of(node->bk), req);
	unsigned harmless = BK_SET_SIZE | BK_SET_KILL_SUIDGID | BK_SET_ATIME | BK_SET_MTIME |
			    BK_SET_ATIME_NOW | BK_SET_MTIME_NOW;

	if (r < 0)
		return r;
	if (attr->mask & ~harmless)
		return -EPERM;
	fill_stat(control_node_of(node), ret_st);
	return 0;
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

static int control_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
			  struct bk_node **ret_node, struct stat *ret_st)
{
	struct control *c = control_of(dir->bk);
	struct control_node *n;
	int r = control_allowed(c, req);

	if (r < 0)
		return r;
	pthread_rwlock_rdlock(&c->lock);
	for (n = control_node_of(dir)->children; n && strcmp(n->name, name) != 0; n = n->next)
		;
	if (n)
		bk_node_ref(&n->node);
	pthread_rwlock_unlock(&c->lock);
	if (!n)
		return -ENOENT;
	fill_stat(n, ret_st);
	*ret_node = &n->node;
	return 0;
}

static unsigned dirent_type(const struct control_node *n)
{
	static const unsigned char types[] = {
	    [CONTROL_DIR] = DT_DIR, [CONTROL_FILE] = DT_REG, [CONTROL_LINK] = DT_LNK};

	return types[n->kind];
}

/* Numbers only grow and children are in the order of their numbers: a number is a stable cookie.
 * Cookies 1 and 2 are the dots, so a child's is its number and 2. */
static int control_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie,
			   bk_fill_fn fill, void *ctx)
{
	struct control *c = control_of(file->node->bk);
	const struct control_node *dir = control_node_of(file->node);
	int r = control_allowed(c, req);

	if (r < 0)
		return r;
	if (cookie < 1 && !fill(ctx, ".", dir->number, DT_DIR, 1))
		return 0;
	if (cookie < 2 && !fill(ctx, "..", 0, DT_DIR, 2))
		return 0;
	pthread_rwlock_rdlock(&c->lock);
	for (const struct control_node *n = dir->children; n; n = n->next)
		if (n->number + 2 > cookie &&
		    !fill(ctx, n->name, n->number, dirent_type(n), n->number + 2))
			break;
	pthread_rwlock_unlock(&c->lock);
	return 0;
}

/* ---- The backend ---- */

static struct bk_node *control_root(struct bk *bk)
{
	return bk_node_ref(&control_of(bk)->root->node);
}

static void unref_below(struct control_node *n)
{
	for (struct control_node *c = n->children, *next; c; c = next) {
		next = c->next;
		unref_below(c);
	}
	bk_node_unref(&n->node);
}

static void control_destroy(struct bk *bk)
{
	struct control *c = control_of(bk);

	if (c->root)
		unref_below(c->root);
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
    .getattr = control_getattr,
    .setattr = control_setattr,
    .readlink = control_readlink,
    .open = control_open,
    .read = control_read,
    .write = control_write,
    .wait = control_wait,
    .release = control_release,
    .readdir = control_readdir,
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
	if (r == 0 && !(c->root = node_new(c, "", CONTROL_DIR)))
		r = -ENOMEM;
	if (r < 0) {
		control_destroy(&c->bk);
		return r;
	}
	c->root->number = c->bk.root_ino = ++c->last_number;
	c->bk.entry_ttl_ms = c->bk.attr_ttl_ms = c->bk.negative_ttl_ms = 0;
	c->bk.no_host_exec = true;
	c->bk.direct_io = true;
	*ret = &c->bk;
	return 0;
}
