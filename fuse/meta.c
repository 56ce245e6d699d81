/*
 * Names and attributes: for each request its run function (one backend call, one reply) and its
 * handler (decode).
 */
#include "call.h"
#include "reply.h"

#include <linux/limits.h>

/* ---- Looking ---- */

static void run_lookup(struct call *c)
{
	struct bk_node *node = NULL;
	struct stat st;
	int r = bk_lookup(&c->req, c->node, c->name, &node, &st);

	if (r == -ENOENT)
		reply_negative(c, r);
	else
		reply_entry(c, r, node, &st);
}

void meta_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = {.name = name};

	if (call_begin(&c, req, parent))
		call_go(&c, run_lookup);
}

static void forget(struct fs *fs, fuse_ino_t ino, uint64_t n)
{
	struct inode_id gone;

	if (inode_forget(&fs->inodes, ino, n, &gone))
		backing_forget(&fs->backings, &gone);
}

void meta_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget(fuse_req_userdata(req), ino, n);
	fuse_reply_none(req);
}

void meta_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct fs *fs = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++)
		forget(fs, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static struct bk_file *open_file(const struct call *c)
{
	return c->handle ? c->handle->file : NULL;
}

static void run_getattr(struct call *c)
{
	struct stat st;
	int r = bk_getattr(&c->req, c->node, open_file(c), &st);

	reply_attr(c, r, &st);
}

/* The node, and the open file where the kernel names one. */
static bool begin_maybe_file(struct call *c, fuse_req_t req, fuse_ino_t ino,
			     const struct fuse_file_info *fi)
{
	return fi && fi->fh ? call_begin_file(c, req, ino, fi) : call_begin(c, req, ino);
}

void meta_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = {.seeks = fi && fi->fh};

	if (begin_maybe_file(&c, req, ino, fi))
		call_go(&c, run_getattr);
}

#ifdef HAVE_STATX
static void run_statx(struct call *c)
{
	struct timespec born;
	struct stat st;
	int r = bk_getattr(&c->req, c->node, open_file(c), &st);
	bool known = r == 0 && bk_born(&c->req, c->node, open_file(c), &born) == 0;

	reply_statx(c, r, &st, known ? &born : NULL);
}

void meta_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct call c = {.flags = flags};

	if (begin_maybe_file(&c, req, ino, fi))
		call_go(&c, run_statx);
}
#endif

static void run_readlink(struct call *c)
{
	char target[PATH_MAX + 1];

	reply_link(c, bk_readlink(&c->req, c->node, target), target);
}

void meta_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct call c = {0};

	if (call_begin(&c, req, ino))
		call_go(&c, run_readlink);
}

static void run_statfs(struct call *c)
{
	struct statvfs st;

	reply_statfs(c, bk_statfs(&c->req, c->node, &st), &st);
}

void meta_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct call c = {0};

	if (call_begin(&c, req, ino))
		call_go(&c, run_statfs);
}

/* ---- Attributes ---- */

static const struct {
	int fuse;
	unsigned bk;
} set_flags[] = {
    {FUSE_SET_ATTR_MODE, BK_SET_MODE},
    {FUSE_SET_ATTR_UID, BK_SET_UID},
    {FUSE_SET_ATTR_GID, BK_SET_GID},
    {FUSE_SET_ATTR_SIZE, BK_SET_SIZE},
    {FUSE_SET_ATTR_ATIME, BK_SET_ATIME},
    {FUSE_SET_ATTR_MTIME, BK_SET_MTIME},
    {FUSE_SET_ATTR_ATIME_NOW, BK_SET_ATIME_NOW},
    {FUSE_SET_ATTR_MTIME_NOW, BK_SET_MTIME_NOW},
    {FUSE_SET_ATTR_CTIME, BK_SET_CTIME},
    {FUSE_SET_ATTR_KILL_SUID, BK_SET_KILL_SUIDGID},
};

/* Whether the kernel may write to a file by itself depends on its mode, when it is opened. */
static void mode_changes(struct call *c)
{
	struct inode_id inode;

	if (inode_told(&c->fs->inodes, c->node, &inode) == 0)
		backing_forget(&c->fs->backings, &inode);
}

static void run_setattr(struct call *c)
{
	struct stat st;
	int r = bk_setattr(&c->req, c->node, open_file(c), &c->set, &st);

	if (r == 0 && c->set.mask & BK_SET_MODE)
		mode_changes(c);
	/* Another process holds what is to be cut. */
	if (r != -EAGAIN || !call_defer(c))
		reply_attr(c, r, &st);
}

void meta_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		  struct fuse_file_info *fi)
{
	struct call c = {.set = {.mode = st->st_mode & 07777,
				 .uid = st->st_uid,
				 .gid = st->st_gid,
				 .size = st->st_size,
				 .atime = st->st_atim,
				 .mtime = st->st_mtim,
				 .ctime = st->st_ctim}};

	for (size_t i = 0; i < ARRAY_SIZE(set_flags); i++)
		if (to_set & set_flags[i].fuse)
			c.set.mask |= set_flags[i].bk;
	if (begin_maybe_file(&c, req, ino, fi))
		call_go(&c, run_setattr);
}

/* ---- Making and removing ---- */

static void run_mknod(struct call *c)
{
	struct bk_node *node = NULL;
	struct stat st;
	int r = bk_mknod(&c->req, c->node, c->name, c->mode, c->rdev, &node, &st);

	reply_entry(c, r, node, &st);
}

void meta_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct call c = {.name = name, .mode = mode, .rdev = rdev};

	if (call_begin(&c, req, parent))
		call_go(&c, run_mknod);
}

static void run_mkdir(struct call *c)
{
	struct bk_node *node = NULL;
	struct stat st;
	int r = bk_mkdir(&c->req, c->node, c->name, c->mode, &node, &st);

	reply_entry(c, r, node, &st);
}

void meta_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct call c = {.name = name, .mode = mode};

	if (call_begin(&c, req, parent))
		call_go(&c, run_mkdir);
}

static void run_symlink(struct call *c)
{
	struct bk_node *node = NULL;
	struct stat st;
	int r = bk_symlink(&c->req, c->node, c->name, c->name2, &node, &st);

	reply_entry(c, r, node, &st);
}

void meta_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct call c = {.name = name, .name2 = target};

	if (call_begin(&c, req, parent))
		call_go(&c, run_symlink);
}

static void run_link(struct call *c)
{
	struct bk_node *node = NULL;
	struct stat st;
	int r = bk_link(&c->req, c->node2, c->node, c->name, &node, &st);

	reply_entry(c, r, node, &st);
}

void meta_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct call c = {.name = name};

	if (call_begin(&c, req, parent) && call_also(&c, ino))
		call_go(&c, run_link);
}

static void run_unlink(struct call *c)
{
	reply_err(c, bk_unlink(&c->req, c->node, c->name));
}

void meta_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = {.name = name};

	if (call_begin(&c, req, parent))
		call_go(&c, run_unlink);
}

static void run_rmdir(struct call *c)
{
	reply_err(c, bk_rmdir(&c->req, c->node, c->name));
}

void meta_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = {.name = name};

	if (call_begin(&c, req, parent))
		call_go(&c, run_rmdir);
}

static void run_rename(struct call *c)
{
	int r = bk_rename(&c->req, c->node, c->name, c->node2, c->name2, c->flags);

	reply_err(c, r);
}

void meta_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		 const char *new_name, unsigned flags)
{
	struct call c = {.name = name, .name2 = new_name, .flags = flags};

	if (call_begin(&c, req, parent) && call_also(&c, new_parent))
		call_go(&c, run_rename);
}
