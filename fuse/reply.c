/* See reply.h. */
#include "reply.h"

#include "base/log.h"

static double seconds(uint32_t ms)
{
	return ms / 1000.0;
}

void reply_raw(fuse_req_t req, int r)
{
	(void)fuse_reply_err(req, -r);
}

void reply_err(struct call *c, int r)
{
	if (call_claim(c))
		reply_raw(c->fuse, r);
}

void reply_none(struct call *c)
{
	fuse_reply_none(c->fuse);
}

/* ---- Nodes ---- */

int reply_make_entry(struct fs *fs, struct bk_node *node, const struct stat *st,
		     struct fuse_entry_param *ret)
{
	const struct bk *bk = node->bk;
	struct inode_id id;
	int r = inode_add(&fs->inodes, node, &id);

	if (r < 0)
		return r;
	*ret = (struct fuse_entry_param){
	    .ino = id.number,
	    .generation = id.generation,
	    .attr = *st,
	    .attr_timeout = seconds(bk->attr_ttl_ms),
	    .entry_timeout = seconds(bk->entry_ttl_ms),
	};
	return 0;
}

void reply_entry(struct call *c, int r, struct bk_node *node, const struct stat *st)
{
	struct fuse_entry_param e;

	if (r == 0)
		r = reply_make_entry(c->fs, node, st, &e);
	if (r < 0)
		reply_err(c, r);
	else if (!call_claim(c) || fuse_reply_entry(c->fuse, &e) < 0)
		inode_forget(&c->fs->inodes, e.ino, 1);
}

void reply_negative(struct call *c, int r)
{
	struct fuse_entry_param e = {.entry_timeout = seconds(c->bk->negative_ttl_ms)};

	if (c->bk->negative_ttl_ms == 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_entry(c->fuse, &e);
}

void reply_attr(struct call *c, int r, const struct bk_node *node, const struct stat *st)
{
	if (r < 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_attr(c->fuse, st, seconds(node->bk->attr_ttl_ms));
}

/* ---- Open files ---- */

static int make_handle(struct call *c, struct bk_file *file, struct fuse_file_info *fi,
		       struct handle **ret)
{
	const struct bk *bk = file->node->bk;
	int r = handle_new(&c->fs->handles, file, ret);

	if (r < 0) {
		bk_release(file);
		return r;
	}
	*fi = (struct fuse_file_info){
	    .flags = c->flags,
	    .fh = (uintptr_t)*ret,
	    .direct_io = bk->direct_io,
	    .noflush = !bk->ops->flush,
	};
#ifdef HAVE_PARALLEL_DIRECT_WRITES
	fi->parallel_direct_writes = bk->direct_io;
#endif
	return 0;
}

void reply_open(struct call *c, int r, struct bk_file *file)
{
	struct fuse_file_info fi;
	struct handle *h;

	if (r == 0)
		r = make_handle(c, file, &fi, &h);
	if (r < 0)
		reply_err(c, r);
	else if (!call_claim(c) || fuse_reply_open(c->fuse, &fi) < 0)
		handle_unref(h);
}

void reply_create(struct call *c, int r, struct bk_node *node, struct bk_file *file,
		  const struct stat *st)
{
	struct fuse_entry_param e;
	struct fuse_file_info fi;
	struct handle *h = NULL;

	if (r == 0) {
		r = make_handle(c, file, &fi, &h);
		if (r < 0)
			bk_node_unref(node);
	}
	if (r == 0)
		r = reply_make_entry(c->fs, node, st, &e);
	if (r < 0) {
		handle_unref(h);
		reply_err(c, r);
	} else if (!call_claim(c) || fuse_reply_create(c->fuse, &e, &fi) < 0) {
		handle_unref(h);
		inode_forget(&c->fs->inodes, e.ino, 1);
	}
}

/* ---- Values ---- */

void reply_data(struct call *c, ssize_t r, const void *data)
{
	if (r < 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_buf(c->fuse, data, r);
}

void reply_count(struct call *c, ssize_t r)
{
	if (r < 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_write(c->fuse, r);
}

void reply_xattr(struct call *c, ssize_t r, const void *data, size_t size)
{
	if (r < 0)
		reply_err(c, r);
	else if (size > 0)
		reply_data(c, r, data);
	else if (call_claim(c))
		(void)fuse_reply_xattr(c->fuse, r);
}

void reply_off(struct call *c, off_t r)
{
	if (r < 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_lseek(c->fuse, r);
}

void reply_link(struct call *c, int r, char *target)
{
	if (r < 0) {
		reply_err(c, r);
	} else if (call_claim(c)) {
		target[r] = '\0';
		(void)fuse_reply_readlink(c->fuse, target);
	}
}

void reply_statfs(struct call *c, int r, const struct statvfs *st)
{
	if (r < 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_statfs(c->fuse, st);
}
