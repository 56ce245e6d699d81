#include "call.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "frames.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define TELL_MS 1000
#define MAX_ERR 65536

/* ---- Life ---- */

static void want_done(struct call_want *w)
{
	cJSON_Delete(w->request);
	cJSON_Delete(w->holder);
	free(w->uri);
}

/* Closing the connection is what ends a command. */
static void call_free(struct call *c)
{
	struct call **p = &c->mcp->calls;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	c->mcp->n_calls--;
	if (c->fd >= 0)
		close(c->fd);
	want_done(&c->want);
	asker_done(&c->asker);
	collect_free(c->collect);
	buf_done(&c->to);
	buf_done(&c->out);
	buf_done(&c->err);
	buf_done(&c->exit);
	free(c->error);
	free(c);
}

static void finish(struct call *c)
{
	c->want.finish(c);
	call_free(c);
}

static void fail(struct call *c, const char *text)
{
	if (c->over)
		return;
	c->error = strdup(text);
	c->over = true;
}

void call_cancel(struct call *c)
{
	if (c)
		call_free(c);
}

void call_end_all(struct mcp *m, const char *why)
{
	while (m->calls) {
		struct call *c = m->calls;

		if (!why) {
			call_free(c);
			continue;
		}
		fail(c, why);
		finish(c);
	}
}

static bool same_id(const cJSON *a, const cJSON *b)
{
	return cJSON_Compare(a, b, true);
}

struct call *call_find(struct mcp *m, const cJSON *id)
{
	struct call *c = m->calls;

	while (c && !same_id(c->asker.id, id))
		c = c->next;
	return c;
}

/* ---- Frames to the daemon ---- */

static int put_request(struct call *c)
{
	_cleanup_free_ char *text = cJSON_PrintUnformatted(c->want.request);

	if (!text)
		return -ENOMEM;
	if (strlen(text) > PROTO_MAX_REQUEST)
		return -E2BIG;
	return frames_add_all(&c->to, PROTO_REQUEST, text, strlen(text), true);
}

static int put_input(struct call *c)
{
	const char *input = c->want.input ? c->want.input : "";
	int r = frames_add_all(&c->to, PROTO_STDIN, input, strlen(input), false);

	return r < 0 ? r : frames_add_all(&c->to, PROTO_STDIN_EOF, "", 0, true);
}

static void connect_to(struct call *c)
{
	struct err err = {""};

	c->fd = registry_connect(&c->mcp->mount, &err);
	if (c->fd < 0 || fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
		fail(c, *err.text ? err.text : strerror(errno));
}

static void send_some(struct call *c)
{
	ssize_t n = send(c->fd, c->to.data, c->to.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0)
		buf_consume(&c->to, n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		buf_consume(&c->to, c->to.len); /* why is still to be read */
}

/* ---- Frames of the daemon's ---- */

static void too_long(struct call *c)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "the answer is longer than %llu bytes: ask for less (--max-result)",
		     (unsigned long long)c->mcp->limits.result) < 0)
		text = NULL;
	fail(c, text ? text : "out of memory");
}

/* The last bytes of what a command prints. */
static void remember(struct call *c, const char *data, size_t len)
{
	size_t room = sizeof(c->last) - 1, had = strlen(c->last);

	if (len > room) {
		data += len - room;
		len = room;
	}
	if (had + len > room) {
		memmove(c->last, c->last + had + len - room, room - len);
		had = room - len;
	}
	for (size_t i = 0; i < len; i++)
		c->last[had + i] = data[i] ? data[i] : ' ';
	c->last[had + len] = '\0';
}

static void keep_end(struct call *c, const void *data, size_t len)
{
	struct buf *b = &c->out;

	if (b->len + len > b->cap) {
		c->truncated = true;
		buf_consume(b, b->len + len - b->cap < b->len ? b->len + len - b->cap : b->len);
	}
	if (buf_add(b, data, len) < 0)
		c->truncated = true;
}

static void take_payload(struct call *c, const void *data, size_t len)
{
	uint8_t type = c->scan.type;
	bool output = type == PROTO_STDOUT || type == PROTO_STDERR;

	if (c->want.answer == CALL_COMMAND && output)
		remember(c, data, len);
	else if (c->want.answer == CALL_TAIL && output)
		keep_end(c, data, len);
	else if ((type == PROTO_STDOUT || (type == PROTO_REPLY && c->want.answer == CALL_REPLY)) &&
		 buf_add(&c->out, data, len) < 0)
		too_long(c);
	else if (type == PROTO_EXIT)
		(void)buf_add(&c->exit, data, len);
	else if (type == PROTO_STDERR || type == PROTO_ERROR)
		(void)buf_add(&c->err, data, len);
}

static void take_exit(struct call *c)
{
	struct proto_exit e;

	if (proto_get_exit((uint8_t *)c->exit.data, c->exit.len, &e) < 0) {
		fail(c, "the daemon's answer is not understood");
		return;
	}
	c->status = proto_exit_status(&e);
	c->over = true;
}

static void take_frame(struct call *c)
{
	switch (c->scan.type) {
	case PROTO_STARTED:
		if (put_input(c) < 0)
			fail(c, "out of memory");
		break;
	case PROTO_EXIT:
		take_exit(c);
		break;
	case PROTO_ERROR:
		fail(c, c->err.data ? c->err.data : "the daemon refused");
		break;
	case PROTO_REPLY:
		c->over |= c->frame < PROTO_MAX_PAYLOAD;
		break;
	}
}

static void take_bytes(struct call *c, const uint8_t *p, size_t len)
{
	while (len > 0 && !c->over) {
		bool header, payload = c->scan.left > 0;
		ssize_t n = scan_step(&c->scan, p, len, &header);

		if (n < 0) {
			fail(c, "the daemon's answer is not understood");
			return;
		}
		if (header)
			c->frame = c->scan.left;
		if (payload)
			take_payload(c, p, n);
		if ((payload || header) && c->scan.left == 0 && !c->over)
			take_frame(c);
		p += n;
		len -= n;
	}
}

static void receive_some(struct call *c)
{
	uint8_t data[65536];
	ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(c, "the daemon went away before the end (aib status)");
		return;
	}
	if (c->collect && collect_feed(c->collect, data, n) < 0)
		fail(c, "the daemon's answer is not understood");
	take_bytes(c, data, n);
}

/* ---- Asking ---- */

static int prepare(struct call *c)
{
	c->to = BUF_INIT(SIZE_MAX / 2);
	c->out = BUF_INIT(c->mcp->limits.result);
	c->err = BUF_INIT(MAX_ERR);
	c->exit = BUF_INIT(PROTO_EXIT_SIZE);
	if (c->want.answer == CALL_COMMAND && !(c->collect = collect_new(COLLECT_DEFAULT_LIMIT)))
		return -ENOMEM;
	return put_request(c);
}

void call_start(const struct request *q, struct call_want *want)
{
	struct mcp *m = q->mcp;
	struct call *c = calloc(1, sizeof(*c));
	int r;

	if (!c || asker_copy(&q->asker, &c->asker) < 0) {
		free(c);
		want_done(want);
		rpc_error(m, &q->asker, RPC_INTERNAL, "out of memory");
		return;
	}
	c->mcp = m;
	c->want = *want;
	c->fd = -1;
	c->started_ms = c->told_ms = clock_ms();
	c->next = m->calls;
	m->calls = c;
	m->n_calls++;
	r = prepare(c);
	if (r < 0)
		fail(c, r == -E2BIG ? "the arguments are too long" : strerror(-r));
	else if (m->mount.socket_dir)
		connect_to(c);
	if (c->over)
		finish(c);
}

void call_connect_all(struct mcp *m)
{
	for (struct call *c = m->calls, *next; c; c = next) {
		next = c->next;
		connect_to(c);
		if (c->over)
			finish(c);
	}
}

/* ---- The loop's ---- */

struct pollfd call_poll(const struct call *c)
{
	return (struct pollfd){.fd = c->fd, .events = POLLIN | (c->to.len > 0 ? POLLOUT : 0)};
}

void call_ready(struct call *c, short events)
{
	if (events & POLLOUT)
		send_some(c);
	if (events & (POLLIN | POLLHUP | POLLERR))
		receive_some(c);
	if (c->over)
		finish(c);
}

/* The last line of what a command printed, as text. */
static int last_line(const struct call *c, struct buf *out)
{
	size_t len = strlen(c->last);
	const char *p = c->last;

	while (len > 0 && (p[len - 1] == '\n' || p[len - 1] == '\r'))
		len--;
	for (size_t i = len; i > 0; i--)
		if (p[i - 1] == '\n' || p[i - 1] == '\r') {
			p += i;
			len -= i;
			break;
		}
	return utf8_add(out, p, len, SIZE_MAX, NULL);
}

uint64_t call_tell(struct call *c, uint64_t now_ms)
{
	_cleanup_buf_ struct buf text = BUF_INIT(4 * sizeof(c->last));
	double seconds = (now_ms - c->started_ms) / 1000.0;

	if (!c->asker.token)
		return 0;
	if (now_ms < c->told_ms + TELL_MS)
		return c->told_ms + TELL_MS;
	c->told_ms = now_ms;
	if (c->fd < 0)
		(void)buf_adds(&text, "the mount is being made");
	else if (*c->last)
		(void)last_line(c, &text);
	else
		(void)buf_addf(&text, "%.0f s", seconds);
	rpc_progress(c->mcp, &c->asker, seconds, text.data ? text.data : "");
	return now_ms + TELL_MS;
}
