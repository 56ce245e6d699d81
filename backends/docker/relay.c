/* See relay.h. */
#include "relay.h"

#include "engine.h"

#include "../base/thread.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define BUFFER (256 << 10)
#define TEXT 256 /* of the beginning of the output, for people */

/* One direction: the bytes from `pos` on wait. */
struct way {
	size_t pos, len;
	uint8_t data[BUFFER];
};

struct relay {
	struct bk_stream *stream;
	int fd;	  /* our end of the pair */
	int wake; /* an eventfd: to end */
	bool has_thread;
	pthread_t thread;

	/* The thread's alone while it runs. */
	struct way up, down; /* to the command, from it */
	size_t n_first;
	char first[TEXT]; /* of the output */
	char text[1024];
};

static bool has_room(const struct way *w)
{
	return w->len < sizeof(w->data);
}

static bool has_bytes(const struct way *w)
{
	return w->pos < w->len;
}

static void took(struct way *w, size_t n)
{
	w->pos += n;
	if (w->pos < w->len)
		return;
	w->pos = w->len = 0;
}

static void keep_first(struct relay *r, const void *data, size_t n)
{
	if (n > sizeof(r->first) - r->n_first)
		n = sizeof(r->first) - r->n_first;
	memcpy(r->first + r->n_first, data, n);
	r->n_first += n;
}

/* ---- Four moves: as much as goes. 0, or -errno at the end of that side (-ECONNRESET for an end in
 * order) ---- */

static int read_stream(struct relay *r)
{
	struct way *w = &r->down;
	ssize_t n = -EAGAIN;

	while (has_room(w)) {
		n = r->stream->ops->read(r->stream, w->data + w->len, sizeof(w->data) - w->len);
		if (n <= 0)
			break;
		keep_first(r, w->data + w->len, n);
		w->len += n;
	}
	return n == 0 ? -ECONNRESET : n < 0 && n != -EAGAIN ? (int)n : 0;
}

static int write_socket(struct relay *r)
{
	struct way *w = &r->down;

	while (has_bytes(w)) {
		ssize_t n =
		    send(r->fd, w->data + w->pos, w->len - w->pos, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		took(w, n);
	}
	return 0;
}

static int read_socket(struct relay *r)
{
	struct way *w = &r->up;
	ssize_t n;

	if (!has_room(w))
		return 0;
	n = recv(r->fd, w->data + w->len, sizeof(w->data) - w->len, MSG_DONTWAIT);
	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	w->len += n;
	return 0;
}

static int write_stream(struct relay *r)
{
	struct way *w = &r->up;

	while (has_bytes(w)) {
		ssize_t n = r->stream->ops->write(r->stream, w->data + w->pos, w->len - w->pos);

		if (n < 0)
			return n == -EAGAIN ? 0 : n;
		took(w, n);
	}
	return 0;
}

/* ---- The thread ---- */

enum { P_STREAM, P_SOCKET, P_WAKE, P_COUNT };

/* Wait until something can be moved. */
static void wait(struct relay *r, struct pollfd *p)
{
	bool room = has_room(&r->down);
	int ms = room && r->stream->ops->pending(r->stream) ? 0 : -1;

	p[P_STREAM] = (struct pollfd){
	    .fd = room || has_bytes(&r->up) ? r->stream->ops->fd(r->stream) : -1,
	    .events = (room ? POLLIN : 0) | (has_bytes(&r->up) ? POLLOUT : 0),
	};
	p[P_SOCKET] = (struct pollfd){
	    .fd = r->fd,
	    .events = (has_room(&r->up) ? POLLIN : 0) | (has_bytes(&r->down) ? POLLOUT : 0),
	};
	p[P_WAKE] = (struct pollfd){.fd = r->wake, .events = POLLIN};
	if (poll(p, P_COUNT, ms) < 0)
		for (int i = 0; i < P_COUNT; i++)
			p[i].revents = 0;
}

/* One round: 0, or -errno when it is over. */
static int turn(struct relay *r)
{
	struct pollfd p[P_COUNT];
	int e, ended = 0;

	wait(r, p);
	if (p[P_WAKE].revents)
		return -ECANCELED;
	/* With nothing to read here the other end can only have gone. */
	if (p[P_SOCKET].revents & (POLLHUP | POLLERR) && !(p[P_SOCKET].revents & POLLIN))
		return -ECONNRESET;
	e = read_socket(r);
	if (e == 0)
		e = write_stream(r);
	if (e == 0 && has_room(&r->down))
		ended = read_stream(r);
	/* What came before its end still goes where it belongs, as far as that takes it. */
	if (e == 0)
		e = write_socket(r);
	return e < 0 ? e : ended;
}

static void *thread_main(void *arg)
{
	struct relay *r = arg;

	while (turn(r) == 0)
		;
	/* Whoever is at the other end of the pair sees the end at once. */
	(void)shutdown(r->fd, SHUT_RDWR);
	return NULL;
}

static int start_thread(struct relay *r)
{
	int e = thread_start(&r->thread, NULL, thread_main, r);

	r->has_thread = e == 0;
	return e;
}

/* ---- Life ---- */

int relay_start(struct bk_stream *stream, struct relay **ret, int *ret_fd)
{
	struct relay *r = calloc(1, sizeof(*r));
	int fds[2], e;

	if (!r) {
		stream->ops->free(stream);
		return -ENOMEM;
	}
	r->stream = stream;
	r->fd = r->wake = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		e = -errno;
		relay_free(r);
		return e;
	}
	r->fd = fds[0];
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e = r->wake < 0 ? -errno : start_thread(r);
	if (e < 0) {
		close(fds[1]);
		relay_free(r);
		return e;
	}
	*ret = r;
	*ret_fd = fds[1];
	return 0;
}

void relay_stop(struct relay *r)
{
	const uint64_t one = 1;

	if (!r->has_thread)
		return;
	r->has_thread = false;
	/* It fails where the counter is full, and then it is set. */
	if (write(r->wake, &one, sizeof(one)) < 0)
		(void)shutdown(r->fd, SHUT_RDWR);
	pthread_join(r->thread, NULL);
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	relay_stop(r);
	r->stream->ops->free(r->stream);
	closep(&r->fd);
	closep(&r->wake);
	free(r);
}

/* The length of the line of text that DATA begins with, 0 where it is none. */
static size_t text_line(const char *data, size_t n)
{
	size_t i;

	for (i = 0; i < n && data[i] != '\r' && data[i] != '\n'; i++)
		if ((unsigned char)data[i] < ' ' || data[i] == 0x7f)
			return 0;
	return i;
}

const char *relay_text(struct relay *r)
{
	const char *errors = engine_exec_stderr(r->stream);
	size_t n = strlen(errors), max = sizeof(r->text) - 1;

	while (n > 0 && (errors[n - 1] == '\n' || errors[n - 1] == '\r'))
		n--;
	/* The newest is what tells why. */
	if (n > max) {
		errors += n - max;
		n = max;
	}
	if (n == 0) {
		errors = r->first;
		n = text_line(r->first, r->n_first);
	}
	memcpy(r->text, errors, n);
	r->text[n] = '\0';
	for (char *p = r->text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	return r->text;
}
