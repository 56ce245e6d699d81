/*
 * Open files. A handle is only a claim on its node's content (content.c); what it writes reaches
 * the container at flush, fsync or, failing those, release. A file that was created is pending
 * until then: it is there for everyone who looks through the mount.
 */
#include "live.h"

#include "../base/clock.h"
#include "../base/log.h"

#include <fcntl.h>
#include <string.h>

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static struct bk_file *handle_new(struct docker *d, struct dnode *node, int flags)
{
	struct dfile *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->base.node = bk_node_ref(&node->base);
	f->base.flags = flags;
	content_claim(d, node);
	return &f->base;
}

static void set_now(struct dnode *node)
{
	pthread_mutex_lock(&node->lock);
	clock_gettime(CLOCK_REALTIME, &node->st.st_mtim);
	node->st.st_mtim.tv_nsec = 0;
	node->st.st_atim = node->st.st_ctim = node->st.st_mtim;
	pthread_mutex_unlock(&node->lock);
}

/* Whether the file can be written back at all: never find out only at close. */
static int check_writable(struct bk_req *req, struct docker *d, const char *path)
{
	int r = sandbox_before_change(req, &d->sb);

	return r < 0 ? r : sandbox_reach(&d->sb, path, true);
}

static int open_gated(struct bk_req *req, struct docker *d, struct dnode *node, int flags)
{
	char path[PATH_MAX];
	bool local;
	int r = node_path(d, node, path);

	if (r < 0)
		return r;
	if (writes(flags) || flags & O_TRUNC) {
		r = check_writable(req, d, path);
		if (r < 0)
			return r;
	}
	if (!(flags & O_TRUNC))
		return content_refresh(req, d, node);
	local = content_local(node);
	r = content_dirty(req, d, node);
	if (r < 0)
		return r;
	r = content_empty(d, node);
	if (r == 0) {
		set_now(node);
	} else if (!local) {
		pthread_mutex_lock(&node->lock);
		node->dirty = false;
		pthread_mutex_unlock(&node->lock);
	}
	return r;
}

int docker_open(struct bk_req *req, struct bk_node *base, int flags, struct bk_file **ret)
{
	struct docker *d = docker_of(base);
	struct dnode *node = dnode_of(base);
	struct bk_file *f;
	int r;

	if (node->type != S_IFREG)
		return S_ISDIR(node->type) ? -EISDIR : -ENXIO;
	if (live_leave(d, node)) /* to be looked up again, as another of the kernel's inodes */
		return -ESTALE;
	/* First a handle: it keeps the content that is fetched. */
	f = handle_new(d, node, flags);
	if (!f)
		return -ENOMEM;
	r = gate_enter(req, &node->gate);
	if (r == 0) {
		r = open_gated(req, d, node, flags);
		gate_leave(&node->gate);
	}
	if (r < 0) {
		docker_release(f);
		return r;
	}
	*ret = f;
	return 0;
}

/* NODE is new and NAME is free: it is pending from now on. */
static int make_pending(struct docker *d, struct dnode *node, const struct stat *st)
{
	int r = content_empty(d, node);

	if (r < 0)
		return r;
	pthread_mutex_lock(&node->lock);
	node->st = *st;
	atomic_store(&node->pending, true);
	pthread_mutex_unlock(&node->lock);
	set_now(node);
	return 0;
}

static int create_new(struct bk_req *req, struct docker *d, struct dnode *dir, const char *name,
		      const struct stat *st, int flags, struct bk_node **ret_node,
		      struct bk_file **ret_file, struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *ref = NULL;
	struct dnode *node;
	struct bk_file *f = NULL;
	int r = node_get(d, dir, name, S_IFREG, &node);

	if (r < 0)
		return r;
	ref = &node->base;
	r = gate_enter(req, &node->gate);
	if (r < 0)
		return r;
	if (content_local(node)) /* created by another meanwhile */
		r = flags & O_EXCL ? -EEXIST : 0;
	else
		r = make_pending(d, node, st);
	if (r == 0 && !(f = handle_new(d, node, flags)))
		r = -ENOMEM;
	gate_leave(&node->gate);
	if (r == 0)
		r = stat_node(req, d, node, ret_st);
	if (r < 0) {
		if (f)
			docker_release(f);
		return r;
	}
	*ret_file = f;
	*ret_node = TAKE(ref);
	return 0;
}

int docker_create(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, int flags,
		  struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	struct docker *d = docker_of(dir);
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	char path[PATH_MAX];
	struct stat st;
	int r;

	r = make_prepare(req, d, dnode_of(dir), name, path, &st);
	if (r == -EEXIST && !(flags & O_EXCL)) {
		r = docker_lookup(req, dir, name, &node, ret_st);
		if (r == 0)
			r = docker_open(req, node, flags & ~O_CREAT, ret_file);
		if (r == 0)
			r = stat_node(req, d, dnode_of(node), ret_st);
		if (r == 0)
			*ret_node = TAKE(node);
		return r;
	}
	if (r < 0)
		return r;
	st.st_mode = S_IFREG | mode;
	return create_new(req, d, dnode_of(dir), name, &st, flags, ret_node, ret_file, ret_st);
}

ssize_t docker_read(struct bk_req *req, struct bk_file *f, void *data, size_t size, off_t off)
{
	_cleanup_(spool_unrefp) struct spool *s = NULL;
	int r = content_get(req, docker_of(f->node), dnode_of(f->node), (uint64_t)off + size, &s);

	return r < 0 ? r : spool_read(s, data, size, off);
}

static ssize_t write_gated(struct bk_req *req, struct docker *d, struct dnode *node, int flags,
			   const void *data, size_t size, off_t off)
{
	ssize_t n;
	int r = content_whole(req, d, node);

	if (r == 0)
		r = content_dirty(req, d, node);
	if (r < 0)
		return r;
	/* Two handles may append at once: the end is what it is now. */
	if (flags & O_APPEND && !req->writeback)
		off = spool_size(node->spool);
	n = spool_write(node->spool, data, size, off);
	if (n == -ENOSPC)
		sandbox_fail(&d->sb, -ENOSPC, "open files of the route hold spool_max bytes");
	if (n < 0)
		return n;
	set_now(node);
	if (req->uid != 0) {
		pthread_mutex_lock(&node->lock);
		node->st.st_mode &= ~(mode_t)(S_ISUID | (node->st.st_mode & S_IXGRP ? S_ISGID : 0));
		pthread_mutex_unlock(&node->lock);
	}
	return n;
}

ssize_t docker_write(struct bk_req *req, struct bk_file *f, const void *data, size_t size,
		     off_t off)
{
	struct dnode *node = dnode_of(f->node);
	ssize_t n;
	int r;

	if (!writes(f->flags))
		return -EBADF;
	r = gate_enter(req, &node->gate);
	if (r < 0)
		return r;
	n = write_gated(req, docker_of(f->node), node, f->flags, data, size, off);
	gate_leave(&node->gate);
	return n;
}

int docker_flush(struct bk_req *req, struct bk_file *f)
{
	if (!writes(f->flags) && !(f->flags & O_TRUNC))
		return 0;
	return content_flush(req, docker_of(f->node), dnode_of(f->node));
}

int docker_fsync(struct bk_req *req, struct bk_file *f, bool datasync)
{
	return content_flush(req, docker_of(f->node), dnode_of(f->node));
}

/* A writer goes (a shared mapping writes after flush): nothing may be left that is not there. */
static void write_back(struct docker *d, struct dnode *node)
{
	struct bk_req req;
	int r;

	bk_req_init(&req, 0, 0, 0, d->conf.timeout);
	r = content_flush(&req, d, node);
	if (r < 0)
		log_error("route %s: written data of a file was lost: %s", d->bk.route,
			  strerror(-r));
	bk_req_done(&req);
}

void docker_release(struct bk_file *f)
{
	struct docker *d = docker_of(f->node);
	struct dnode *node = dnode_of(f->node);

	if (node->type != S_IFREG) {
		docker_releasedir(f);
		return;
	}
	if ((writes(f->flags) || f->flags & O_TRUNC) && content_local(node))
		write_back(d, node);
	content_unclaim(d, node);
	bk_node_unref(f->node);
	free(dfile_of(f));
}
