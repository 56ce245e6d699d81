/*
 * Operations (backends/ops): a connection whose request is one of them is a worker's until its end.
 * The worker reads and writes the client's socket itself, through a descriptor of its own, and
 * waits where the client is slow; the loop's thread only watches for the hangup, which cancels.
 */
#include "connection.h"

#include "../../backends/base/pool.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define QUEUE 256
#define IDLE_MS 5000

struct operating {
	struct work work;
	struct task task;
	struct conn *conn;
	int fd, cancel; /* cancel: readable from then on */
	struct ops_who who;
	struct ops_io io;
	struct ops *ops;
	bool started, input_done;
	uint32_t input_left; /* of a frame of standard input */
};

/* ---- The client's socket, by the worker ---- */

/* Until FD is ready: 0, or -EPIPE where the client is gone. */
static int wait_for(const struct operating *x, short events)
{
	struct pollfd fds[] = {{.fd = x->fd, .events = events},
			       {.fd = x->cancel, .events = POLLIN}};

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[1].revents ? -EPIPE : 0;
}

static int send_all(const struct operating *x, struct iovec *iov, size_t n)
{
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};

	while (m.msg_iovlen > 0) {
		ssize_t sent = sendmsg(x->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r = 0;

		if (sent < 0 && errno == EAGAIN)
			r = wait_for(x, POLLOUT);
		else if (sent < 0 && errno != EINTR)
			r = -EPIPE;
		if (r < 0)
			return r;
		while (sent > 0 && m.msg_iovlen > 0) {
			size_t k =
			    (size_t)sent < m.msg_iov->iov_len ? (size_t)sent : m.msg_iov->iov_len;

			m.msg_iov->iov_base = (char *)m.msg_iov->iov_base + k;
			m.msg_iov->iov_len -= k;
			sent -= k;
			if (m.msg_iov->iov_len == 0) {
				m.msg_iov++;
				m.msg_iovlen--;
			}
		}
		while (m.msg_iovlen > 0 && m.msg_iov->iov_len == 0) {
			m.msg_iov++;
			m.msg_iovlen--;
		}
	}
	return 0;
}

static int send_frame(const struct operating *x, uint8_t type, const void *data, size_t len)
{
	uint8_t header[PROTO_HEADER];
	struct iovec iov[] = {{header, sizeof(header)}, {(void *)data, len}};

	proto_put_header(header, type, len);
	return send_all(x, iov, len > 0 ? 2 : 1);
}

static int write_stream(void *ctx, int stream, const void *data, size_t len)
{
	const char *p = data;
	int r = 0;

	for (size_t n; len > 0 && r == 0; p += n, len -= n) {
		n = len < PROTO_MAX_PAYLOAD ? len : PROTO_MAX_PAYLOAD;
		r = send_frame(ctx, stream == 1 ? PROTO_STDOUT : PROTO_STDERR, p, n);
	}
	return r;
}

static ssize_t receive(const struct operating *x, void *data, size_t size)
{
	for (;;) {
		ssize_t n = recv(x->fd, data, size, MSG_DONTWAIT);
		int r = 0;

		if (n > 0)
			return n;
		if (n == 0)
			return -EPIPE;
		if (errno == EAGAIN)
			r = wait_for(x, POLLIN);
		else if (errno != EINTR)
			r = -EPIPE;
		if (r < 0)
			return r;
	}
}

/* The next frame of standard input; an empty one is none. */
static int next_input(struct operating *x)
{
	struct proto_header h;
	uint8_t header[PROTO_HEADER];
	int r = 0;

	if (!x->started)
		r = send_frame(x, PROTO_STARTED, NULL, 0);
	x->started = true;
	for (size_t at = 0; at < sizeof(header) && r == 0;) {
		ssize_t n = receive(x, header + at, sizeof(header) - at);

		if (n < 0)
			return n;
		at += n;
	}
	if (r == 0)
		r = proto_get_header(header, &h);
	if (r < 0)
		return r;
	if (h.type == PROTO_STDIN_EOF && h.len == 0)
		x->input_done = true;
	else if (h.type != PROTO_STDIN)
		return -EPROTO;
	x->input_left = h.len;
	return 0;
}

static ssize_t read_input(void *ctx, void *data, size_t size)
{
	struct operating *x = ctx;
	ssize_t n;

	while (x->input_left == 0 && !x->input_done) {
		int r = next_input(x);

		if (r < 0)
			return r;
	}
	if (x->input_done)
		return 0;
	n = receive(x, data, size < x->input_left ? size : x->input_left);
	if (n > 0)
		x->input_left -= n;
	return n;
}

/* ---- The worker ---- */

static void operate(struct work *work)
{
	struct operating *x = container_of(work, struct operating, work);
	struct proto_exit e = {.how = PROTO_EXITED};
	uint8_t payload[PROTO_EXIT_SIZE];

	e.value = ops_run(x->ops);
	proto_put_exit(payload, &e);
	(void)send_frame(x, PROTO_EXIT, payload, sizeof(payload));
	loop_post(&x->conn->server->loop, &x->task);
}

static void operating_free(struct operating *x)
{
	ops_free(x->ops);
	free((void *)x->who.groups);
	closep(&x->fd);
	closep(&x->cancel);
	free(x);
}

static void operated(struct task *task)
{
	struct operating *x = container_of(task, struct operating, task);
	struct conn *c = x->conn;

	c->operating = NULL;
	c->state = ENDING;
	operating_free(x);
	conn_update(c);
}

/* ---- The loop's thread ---- */

/* Where the kernel does not tell (before Linux 4.13) there are none. */
static int peer_groups(int fd, gid_t **ret, size_t *ret_n)
{
	socklen_t len = 64 * sizeof(gid_t);
	gid_t *groups = malloc(len), *more;
	int r;

	if (!groups)
		return -ENOMEM;
	r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	if (r < 0 && errno == ERANGE) {
		more = realloc(groups, len);
		groups = more ? more : groups;
		r = more ? getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) : -1;
	}
	*ret = groups;
	*ret_n = r < 0 ? 0 : len / sizeof(gid_t);
	return 0;
}

static int find_peer(struct operating *x)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	gid_t *groups;
	int r;

	if (getsockopt(x->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	r = peer_groups(x->fd, &groups, &x->who.n_groups);
	if (r < 0)
		return r;
	x->who.uid = peer.uid;
	x->who.gid = peer.gid;
	x->who.pid = peer.pid;
	x->who.groups = groups;
	return 0;
}

/* The pool of the route that serves AT: another route's trouble does not take its threads. */
static int find_pool(struct server *s, const cJSON *at, struct pool **ret)
{
	const struct pool_conf conf = {
	    .threads = s->conf.max_operations,
	    .queue = QUEUE,
	    .idle_ms = IDLE_MS,
	};
	size_t n = strlen(s->conf.mountpoint);
	const char *rest, *path = cJSON_IsString(at) ? at->valuestring : "";
	const struct route *t;
	struct pool **pool;
	int r = 0;

	path = strncmp(path, s->conf.mountpoint, n) == 0 && path[n] == '/' ? path + n : "/";
	t = route_find(s->conf.routes, s->conf.n_routes, path, &rest);
	pool = &s->op_pools[t ? t - s->conf.routes : 0];
	if (!*pool)
		r = pool_new(&conf, pool);
	*ret = *pool;
	return r;
}

int conn_operate(struct conn *c, const cJSON *request, struct err *err)
{
	struct server *s = c->server;
	struct operating *x = calloc(1, sizeof(*x));
	struct pool *pool = NULL;
	int r;

	if (!x)
		return -ENOMEM;
	x->conn = c;
	x->work.run = operate;
	x->task.run = operated;
	x->io = (struct ops_io){.ctx = x, .write = write_stream, .read = read_input};
	x->fd = fcntl(c->client.fd, F_DUPFD_CLOEXEC, 0);
	x->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = x->fd < 0 || x->cancel < 0 ? -errno : find_peer(x);
	if (r == 0)
		r = ops_new(s->conf.tree, &x->who, &x->io, request, &x->ops, err);
	if (r == 0)
		r = find_pool(s, cJSON_GetObjectItemCaseSensitive(request, "at"), &pool);
	if (r == 0) {
		c->operating = x;
		c->state = OPERATING;
		r = pool_submit(pool, &x->work, false);
		if (r == -EBUSY)
			err_set(err, r, "too many operations wait (max_operations)");
	}
	if (r < 0) {
		c->operating = NULL;
		operating_free(x);
	}
	return r;
}

void conn_operate_cancel(struct conn *c)
{
	uint64_t one = 1;

	ops_cancel(c->operating->ops);
	(void)!write(c->operating->cancel, &one, sizeof(one));
}

void operations_end(struct server *s)
{
	for (size_t i = 0; s->op_pools && i < s->conf.n_routes; i++)
		pool_end(TAKE(s->op_pools[i]));
}
