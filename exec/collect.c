#include "collect.h"

#include "../backends/base/buf.h"
#include "../backends/base/clock.h"
#include "../backends/base/utf8.h"
#include "scan.h"

#include <string.h>

struct collect {
	struct scan scan;
	struct buf output, out, err; /* raw bytes, each at most `limit` characters of four bytes */
	struct buf small;	     /* payload of EXIT or ERROR */
	size_t limit;
	bool truncated;
	struct proto_exit exit;
	char *error;
	bool ended;
	uint64_t started_ms, ended_ms;
};

struct collect *collect_new(size_t limit)
{
	struct collect *c = calloc(1, sizeof(*c));
	size_t bytes = limit < SIZE_MAX / 8 ? limit * 4 + 4 : SIZE_MAX / 2;

	if (!c)
		return NULL;
	c->limit = limit;
	c->output = c->out = c->err = BUF_INIT(bytes);
	c->small = BUF_INIT(PROTO_MAX_PAYLOAD);
	c->started_ms = clock_ms();
	return c;
}

void collect_free(struct collect *c)
{
	if (!c)
		return;
	buf_done(&c->output);
	buf_done(&c->out);
	buf_done(&c->err);
	buf_done(&c->small);
	free(c->error);
	free(c);
}

/* Keep what fits and note what does not. */
static void keep(struct collect *c, struct buf *b, const void *data, size_t len)
{
	size_t room = b->cap - b->len;

	if (len > room) {
		len = room;
		c->truncated = true;
	}
	if (buf_add(b, data, len) < 0)
		c->truncated = true;
}

static void payload(struct collect *c, const void *data, size_t len)
{
	switch (c->scan.type) {
	case PROTO_STDOUT:
		keep(c, &c->out, data, len);
		keep(c, &c->output, data, len);
		break;
	case PROTO_STDERR:
		keep(c, &c->err, data, len);
		keep(c, &c->output, data, len);
		break;
	case PROTO_EXIT:
	case PROTO_ERROR:
		keep(c, &c->small, data, len);
		break;
	}
}

static void end(struct collect *c)
{
	c->ended = true;
	c->ended_ms = clock_ms();
}

void collect_fail(struct collect *c, const char *text)
{
	if (c->ended)
		return;
	c->exit.how = PROTO_FAILED;
	c->error = strdup(text);
	end(c);
}

static int frame_done(struct collect *c)
{
	if (c->scan.type == PROTO_ERROR) {
		collect_fail(c, c->small.data ? c->small.data : "failed");
		return 1;
	}
	if (c->scan.type != PROTO_EXIT)
		return 0;
	if (proto_get_exit((uint8_t *)c->small.data, c->small.len, &c->exit) < 0)
		return -EPROTO;
	end(c);
	return 1;
}

int collect_feed(struct collect *c, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		bool header, in_payload = c->scan.left > 0;
		ssize_t n = scan_step(&c->scan, p, len, &header);
		int r;

		if (n < 0)
			return n;
		if (in_payload)
			payload(c, p, n);
		r = (in_payload || header) && c->scan.left == 0 ? frame_done(c) : 0;
		if (r != 0)
			return r;
		p += n;
		len -= n;
	}
	return 0;
}

static int add_text(const struct collect *c, cJSON *o, const char *key, const struct buf *b,
		    bool *truncated)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	int r = utf8_add(&text, b->data, b->len, c->limit, truncated);

	if (r == 0 && !cJSON_AddStringToObject(o, key, text.data ? text.data : ""))
		r = -ENOMEM;
	buf_done(&text);
	return r;
}

int collect_status(const struct collect *c)
{
	return proto_exit_status(&c->exit);
}

cJSON *collect_response(const struct collect *c)
{
	cJSON *o = cJSON_CreateObject();
	bool truncated = c->truncated, signalled = c->exit.how == PROTO_SIGNALLED;
	int r = o ? 0 : -ENOMEM;

	if (r == 0)
		r = add_text(c, o, "output", &c->output, &truncated);
	if (r == 0)
		r = add_text(c, o, "stdout", &c->out, &truncated);
	if (r == 0)
		r = add_text(c, o, "stderr", &c->err, &truncated);
	if (r < 0) {
		cJSON_Delete(o);
		return NULL;
	}
	cJSON_AddNumberToObject(o, "exit_code", collect_status(c));
	if (signalled)
		cJSON_AddNumberToObject(o, "signal", c->exit.value);
	else
		cJSON_AddNullToObject(o, "signal");
	cJSON_AddBoolToObject(o, "truncated", truncated);
	cJSON_AddBoolToObject(o, "timed_out", c->exit.timed_out);
	cJSON_AddNumberToObject(o, "duration_ms",
				(c->ended ? c->ended_ms : clock_ms()) - c->started_ms);
	if (c->error)
		cJSON_AddStringToObject(o, "error", c->error);
	return o;
}
