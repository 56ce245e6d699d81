/* The Engine's stream of several outputs gives the same however it is cut. The first byte is the
 * size of the pieces. */
#include "docker/engine/demux.h"

#include "base/buf.h"
#include "fuzz.h"

struct outcome {
	struct buf streams[3];
	bool failed;
};

static void take(struct outcome *o, const struct demux_run *run)
{
	if (run->len == 0)
		return;
	CHECK(run->which >= 1 && run->which <= 2);
	CHECK_EQ(buf_add(&o->streams[run->which], run->data, run->len), 0);
}

/* A piece of the input: all of it, or up to the error. */
static void feed(struct outcome *o, struct demux *d, const uint8_t *data, size_t size)
{
	struct demux_run run;
	size_t pos = 0;
	ssize_t n;

	do {
		n = demux_next(d, data + pos, size - pos, &run);
		o->failed = n < 0;
		if (o->failed)
			return;
		CHECK(pos + n <= size);
		take(o, &run);
		pos += n;
	} while (pos < size || run.len > 0);
}

static void demux_all(struct outcome *o, const uint8_t *data, size_t size, size_t piece)
{
	struct demux d = {0};
	struct demux_run run;

	*o = (struct outcome){{BUF_INIT(1 << 24), BUF_INIT(1 << 24), BUF_INIT(1 << 24)}, false};
	for (size_t pos = 0; pos < size && !o->failed; pos += piece)
		feed(o, &d, data + pos, size - pos < piece ? size - pos : piece);
	if (!o->failed && demux_end(&d, &run) > 0)
		take(o, &run);
}

static void check_same(const struct buf *a, const struct buf *b)
{
	CHECK_EQ(a->len, b->len);
	CHECK(a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, pieces;

	if (size < 2)
		return 0;
	demux_all(&whole, data + 1, size - 1, size);
	demux_all(&pieces, data + 1, size - 1, 1 + data[0]);
	CHECK_EQ(whole.failed, pieces.failed);
	for (int i = 1; i <= 2; i++) {
		check_same(&whole.streams[i], &pieces.streams[i]);
		buf_done(&whole.streams[i]);
		buf_done(&pieces.streams[i]);
	}
	return 0;
}
