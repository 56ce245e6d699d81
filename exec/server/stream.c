/*
 * A command's stream that the daemon relays: frames are scanned as they pass, and what the sandbox
 * must not say ends it.
 */
#include "connection.h"

#include "../../backends/base/log.h"

#include <string.h>
#include <sys/epoll.h>

void conn_stream_close(struct conn *c)
{
	if (!c->stream)
		return;
	if (c->sandbox.fd >= 0)
		loop_remove(&c->server->loop, &c->sandbox);
	c->stream->ops->free(TAKE(c->stream));
}

/* A frame begins. What a command changed is forgotten before its end can be read. */
static int sandbox_frame(struct conn *c)
{
	switch (c->from_sandbox.type) {
	case PROTO_STARTED:
	case PROTO_STDOUT:
	case PROTO_STDERR:
	case PROTO_CREDIT:
		return c->exited ? -EPROTO : 0;
	case PROTO_EXIT:
		if (c->exited || c->from_sandbox.left != PROTO_EXIT_SIZE)
			return -EPROTO;
		c->exited = true;
		conn_changed(c);
		return 0;
	case PROTO_ERROR:
		if (c->heard)
			return -EPROTO;
		c->exited = true;
		return 0;
	default:
		return -EPROTO;
	}
}

static int take_sandbox(struct conn *c, const uint8_t *data, size_t len)
{
	while (len > 0) {
		bool header;
		ssize_t n = scan_step(&c->from_sandbox, data, len, &header);
		int r = n < 0 ? n : header ? sandbox_frame(c) : 0;

		if (r < 0)
			return r;
		c->heard |= header;
		r = buf_add(&c->out, data, n);
		if (r < 0)
			return r;
		data += n;
		len -= n;
	}
	if (c->exited && scan_at_boundary(&c->from_sandbox)) {
		conn_stream_close(c);
		/* Its client may at once want the sandbox not to be in use. */
		bk_leave(&c->request.sandbox);
		c->state = ENDING;
	}
	return 0;
}

/* Where the guest was not started at all, the engine says why, in words in place of frames. What is
 * not printable in them does not reach a terminal. */
static void engine_words(const struct conn *c, const uint8_t *data, size_t len, struct err *ret)
{
	char words[256];
	size_t n = 0;

	for (; n < len && n < sizeof(words) - 1; n++)
		words[n] = data[n] >= ' ' && data[n] < 0x7f ? data[n] : ' ';
	while (n > 0 && words[n - 1] == ' ')
		n--;
	words[n] = '\0';
	err_set(ret, 0, "sandbox %s: the command was not started: %s", c->request.sandbox.name,
		words);
}

/* DATA: what came last, and could not be taken. */
static void sandbox_lost(struct conn *c, int r, const uint8_t *data, size_t len)
{
	struct err err;

	conn_changed(c);
	if (!c->heard && len > 0)
		engine_words(c, data, len, &err);
	else
		err_set(&err, r,
			"sandbox %s: the connection to the command was lost (%s); was the sandbox "
			"stopped? (aib status)",
			c->request.sandbox.name, r < 0 ? strerror(-r) : "end of stream");
	log_warning("%s", err.text);
	if (!c->heard || scan_at_boundary(&c->from_sandbox)) {
		buf_consume(&c->out, c->heard ? 0 : c->out.len);
		conn_end_with_error(c, r, &err);
		return;
	}
	/* In the middle of a frame no other can begin: the client sees the end. */
	conn_stream_close(c);
	c->state = ENDING;
}

void conn_stream_read(struct conn *c)
{
	uint8_t data[65536];

	do {
		size_t room = c->out.cap - c->out.len;
		ssize_t n;
		int r;

		if (room == 0)
			return;
		n = c->stream->ops->read(c->stream, data,
					 room < sizeof(data) ? room : sizeof(data));
		if (n == -EAGAIN)
			return;
		r = n > 0 ? take_sandbox(c, data, n) : n;
		if (n <= 0 || r < 0) {
			sandbox_lost(c, r, data, n > 0 ? n : 0);
			return;
		}
	} while (c->stream && c->stream->ops->pending(c->stream));
}

static void write_sandbox(struct conn *c)
{
	while (c->in.len > 0) {
		ssize_t n = c->stream->ops->write(c->stream, c->in.data, c->in.len);

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			/* The reading side knows how it ended. */
			buf_done(&c->in);
			return;
		}
		buf_consume(&c->in, n);
	}
}

static void sandbox_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, sandbox);

	if (events & EPOLLOUT)
		write_sandbox(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		conn_stream_read(c);
	conn_update(c);
}

void conn_stream_attach(struct conn *c, struct bk_stream *stream)
{
	int r;

	c->stream = stream;
	c->out.cap = RELAY_SIZE;
	r = loop_add(&c->server->loop, &c->sandbox, stream->ops->fd(stream), EPOLLIN);
	if (r < 0) {
		c->sandbox.fd = -1;
		conn_end_with_error(c, r, &(struct err){""});
		return;
	}
	c->state = RUNNING;
}

/* A stream that nothing is wanted of is not watched at all: its hangup would be reported for ever.
 */
void conn_stream_update(struct conn *c)
{
	struct loop *l = &c->server->loop;
	uint32_t events = 0;

	write_sandbox(c);
	if (c->out.len < c->out.cap)
		events |= EPOLLIN;
	if (c->in.len > 0)
		events |= EPOLLOUT;
	if (c->sandbox.fd < 0 && events)
		loop_add(l, &c->sandbox, c->stream->ops->fd(c->stream), events);
	else if (c->sandbox.fd >= 0 && !events)
		loop_remove(l, &c->sandbox);
	else if (events)
		loop_set(l, &c->sandbox, events);
}

void conn_stream_init(struct conn *c)
{
	c->sandbox = (struct watch){.fd = -1, .ready = sandbox_ready};
}
