/* See call.h. */
#include "call.h"

#include "park.h"
#include "reply.h"
#include "uring.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/near.h"

#include <fcntl.h>
#include <string.h>

/* ---- Making and dropping ---- */

void call_init(struct call *c, fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	uring_enter();
	near_served(ctx->pid, uring_is(req));
	c->fs = fuse_req_userdata(req);
	c->fuse = req;
	c->recalls = atomic_load(&c->fs->recall.count);
	c->began_us = clock_us();
	bk_req_init(&c->req, ctx->uid, ctx->gid, ctx->pid, 0);
	c->req.hurried = true;
	if (c->fs->conf.timeout_ms)
		c->req.deadline_ms = c->began_us / 1000 + c->fs->conf.timeout_ms;
}

bool call_begin(struct call *c, fuse_req_t req, fuse_ino_t ino)
{
	call_init(c, req);
	c->inode.number = ino;
	c->node = inode_get(&c->fs->inodes, ino);
	if (c->node)
		return true;
	reply_err(c, -ESTALE);
	call_done(c);
	return false;
}

/* An open file of the call's own, for what the kernel opened by itself. */
static int open_anew(struct call *c)
{
	struct bk_file *file;
	int r = bk_open(&c->req, c->node, O_RDWR, &file);

	if (r == -EISDIR)
		r = bk_opendir(&c->req, c->node, &file);
	if (r < 0)
		return r;
	r = handle_new(&c->fs->handles, file, 0, &c->handle);
	if (r < 0)
		bk_release(file);
	return r;
}

bool call_begin_file(struct call *c, fuse_req_t req, fuse_ino_t ino,
		     const struct fuse_file_info *fi)
{
	int r;

	if (!fi->fh) {
		if (!call_begin(c, req, ino))
			return false;
		r = open_anew(c);
		if (r == 0)
			return true;
		reply_err(c, r);
		call_done(c);
		return false;
	}
	call_init(c, req);
	c->handle = handle_ref((struct handle *)(uintptr_t)fi->fh);
	c->node = bk_node_ref(c->handle->file->node);
	return true;
}

bool call_also(struct call *c, fuse_ino_t ino)
{
	c->node2 = inode_get(&c->fs->inodes, ino);
	if (c->node2)
		return true;
	reply_err(c, -ESTALE);
	call_done(c);
	return false;
}

void call_close_backing(struct fs *fs, struct backing *one)
{
	bool known = one && one->may_linger && inode_is_known(&fs->inodes, &one->inode);

	if (backing_close(&fs->backings, one, known))
		watch_later(&fs->watch, fs->backings.linger_ms);
}

static void drop(struct call *c)
{
	call_close_backing(c->fs, TAKE(c->backing));
	handle_unref(TAKE(c->handle));
	bk_node_unref(TAKE(c->node));
	bk_node_unref(TAKE(c->node2));
}

void call_done(struct call *c)
{
	drop(c);
	bk_req_done(&c->req);
}

void call_ref(struct call *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void call_unref(struct call *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	call_done(c);
	free(c);
}

static void run_work(struct work *w)
{
	struct call *c = container_of(w, struct call, work);

	c->run(c);
	call_unref(c);
}

static size_t room_for(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

/* Copy SIZE bytes to *TO, move it on, and return the copy. */
static void *copied(char **to, const void *from, size_t size)
{
	char *at = *to;

	if (!from)
		return NULL;
	memcpy(at, from, size);
	*to += size;
	return at;
}

struct call *call_keep(struct call *c)
{
	size_t data = c->data ? c->size : 0;
	struct call *k = malloc(sizeof(*k) + room_for(c->name) + room_for(c->name2) + data);
	char *to = (char *)(k + 1);

	if (!k)
		return NULL;
	*k = *c;
	k->kept = true;
	atomic_init(&k->refs, 1);
	bk_req_init(&k->req, c->req.uid, c->req.gid, c->req.pid, 0);
	k->req.deadline_ms = c->req.deadline_ms;
	k->req.writeback = c->req.writeback;
	k->req.kernel_reads = c->req.kernel_reads;
	k->work = (struct work){.run = run_work};
	k->name = copied(&to, c->name, room_for(c->name));
	k->name2 = copied(&to, c->name2, room_for(c->name2));
	k->data = copied(&to, c->data, data);
	c->handle = NULL;
	c->backing = NULL;
	c->node = c->node2 = NULL;
	return k;
}

static void interrupted(fuse_req_t req, void *data)
{
	struct call *c = data;

	watch_interrupt(&c->fs->watch, c);
}

void call_watch(struct call *c)
{
	/* Before it is watched: from then on it may be answered at any moment. */
	fuse_req_interrupt_func(c->fuse, interrupted, c);
	watch_add(&c->fs->watch, c, c->req.deadline_ms ? c->req.deadline_ms : UINT64_MAX);
}

bool call_claim(struct call *c)
{
	if (c->kept && !watch_claim(&c->fs->watch, c))
		return false;
	if (c->kept)
		fuse_req_interrupt_func(c->fuse, NULL, NULL);
	if (c->bk && !c->waited)
		histogram_add(&c->bk->latency, clock_us() - c->began_us);
	return true;
}

/* ---- Running ---- */

static struct bk *serving(const struct call *c)
{
	struct bk *bk = bk_serving(c->node, c->name);

	if (c->node2 && !bk->blocking)
		return bk_serving(c->node2, c->name2);
	return bk;
}

/* Run C where it may wait: here, or on a thread of its route. 0: C is empty; else as it was. */
static int submit(struct call *c, bool always)
{
	struct pools *pools = &c->fs->pools;
	struct route_pool *rp;
	struct call *k;
	int r = pools_get(pools, c->bk, &rp);

	if (r < 0)
		return r;
	k = call_keep(c);
	if (!k)
		return -ENOMEM;
	k->pool = rp->pool;
	if (!always)
		call_watch(k);
	if (pools_enter(pools, rp)) {
		run_work(&k->work);
		pools_leave(pools, rp);
		return 0;
	}
	r = pool_submit(rp->pool, &k->work, always);
	if (r < 0) {
		reply_err(k, r);
		call_unref(k);
	}
	return 0;
}

void call_go(struct call *c, void (*run)(struct call *))
{
	int r;

	c->run = run;
	c->bk = serving(c);
	if (c->bk->blocking) {
		r = submit(c, false);
		if (r < 0)
			reply_err(c, r);
	} else {
		run(c);
	}
	call_done(c);
}

bool call_defer(struct call *c)
{
	int r;

	if (c->kept || uring_is(c->fuse))
		return false;
	r = submit(c, false);
	if (r < 0)
		reply_err(c, r);
	return true;
}

void call_go_open(struct call *c, void (*run)(struct call *))
{
	if (!c->fs->unshared) {
		call_go(c, run);
		return;
	}
	reply_err(c, -ENOSYS);
	call_done(c);
}

void call_go_always(struct call *c, void (*run)(struct call *))
{
	c->run = run;
	c->bk = c->node->bk;
	c->req.deadline_ms = 0;
	if (!c->bk->blocking || submit(c, true) < 0)
		run(c);
	call_done(c);
}

void call_resume(struct call *c)
{
	int r;

	if (!c->bk->blocking) {
		run_work(&c->work);
		return;
	}
	r = c->pool ? pool_submit(c->pool, &c->work, true) : -EBUSY;
	if (r < 0) {
		reply_err(c, r);
		call_unref(c);
	}
}

/* ---- Ending from outside ---- */

/* C has no runner: answer it and drop the runner's reference. What it holds goes first, since the
 * answer lets RELEASE come, which must be the last to drop a file. */
static void answer_without_runner(struct call *c, int err)
{
	fuse_req_t req = c->fuse;
	bool mine = call_claim(c);

	drop(c);
	if (mine)
		reply_raw(req, err);
	call_unref(c);
}

void call_end(struct call *c, int err)
{
	bool killed = err == -EINTR;

	if (park_remove(c) || (c->pool && pool_remove(c->pool, &c->work))) {
		answer_without_runner(c, err);
		return;
	}
	if (killed || c->stage > 0)
		bk_req_cancel(&c->req);
	if (c->stage++ == 0) {
		watch_again(&c->fs->watch, c,
			    clock_ms() + (killed ? WATCH_TICK_MS : WATCH_GRACE_MS));
		return;
	}
	if (!call_claim(c))
		return;
	log_warning("route %s: a call does not end, its caller goes on without it: %s",
		    c->bk->route, strerror(-err));
	reply_raw(c->fuse, err);
}

/* ---- Buffers ---- */

struct scratch {
	size_t size;
	char data[];
};

static pthread_key_t scratch_key;

static void make_scratch_key(void)
{
	(void)pthread_key_create(&scratch_key, free);
}

void *call_scratch(size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct scratch *s;

	(void)pthread_once(&once, make_scratch_key);
	s = pthread_getspecific(scratch_key);
	if (s && s->size >= size)
		return s->data;
	free(s);
	s = malloc(sizeof(*s) + size);
	if (s)
		s->size = size;
	if (pthread_setspecific(scratch_key, s) != 0) {
		free(s);
		return NULL;
	}
	return s ? s->data : NULL;
}
