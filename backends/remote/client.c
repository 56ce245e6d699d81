/* The client end as a backend: its hello, its end, and its table of operations. */
#include "client.h"

#include "base/thread.h"

#include <string.h>

/* ---- Hello ---- */

static int check_hello(const struct remote *r, const struct remote_msg *m)
{
	uint32_t flags = REMOTE_HAS_FLUSH | REMOTE_CAN_SEARCH;

	if (r->stream.takes_fds)
		flags |= REMOTE_CAN_PASS_FDS;
	if (m->flags & REMOTE_CAN_PASS_FDS)
		flags |= REMOTE_CAN_EXEC;
	return m->magic == REMOTE_MAGIC && m->version == REMOTE_VERSION && !(m->flags & ~flags) &&
		       m->inflight >= 1 && m->inflight <= REMOTE_MAX_INFLIGHT &&
		       S_ISDIR(m->st.st_mode)
		   ? 0
		   : -EPROTO;
}

static const struct bk_ops remote_ops, remote_flush_ops;

static int say_hello(struct bk_req *req, struct remote *r)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote_msg m = {
	    .magic = REMOTE_MAGIC,
	    .version = REMOTE_VERSION,
	    .flags = REMOTE_CAN_SEARCH | (r->stream.takes_fds ? REMOTE_CAN_PASS_FDS : 0),
	    .inflight = CLIENT_SLOTS,
	};
	struct bk_node *root;
	int e = remote_call_run(r, req, REMOTE_HELLO, &m, &a);

	if (e == 0)
		e = check_hello(r, &a.msg);
	if (e == 0)
		e = remote_node_for(r, a.msg.node, &a.msg.st, S_IFDIR, &root);
	if (e < 0)
		return e;
	r->root = NODE_OF(root);
	r->bk.ino_dev = a.msg.st.st_dev;
	r->bk.root_ino = a.msg.st.st_ino;
	r->passes_fds = a.msg.flags & REMOTE_CAN_PASS_FDS;
	r->can_exec = a.msg.flags & REMOTE_CAN_EXEC;
	r->can_search = a.msg.flags & REMOTE_CAN_SEARCH;
	if (a.msg.flags & REMOTE_HAS_FLUSH)
		r->bk.ops = &remote_flush_ops;
	pthread_mutex_lock(&r->lock);
	r->n_slots = a.msg.inflight < CLIENT_SLOTS ? a.msg.inflight : CLIENT_SLOTS;
	pthread_mutex_unlock(&r->lock);
	return 0;
}

/* ---- Life ---- */

static void slot_init(struct slot *s)
{
	s->fd = -1;
	cond_init(&s->answered);
}

static void slot_done(struct slot *s)
{
	closep(&s->fd);
	free(s->payload);
	pthread_cond_destroy(&s->answered);
}

static void init(struct remote *r)
{
	r->bk.blocking = true;
	/* What was read ahead may be so old already when the kernel gets it. */
	r->bk.entry_ttl_ms -= CLIENT_AHEAD_MS;
	r->bk.attr_ttl_ms -= CLIENT_AHEAD_MS;
	r->wake = r->nudge = -1;
	r->n_slots = 1; /* for the hello */
	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->sending, NULL);
	pthread_mutex_init(&r->nodes_lock, NULL);
	cond_init(&r->slot_free);
	for (size_t i = 0; i < ARRAY_SIZE(r->slots); i++)
		slot_init(&r->slots[i]);
	remote_input_init(&r->input);
}

static void remote_destroy(struct bk *bk)
{
	struct remote *r = container_of(bk, struct remote, bk);

	bk_node_unref(r->root ? &r->root->base : NULL);
	remote_conn_stop(r);
	for (size_t i = 0; i < ARRAY_SIZE(r->slots); i++)
		slot_done(&r->slots[i]);
	pthread_cond_destroy(&r->slot_free);
	pthread_mutex_destroy(&r->nodes_lock);
	pthread_mutex_destroy(&r->sending);
	pthread_mutex_destroy(&r->lock);
	bk_done(bk);
	free(r);
}

static struct bk_node *remote_root(struct bk *bk)
{
	return bk_node_ref(&container_of(bk, struct remote, bk)->root->base);
}

bool remote_is_over(struct bk *bk)
{
	struct remote *r = container_of(bk, struct remote, bk);
	bool over;

	pthread_mutex_lock(&r->lock);
	over = r->over;
	pthread_mutex_unlock(&r->lock);
	return over;
}

void remote_changed(struct bk *bk)
{
	atomic_fetch_add(&container_of(bk, struct remote, bk)->epoch, 1);
}

#define REMOTE_OPS                                                                                 \
	.type = "remote", .destroy = remote_destroy, .root = remote_root,                          \
	.node_free = remote_node_free, .lookup = remote_lookup, .mknod = remote_mknod,             \
	.mkdir = remote_mkdir, .symlink = remote_symlink, .link = remote_link,                     \
	.unlink = remote_unlink, .rmdir = remote_rmdir, .rename = remote_rename,                   \
	.getattr = remote_getattr, .setattr = remote_setattr, .readlink = remote_readlink,         \
	.statfs = remote_statfs, .getxattr = remote_getxattr, .listxattr = remote_listxattr,       \
	.setxattr = remote_setxattr, .removexattr = remote_removexattr, .open = remote_open,       \
	.create = remote_create, .read = remote_read, .write = remote_write,                       \
	.fsync = remote_fsync, .release = remote_release, .lseek = remote_lseek,                   \
	.fallocate = remote_fallocate, .backing_fd = remote_backing_fd, .opendir = remote_opendir, \
	.readdir = remote_readdir, .fsyncdir = remote_fsyncdir, .search = remote_search

static const struct bk_ops remote_ops = {REMOTE_OPS};
/* Only where close(2) has something to tell there is it worth a request. */
static const struct bk_ops remote_flush_ops = {REMOTE_OPS, .flush = remote_flush};

/* A client that knows nothing of its stream yet. */
static int client_new(const char *route, struct remote **ret)
{
	struct remote *r = calloc(1, sizeof(*r));
	int e = r ? bk_init(&r->bk, &remote_ops, route) : -ENOMEM;

	if (e < 0) {
		free(r);
		return e;
	}
	init(r);
	*ret = r;
	return 0;
}

/* R (taken) has its stream: begin. */
static int client_start(struct bk_req *req, struct remote *r, struct bk **ret, struct err *err)
{
	int e = remote_conn_start(r);

	if (e == 0)
		e = say_hello(req, r);
	if (e < 0) {
		err_set(err, e, "route %s: no answer from its server: %s", r->bk.route,
			strerror(-e));
		remote_destroy(&r->bk);
		return e;
	}
	*ret = &r->bk;
	return 0;
}

int remote_new(struct bk_req *req, int in, int out, const char *route,
	       const struct remote_conf *conf, struct bk **ret, struct err *err)
{
	struct remote *r;
	int e = client_new(route, &r);

	if (e < 0) {
		if (out != in)
			closep(&out);
		closep(&in);
		return e;
	}
	remote_stream_init(&r->stream, in, out);
	if (conf)
		r->conf = *conf;
	r->stream.takes_fds = r->conf.fd_ok && r->stream.local;
	return client_start(req, r, ret, err);
}

int remote_new_over(struct bk_req *req, struct bk_stream *over, const char *route, struct bk **ret,
		    struct err *err)
{
	struct remote *r;
	int e = client_new(route, &r);

	if (e < 0)
		return e;
	remote_stream_init_via(&r->stream, over);
	return client_start(req, r, ret, err);
}
