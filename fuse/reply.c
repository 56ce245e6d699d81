/* See reply.h. */
#include "reply.h"

#include "base/log.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

static double seconds(uint32_t ms)
{
	return ms / 1000.0;
}

/* How long the kernel may remember of BK what BK lets it remember for TTL_MS. */
static uint32_t holds_ms(const struct call *c, const struct bk *bk, uint32_t ttl_ms)
{
	if (bk->recall && !c->fs->recall.epoch)
		return 0;
	return c->recalls == atomic_load(&c->fs->recall.count) ? ttl_ms : 0;
}

/* Where attributes change untold they are asked for each time. stat(2) names no open file; the
 * kernel itself does, for the size alone, when somebody seeks to its end, which data bases do all
 * the time. A millisecond is a tick of the kernel's, and times of files are no finer. */
static uint32_t attr_ttl_ms(const struct call *c, struct bk_node *node)
{
	uint32_t ms = node->bk->attr_ttl_ms;

	if (!atomic_load(&node->untold) || ms == 0)
		return ms;
	return c->seeks ? 1 : 0;
}

/* The same for attributes. The directory is noted first, so that a recall which this answer misses
 * does not miss the directory. */
static uint32_t attr_holds_ms(const struct call *c, struct bk_node *node, uint64_t number,
			      const struct stat *st)
{
	const struct bk *bk = bk_serving(node, NULL);
	uint32_t ttl_ms = attr_ttl_ms(c, node);

	if (bk->recall && S_ISDIR(st->st_mode))
		recall_told(&c->fs->recall, bk, number, holds_ms(c, bk, ttl_ms));
	return holds_ms(c, bk, ttl_ms);
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

int reply_make_entry(struct call *c, struct bk_node *node, const struct stat *st,
		     struct fuse_entry_param *ret)
{
	const struct bk *bk = node->bk;
	struct inode_id id;
	int r = inode_add(&c->fs->inodes, node, &id);

	if (r < 0)
		return r;
	*ret = (struct fuse_entry_param){
	    .ino = id.number,
	    .generation = id.generation,
	    .attr = *st,
	    .attr_timeout = seconds(attr_holds_ms(c, node, id.number, st)),
	    .entry_timeout = seconds(holds_ms(c, bk, bk->entry_ttl_ms)),
	};
	return 0;
}

void reply_entry(struct call *c, int r, struct bk_node *node, const struct stat *st)
{
	struct fuse_entry_param e;

	if (r == 0)
		r = reply_make_entry(c, node, st, &e);
	if (r < 0)
		reply_err(c, r);
	else if (!call_claim(c) || fuse_reply_entry(c->fuse, &e) < 0)
		inode_forget(&c->fs->inodes, e.ino, 1, NULL);
}

void reply_negative(struct call *c, int r)
{
	uint32_t ms = holds_ms(c, c->bk, c->bk->negative_ttl_ms);
	struct fuse_entry_param e = {.entry_timeout = seconds(ms)};

	if (ms == 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_entry(c->fuse, &e);
}

void reply_attr(struct call *c, int r, const struct stat *st)
{
	uint32_t ms = r < 0 ? 0 : attr_holds_ms(c, c->node, c->inode.number, st);

	if (r < 0)
		reply_err(c, r);
	else if (call_claim(c))
		(void)fuse_reply_attr(c->fuse, st, seconds(ms));
}

#ifdef HAVE_STATX
static struct statx_timestamp stamp(struct timespec t)
{
	return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = t.tv_nsec};
}

void reply_statx(struct call *c, int r, const struct stat *st, const struct timespec *born)
{
	uint32_t ms = r < 0 ? 0 : attr_holds_ms(c, c->node, c->inode.number, st);
	struct statx x;

	if (r < 0) {
		reply_err(c, r);
		return;
	}
	x = (struct statx){
	    .stx_mask = STATX_BASIC_STATS | (born ? STATX_BTIME : 0),
	    .stx_blksize = st->st_blksize,
	    .stx_nlink = st->st_nlink,
	    .stx_uid = st->st_uid,
	    .stx_gid = st->st_gid,
	    .stx_mode = st->st_mode,
	    .stx_ino = st->st_ino,
	    .stx_size = st->st_size,
	    .stx_blocks = st->st_blocks,
	    .stx_atime = stamp(st->st_atim),
	    .stx_btime = stamp(born ? *born : (struct timespec){.tv_sec = 0}),
	    .stx_ctime = stamp(st->st_ctim),
	    .stx_mtime = stamp(st->st_mtim),
	    .stx_rdev_major = major(st->st_rdev),
	    .stx_rdev_minor = minor(st->st_rdev),
	};
	if (call_claim(c))
		(void)fuse_reply_statx(c->fuse, 0, &x, seconds(ms));
}
#endif

/* ---- Open files ---- */

static bool is_direct(const struct bk_file *file)
{
	return file->node->bk->direct_io || file->direct_io;
}

static void fill_open(const struct call *c, struct handle *h, struct fuse_file_info *ret)
{
	const struct bk_file *file = h->file;

	*ret = (struct fuse_file_info){
	    .flags = c->flags,
	    .fh = (uintptr_t)h,
	    .direct_io = is_direct(file),
	    .keep_cache = file->node->bk->unshared || c->use_listing,
	    .cache_readdir = file->node->bk->unshared || c->keep_listing,
	    .noflush = !file->node->bk->ops->flush || (file->no_flush && h->backing),
	};
#ifdef HAVE_PARALLEL_DIRECT_WRITES
	ret->parallel_direct_writes = file->node->bk->direct_io;
#endif
#ifdef HAVE_PASSTHROUGH
	ret->backing_id = h->backing ? h->backing->id : 0;
#endif
}

static void drop_handle(struct call *c, struct handle *h)
{
	call_close_backing(c->fs, TAKE(h->backing));
	handle_unref(h);
}

/* From now on NODE may be stored to through a mapping, which outlives the open file. */
static void attributes_go_untold(struct call *c, struct bk_node *node, const struct inode_id *inode)
{
	if (!atomic_exchange(&node->untold, true))
		recall_attributes(c->fs, &inode->number, 1);
}

static bool may_be_mapped(const struct handle *h, int flags)
{
	return h->backing && h->backing->id && (flags & O_ACCMODE) == O_RDWR;
}

/* FILE of NODE, which is a regular one where INODE is not NULL. FILE is taken whatever the result.
 */
static int make_handle(struct call *c, struct bk_node *node, struct bk_file *file,
		       const struct inode_id *inode, struct handle **ret)
{
	struct handle *h;
	int r = handle_new(&c->fs->handles, file, inode ? inode->number : 0, &h);

	if (r < 0) {
		bk_release(file);
		return r;
	}
	h->backing = TAKE(c->backing);
	if (inode && !h->backing)
		r = backing_open(&c->fs->backings, inode, file, c->flags, is_direct(file),
				 &h->backing);
	if (r < 0) {
		handle_unref(h);
		return r;
	}
	if (may_be_mapped(h, c->flags))
		attributes_go_untold(c, node, inode);
	*ret = h;
	return 0;
}

void reply_open(struct call *c, int r, struct bk_file *file, const struct inode_id *inode)
{
	struct fuse_file_info fi;
	struct handle *h;

	if (r == 0)
		r = make_handle(c, c->node, file, inode, &h);
	if (r < 0) {
		reply_err(c, r);
		return;
	}
	fill_open(c, h, &fi);
	if (!call_claim(c) || fuse_reply_open(c->fuse, &fi) < 0)
		drop_handle(c, h);
}

/* The entry of what was created, and its open file: both or none. */
static int make_created(struct call *c, struct bk_node *node, struct bk_file *file,
			const struct stat *st, struct fuse_entry_param *ret_e,
			struct handle **ret_h)
{
	struct inode_id inode;
	int r = reply_make_entry(c, node, st, ret_e);

	if (r < 0) {
		bk_release(file);
		return r;
	}
	inode = (struct inode_id){.number = ret_e->ino, .generation = ret_e->generation};
	r = make_handle(c, node, file, &inode, ret_h);
	if (r < 0)
		inode_forget(&c->fs->inodes, ret_e->ino, 1, NULL);
	else if (atomic_load(&node->untold))
		ret_e->attr_timeout = 0;
	return r;
}

void reply_create(struct call *c, int r, struct bk_node *node, struct bk_file *file,
		  const struct stat *st)
{
	struct fuse_entry_param e;
	struct fuse_file_info fi;
	struct handle *h;

	if (r == 0)
		r = make_created(c, node, file, st, &e, &h);
	if (r < 0) {
		reply_err(c, r);
		return;
	}
	fill_open(c, h, &fi);
	if (!call_claim(c) || fuse_reply_create(c->fuse, &e, &fi) < 0) {
		drop_handle(c, h);
		inode_forget(&c->fs->inodes, e.ino, 1, NULL);
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
