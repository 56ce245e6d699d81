/* See stream.h. */
#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* How often who waits to write looks whether that has become pointless. */
#define LOOK_MS 200

static void set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static bool is_unix(int fd)
{
	int domain;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

void remote_stream_init(struct remote_stream *s, int in, int out)
{
	struct stat st;

	*s = (struct remote_stream){
	    .in = in,
	    .out = out,
	    .socket = in == out && fstat(in, &st) == 0 && S_ISSOCK(st.st_mode),
	};
	s->local = s->socket && is_unix(in);
	if (s->socket)
		return;
	set_nonblocking(in);
	set_nonblocking(out);
}

void remote_stream_init_via(struct remote_stream *s, struct bk_stream *via)
{
	int fd = via->ops->fd(via);

	*s = (struct remote_stream){.via = via, .in = fd, .out = fd, .socket = true};
}

void remote_stream_done(struct remote_stream *s)
{
	if (s->via)
		return;
	if (s->out != s->in)
		closep(&s->out);
	closep(&s->in);
	s->in = s->out = -1;
}

/* ---- Descriptors ---- */

/* Room for exactly one: the kernel closes what does not fit, and says so. */
#define CONTROL_LEN CMSG_LEN(sizeof(int))
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static bool is_one_fd(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	       c->cmsg_len == CONTROL_LEN;
}

/* What came beside bytes: 0, with *ret_fd where that is a descriptor; or -EPROTO. */
static int take_control(struct msghdr *msg, int *ret_fd)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd;

	/* Cut off with nothing left, it is this process that may not have more descriptors. */
	if (!c)
		return msg->msg_flags & MSG_CTRUNC && !msg->msg_control ? -EPROTO : 0;
	if (!is_one_fd(c))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (msg->msg_flags & MSG_CTRUNC) {
		closep(&fd);
		return -EPROTO;
	}
	*ret_fd = fd;
	return 0;
}

static void put_control(struct msghdr *msg, union control *control, int fd)
{
	msg->msg_control = control;
	msg->msg_controllen = CONTROL_LEN;
	control->align = (struct cmsghdr){
	    .cmsg_len = CONTROL_LEN, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control->align), &fd, sizeof(fd));
}

/* ---- Bytes ---- */

static ssize_t recv_flags(struct remote_stream *s, void *data, size_t size, int flags, int *ret_fd)
{
	union control control;
	struct iovec iov = {data, size};
	struct msghdr msg;
	ssize_t n;
	int e = 0;

	do {
		msg = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
		if (s->takes_fds) {
			msg.msg_control = &control;
			msg.msg_controllen = CONTROL_LEN;
		}
		n = s->socket ? recvmsg(s->in, &msg, flags | MSG_CMSG_CLOEXEC)
			      : read(s->in, data, size);
	} while (n < 0 && errno == EINTR);
	if (n >= 0 && s->socket)
		e = take_control(&msg, ret_fd);
	return n < 0 ? -errno : e < 0 ? e : n;
}

ssize_t remote_stream_recv(struct remote_stream *s, void *data, size_t size, int *ret_fd)
{
	if (s->via)
		return s->via->ops->read(s->via, data, size);
	return recv_flags(s, data, size, MSG_DONTWAIT, ret_fd);
}

bool remote_stream_pending(const struct remote_stream *s)
{
	return s->via && s->via->ops->pending(s->via);
}

/*
 * Wait for an end of the stream. That of a pipe is not woken by a shutdown: a reader also sees that
 * nobody takes what is written, a writer looks from time to time.
 */
static int wait_for(struct remote_stream *s, short events)
{
	struct pollfd p[2] = {
	    {.fd = events == POLLIN ? s->in : s->out, .events = events},
	    {.fd = events == POLLIN ? s->out : -1},
	};

	(void)poll(p, 2, events == POLLIN ? -1 : LOOK_MS);
	return s->over || (p[1].revents && !p[0].revents) ? -EPIPE : 0;
}

ssize_t remote_stream_read(struct remote_stream *s, void *data, size_t size)
{
	size_t got = 0;

	while (got < size) {
		int no_fd; /* `takes_fds` is not set where this is used */
		ssize_t n = recv_flags(s, (char *)data + got, size - got, 0, &no_fd);

		if (n == 0)
			break;
		if (n == -EAGAIN)
			n = wait_for(s, POLLIN);
		if (n < 0)
			return n;
		got += n;
	}
	return got;
}

static ssize_t send_fd(struct remote_stream *s, const struct iovec *iov, int n, int fd)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	union control control;
	ssize_t r;

	if (fd >= 0)
		put_control(&msg, &control, fd);
	do
		r = s->socket ? sendmsg(s->out, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)
			      : writev(s->out, iov, n);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* The bytes that VIA took, or why it took none. */
static ssize_t send_via(struct bk_stream *via, const struct iovec *iov, int n)
{
	size_t done = 0;

	for (int i = 0; i < n; i++) {
		ssize_t r = via->ops->write(via, iov[i].iov_base, iov[i].iov_len);

		if (r < 0)
			return done > 0 ? (ssize_t)done : r;
		done += r;
		if ((size_t)r < iov[i].iov_len)
			break;
	}
	return done;
}

ssize_t remote_stream_send(struct remote_stream *s, const struct iovec *iov, int n)
{
	if (s->via)
		return send_via(s->via, iov, n);
	return send_fd(s, iov, n, -1);
}

static void consume(struct iovec *iov, int n, size_t done)
{
	for (int i = 0; i < n; i++) {
		size_t part = done < iov[i].iov_len ? done : iov[i].iov_len;

		if (part == 0)
			continue;
		iov[i].iov_base = (char *)iov[i].iov_base + part;
		iov[i].iov_len -= part;
		done -= part;
	}
}

int remote_stream_write(struct remote_stream *s, struct iovec *iov, int n, int fd)
{
	size_t left = 0;

	for (int i = 0; i < n; i++)
		left += iov[i].iov_len;
	while (left > 0) {
		ssize_t r = send_fd(s, iov, n, fd);

		if (r > 0)
			fd = -1; /* it went with the first byte */
		if (r == -EAGAIN)
			r = wait_for(s, POLLOUT);
		if (r < 0)
			return r;
		consume(iov, n, r);
		left -= r;
	}
	return 0;
}

void remote_stream_shutdown(struct remote_stream *s)
{
	s->over = true;
	if (s->socket)
		(void)shutdown(s->in, SHUT_RDWR);
}

/* ---- Input with a buffer ---- */

void remote_input_init(struct remote_input *in)
{
	in->fd = -1;
}

void remote_input_done(struct remote_input *in)
{
	closep(&in->fd);
	in->fd = -1;
}

static size_t take(struct remote_input *in, void *data, size_t size)
{
	size_t n = in->len - in->pos;

	if (n > size)
		n = size;
	memcpy(data, in->data + in->pos, n);
	in->pos += n;
	in->taken += n;
	return n;
}

/* Receive when all that came before has been taken. */
static ssize_t receive(struct remote_input *in, struct remote_stream *s, void *data, size_t size)
{
	int fd = -1;
	ssize_t n = remote_stream_recv(s, data, size, &fd);

	if (fd < 0)
		return n;
	if (in->fd >= 0) {
		closep(&fd);
		return -EPROTO;
	}
	in->fd = fd;
	in->fd_at = in->taken + n;
	return n;
}

int remote_input_take_fd(struct remote_input *in)
{
	return in->fd >= 0 && in->fd_at <= in->taken ? TAKE_FD(in->fd) : -1;
}

bool remote_input_pending(const struct remote_input *in, const struct remote_stream *s)
{
	return in->pos < in->len || remote_stream_pending(s);
}

int remote_input_fill(struct remote_input *in, struct remote_stream *s, void *data, size_t size,
		      size_t *got)
{
	for (;;) {
		bool direct;
		ssize_t n;

		*got += take(in, (char *)data + *got, size - *got);
		if (*got == size)
			return 0;
		/* What is large goes straight to its place. */
		direct = size - *got >= sizeof(in->data);
		if (direct)
			n = receive(in, s, (char *)data + *got, size - *got);
		else
			n = receive(in, s, in->data, sizeof(in->data));
		if (n <= 0)
			return n < 0 ? n : -ECONNRESET;
		if (direct) {
			*got += n;
			in->taken += n;
		} else {
			in->pos = 0;
			in->len = n;
		}
	}
}
