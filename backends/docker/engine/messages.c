#include "messages.h"

#include <string.h>

struct reader {
	struct engine *e;
	int (*take)(void *ctx, const cJSON *message, struct err *err);
	void *ctx;
};

static int message(struct reader *rd, const char *line, size_t len, struct err *err)
{
	cJSON *json = cJSON_ParseWithLength(line, len);
	int r = json ? rd->take(rd->ctx, json, err) : engine_garbled(rd->e, err, "JSON");

	cJSON_Delete(json);
	return r;
}

/* All whole lines of B, and at the END what is left. */
static int messages(struct reader *rd, struct buf *b, bool end, struct err *err)
{
	while (b->len > 0) {
		const char *nl = memchr(b->data, '\n', b->len);
		size_t n = nl ? (size_t)(nl - b->data) : b->len;
		int r = 0;

		if (!nl && !end)
			return 0;
		if (strspn(b->data, " \t\r") < n)
			r = message(rd, b->data, n, err);
		if (r < 0)
			return r;
		buf_consume(b, nl ? n + 1 : n);
	}
	return 0;
}

int engine_messages(struct bk_req *req, struct engine *e, struct http_reply *x,
		    int (*take)(void *ctx, const cJSON *message, struct err *err), void *ctx,
		    struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT(MESSAGES_MAX_LINE);
	struct reader rd = {.e = e, .take = take, .ctx = ctx};
	ssize_t n;

	do {
		int r = buf_reserve(&b, 4096);

		if (r < 0)
			return r == -E2BIG ? engine_garbled(e, err, "of a sane length") : r;
		n = http_read(req, x, b.data + b.len, 4096, err);
		if (n < 0)
			return n;
		b.len += n;
		b.data[b.len] = '\0';
		r = messages(&rd, &b, n == 0, err);
		if (r < 0)
			return r;
	} while (n > 0);
	return 0;
}
