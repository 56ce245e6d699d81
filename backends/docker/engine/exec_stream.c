/* See exec_stream.h. */
#include "exec_stream.h"

#include "../../base/log.h"

#include <string.h>

/* ---- What is kept ---- */

static void keep_errors(struct exec_stream *s, const char *data, size_t n)
{
	if (s->sink) {
		size_t room = s->sink->cap - s->sink->len;

		(void)buf_add(s->sink, data, n < room ? n : room);
		return;
	}
	log_debug("exec: %.*s", (int)(n < 1024 ? n : 1024), data);
	if (n > EXEC_ERRORS) {
		data += n - EXEC_ERRORS;
		n = EXEC_ERRORS;
	}
	if (s->errors_len + n > EXEC_ERRORS) {
		size_t drop = s->errors_len + n - EXEC_ERRORS;

		memmove(s->errors, s->errors + drop, s->errors_len - drop);
		s->errors_len -= drop;
	}
	memcpy(s->errors + s->errors_len, data, n);
	s->errors_len += n;
}

static void keep_first(struct exec_stream *s, const char *data, size_t n)
{
	if (n > EXEC_FIRST - s->first_len)
		n = EXEC_FIRST - s->first_len;
	memcpy(s->first + s->first_len, data, n);
	s->first_len += n;
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

void engine_exec_text(struct bk_stream *stream, char *ret, size_t size)
{
	const struct exec_stream *s = container_of(stream, struct exec_stream, stream);
	const char *text = s->errors;
	size_t n = s->errors_len;

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	if (n == 0) {
		text = s->first;
		n = text_line(s->first, s->first_len);
	}
	/* The newest is what tells why. */
	if (n > size - 1) {
		text += n - (size - 1);
		n = size - 1;
	}
	for (size_t i = 0; i < n; i++)
		ret[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
	ret[n] = '\0';
}

/* ---- Reading ---- */

/* RUN may be empty: then it points to nothing. */
static void take_run(struct exec_stream *s, const struct demux_run *run)
{
	if (run->len == 0)
		return;
	if (run->which == 2) {
		keep_errors(s, run->data, run->len);
		return;
	}
	keep_first(s, run->data, run->len);
	s->run = *run;
}

/* Take runs from what was received until there is one of output: 1, 0 for none, or -EIO. */
static int take_apart(struct exec_stream *s)
{
	while (s->run.len == 0) {
		struct demux_run run = {0};
		/* With no input left too: it may hold a run that came out of the header. */
		ssize_t n = demux_next(&s->demux, s->in + s->at, s->len - s->at, &run);

		if (n < 0)
			return -EIO;
		s->at += n;
		take_run(s, &run);
		if (n == 0 && run.len == 0)
			return 0;
	}
	return 1;
}

/* 1 for bytes, 0 at the end (which may leave a last run), -EAGAIN or -errno. */
static int receive(struct exec_stream *s)
{
	struct demux_run run = {0};
	ssize_t n = http_conn_recv(s->conn, s->in, sizeof(s->in));

	if (n < 0)
		return n;
	s->at = 0;
	s->len = n;
	if (n > 0)
		return 1;
	s->ended = true;
	n = demux_end(&s->demux, &run);
	if (n < 0)
		return -EIO;
	take_run(s, &run);
	return 0;
}

/* Until there is a run of output: 1; 0 at the end; -EAGAIN or -errno. */
static int fill(struct exec_stream *s)
{
	int r = take_apart(s);

	if (r != 0 || s->ended)
		return r;
	r = receive(s);
	if (r == 0)
		return s->run.len > 0;
	if (r > 0)
		r = take_apart(s);
	return r == 0 ? -EAGAIN : r;
}

ssize_t exec_stream_read(struct exec_stream *s, void *data, size_t size)
{
	int r;

	if (s->failed)
		return s->failed;
	r = s->run.len > 0 ? 1 : fill(s);
	if (r < 0 && r != -EAGAIN)
		s->failed = r;
	if (r <= 0)
		return r;
	if (size > s->run.len)
		size = s->run.len;
	memcpy(data, s->run.data, size);
	s->run.data = (const char *)s->run.data + size;
	s->run.len -= size;
	return size;
}

/* ---- As a stream ---- */

static ssize_t stream_read(struct bk_stream *stream, void *data, size_t size)
{
	return exec_stream_read(container_of(stream, struct exec_stream, stream), data, size);
}

static ssize_t stream_write(struct bk_stream *stream, const void *data, size_t size)
{
	return http_conn_send(container_of(stream, struct exec_stream, stream)->conn, data, size);
}

static int stream_fd(struct bk_stream *stream)
{
	return http_conn_fd(container_of(stream, struct exec_stream, stream)->conn);
}

static bool stream_pending(struct bk_stream *stream)
{
	struct exec_stream *s = container_of(stream, struct exec_stream, stream);

	return s->run.len > 0 || s->at < s->len || http_conn_pending(s->conn);
}

static void stream_free(struct bk_stream *stream)
{
	exec_stream_free(container_of(stream, struct exec_stream, stream));
}

static const struct bk_stream_ops stream_ops = {
    .fd = stream_fd,
    .pending = stream_pending,
    .read = stream_read,
    .write = stream_write,
    .free = stream_free,
};

struct exec_stream *exec_stream_new(void)
{
	struct exec_stream *s = calloc(1, sizeof(*s));

	if (s)
		s->stream.ops = &stream_ops;
	return s;
}

void exec_stream_free(struct exec_stream *s)
{
	if (!s)
		return;
	http_conn_close(s->conn);
	free(s);
}
