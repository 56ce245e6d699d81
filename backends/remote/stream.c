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

void remote_stream_init(struct remote_stream *s, int in, int out)
{
	struct stat st;

	*s = (struct remote_stream){
	    .in = in,
	    .out = out,
	    .socket = in == out && fstat(in, &st) == 0 && S_ISSOCK(st.st_mode),
	};
	if (s->socket)
		return;
	set_nonblocking(in);
	set_nonblocking(out);
}

void remote_stream_done(struct remote_stream *s)
{
	if (s->out != s->in)
		closep(&s->out);
	closep(&s->in);
	s->in = s->out = -1;
}

static ssize_t recv_flags(struct remote_stream *s, void *data, size_t size, int flags)
{
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = s->socket ? recvmsg(s->in, &msg, flags) : read(s->in, data, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t remote_stream_recv(struct remote_stream *s, void *data, size_t size)
{
	return recv_flags(s, data, size, MSG_DONTWAIT);
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
		ssize_t n = recv_flags(s, (char *)data + got, size - got, 0);

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

ssize_t remote_stream_send(struct remote_stream *s, const struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	ssize_t r;

	do
		r = s->socket ? sendmsg(s->out, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)
			      : writev(s->out, iov, n);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static void consume(struct iovec *iov, int n, size_t done)
{
	for (int i = 0; i < n; i++) {
		size_t part = done < iov[i].iov_len ? done : iov[i].iov_len;

		iov[i].iov_base = (char *)iov[i].iov_base + part;
		iov[i].iov_len -= part;
		done -= part;
	}
}

int remote_stream_write(struct remote_stream *s, struct iovec *iov, int n)
{
	size_t left = 0;

	for (int i = 0; i < n; i++)
		left += iov[i].iov_len;
	while (left > 0) {
		ssize_t r = remote_stream_send(s, iov, n);

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

static size_t take(struct remote_input *in, void *data, size_t size)
{
	size_t n = in->len - in->pos;

	if (n > size)
		n = size;
	memcpy(data, in->data + in->pos, n);
	in->pos += n;
	return n;
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
			n = remote_stream_recv(s, (char *)data + *got, size - *got);
		else
			n = remote_stream_recv(s, in->data, sizeof(in->data));
		if (n <= 0)
			return n < 0 ? n : -ECONNRESET;
		if (direct) {
			*got += n;
		} else {
			in->pos = 0;
			in->len = n;
		}
	}
}
