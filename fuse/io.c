/* Open files: for each request its run function and its handler. */
#include "call.h"
#include "park.h"
#include "reply.h"

#include <fcntl.h>

/* The kernel's flag of an open for execve(2). */
#define OPEN_EXEC 0x20

/* What the kernel does itself, or what says nothing to a backend. */
#define OPEN_NOT_OURS (O_CREAT | O_EXCL | O_NOCTTY | O_DIRECT | O_NONBLOCK | O_CLOEXEC | OPEN_EXEC)

#define MAX_READ (1 << 20)

/* Over io_uring, where all of a processor wait as long: for what another process wants to keep, and
 * for a command's refusal. */
#define HELD_MS 20
#define REFUSAL_MS 200

/* ---- Set-user-ID bits, which a write by one who may not keep them clears ---- */

static int kill_suidgid(struct call *c, struct bk_file *file)
{
	struct bk_setattr set = {.mask = BK_SET_MODE};
	struct stat st;
	mode_t left;
	int r = bk_getattr(&c->req, c->node, file, &st);

	if (r < 0)
		return r;
	left = bk_mode_written(&c->req, st.st_mode, st.st_gid);
	if (left == st.st_mode)
		return 0;
	set.mode = left & 07777;
	return bk_setattr(&c->req, c->node, file, &set, &st);
}

static bool kills_suidgid(const struct fuse_file_info *fi)
{
#ifdef HAVE_KILL_SUIDGID
	return fi->kill_suidgid;
#else
	return false;
#endif
}

/* ---- Opening and closing ---- */

/* Whether to try again what another process held up. */
static bool still_held(struct call *c, int r, uint64_t *until)
{
	return r == -EAGAIN && !(c->flags & O_NONBLOCK) && park_briefly(c, until, HELD_MS);
}

/* Whether it goes on elsewhere, to wait for what another process holds. */
static bool waits(struct call *c, int r)
{
	return r == -EAGAIN && !(c->flags & O_NONBLOCK) && call_defer(c);
}

static int open_file(struct call *c, struct bk_file **ret)
{
	uint64_t until = 0;
	int r;

	if (!(c->flags & (O_ACCMODE | O_TRUNC)))
		c->backing = backing_resume(&c->fs->backings, &c->inode);
	c->req.kernel_reads = c->backing;
	do
		r = bk_open(&c->req, c->node, c->flags & ~OPEN_NOT_OURS, ret);
	while (still_held(c, r, &until));
	return r;
}

static void run_open(struct call *c)
{
	struct bk_file *file = NULL;
	/* At ESTALE the kernel looks the name up again, and learns of the new era. */
	int r = inode_told(&c->fs->inodes, c->node, &c->inode);

	if (r == 0)
		r = open_file(c, &file);
	if (waits(c, r))
		return;
	if (r == 0 && c->kill_suidgid && c->flags & O_TRUNC) {
		r = kill_suidgid(c, file);
		if (r < 0)
			bk_release(file);
	}
	reply_open(c, r, file, &c->inode);
}

void io_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = {.flags = fi->flags, .kill_suidgid = kills_suidgid(fi)};

	if (!call_begin(&c, req, ino))
		return;
	if (c.flags & OPEN_EXEC && c.node->bk->no_host_exec) {
		reply_err(&c, -EACCES);
		call_done(&c);
		return;
	}
	call_go_open(&c, run_open);
}

static void run_create(struct call *c)
{
	struct bk_node *node = NULL;
	struct bk_file *file = NULL;
	struct stat st;
	int flags = c->flags & ~(OPEN_NOT_OURS & ~(O_CREAT | O_EXCL));
	uint64_t until = 0;
	int r;

	do
		r = bk_create(&c->req, c->node, c->name, c->mode, flags, &node, &file, &st);
	while (still_held(c, r, &until));
	if (!waits(c, r))
		reply_create(c, r, node, file, &st);
}

void io_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct call c = {.name = name, .mode = mode, .flags = fi->flags};

	if (call_begin(&c, req, parent))
		call_go_open(&c, run_create);
}

#ifdef HAVE_TMPFILE
static void run_tmpfile(struct call *c)
{
	struct bk_node *node = NULL;
	struct bk_file *file = NULL;
	struct stat st;
	int flags = c->flags & ~(OPEN_NOT_OURS & ~O_EXCL);
	int r = bk_tmpfile(&c->req, c->node, c->mode, flags, &node, &file, &st);

	reply_create(c, r, node, file, &st);
}

void io_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct call c = {.mode = mode, .flags = fi->flags & ~O_TMPFILE};

	if (call_begin(&c, req, parent))
		call_go(&c, run_tmpfile);
}
#endif

static void run_release(struct call *c)
{
	handle_unref(TAKE(c->handle));
	reply_err(c, 0);
}

void io_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = {0};

	if (!call_begin_file(&c, req, ino, fi))
		return;
	/* Now, not when the file is released: the kernel's inode may be opened otherwise already.
	 */
	call_close_backing(c.fs, TAKE(c.handle->backing));
	settle_listed(&c.fs->settle, &c.handle->listing);
	handle_unref(c.handle); /* that of open; the call has its own */
	call_go_always(&c, run_release);
}

/* ---- Reading and writing ---- */

static ssize_t read_file(struct call *c, void *data, bool waits)
{
	uint64_t until = 0;
	ssize_t r;

	do
		r = bk_read(&c->req, c->handle->file, data, c->size, c->off);
	while (r == -EAGAIN && waits && park_briefly(c, &until, REFUSAL_MS));
	return r;
}

static void run_read(struct call *c)
{
	bool waits = c->handle->file->node->bk->ops->wait;
	void *data = call_scratch(c->size);
	ssize_t r = data ? read_file(c, data, waits) : -ENOMEM;

	if (r == -EAGAIN && waits)
		park(c);
	else
		reply_data(c, r, data);
}

void io_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct call c = {.size = size < MAX_READ ? size : MAX_READ, .off = off};

	if (call_begin_file(&c, req, ino, fi))
		call_go(&c, run_read);
}

static void run_write(struct call *c)
{
	struct bk_file *file = c->handle->file;
	ssize_t r = c->kill_suidgid ? kill_suidgid(c, file) : 0;

	if (r == 0)
		r = bk_write(&c->req, file, c->data, c->size, c->off);
	reply_count(c, r);
}

void io_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	struct call c = {.data = data, .size = size, .off = off, .kill_suidgid = kills_suidgid(fi)};

	if (!call_begin_file(&c, req, ino, fi))
		return;
	c.req.writeback = fi->writepage;
	call_go(&c, run_write);
}

static void run_flush(struct call *c)
{
	reply_err(c, bk_flush(&c->req, c->handle->file));
}

void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = {0};

	if (call_begin_file(&c, req, ino, fi))
		call_go_open(&c, run_flush);
}

static void run_fsync(struct call *c)
{
	reply_err(c, bk_fsync(&c->req, c->handle->file, c->flags));
}

void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct call c = {.flags = datasync};

	if (call_begin_file(&c, req, ino, fi))
		call_go(&c, run_fsync);
}

/* ---- Holes ---- */

static void run_lseek(struct call *c)
{
	reply_off(c, bk_lseek(&c->req, c->handle->file, c->off, c->flags));
}

void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct call c = {.off = off, .flags = whence};

	if (call_begin_file(&c, req, ino, fi))
		call_go_open(&c, run_lseek);
}

static void run_fallocate(struct call *c)
{
	int r = bk_fallocate(&c->req, c->handle->file, c->flags, c->off, c->len);

	reply_err(c, r);
}

void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct call c = {.off = off, .len = len, .flags = mode};

	if (call_begin_file(&c, req, ino, fi))
		call_go(&c, run_fallocate);
}
