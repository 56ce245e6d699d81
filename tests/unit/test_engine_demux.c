/* The Engine's stream of several outputs: any split of the bytes gives the same outputs. */
#include "base/buf.h"
#include "docker/engine/demux.h"
#include "test.h"

#include <errno.h>
#include <stdint.h>

struct outputs {
	struct buf of[3];
	int result; /* of the end, or -EPROTO before */
};

static void outputs_done(struct outputs *o)
{
	buf_done(&o->of[1]);
	buf_done(&o->of[2]);
}

static void take(struct outputs *o, const struct demux_run *run)
{
	if (run->len == 0)
		return;
	CHECK(run->which == 1 || run->which == 2);
	CHECK_EQ(buf_add(&o->of[run->which], run->data, run->len), 0);
}

/* Feed DATA in pieces of 1 to MAX bytes. The pieces are copies, so that reads beyond them show. */
static void feed(struct outputs *o, enum demux_form form, const char *data, size_t n, size_t max)
{
	struct demux d = {.form = form};
	struct demux_run run;

	*o = (struct outputs){.of[1] = BUF_INIT(1 << 20), .of[2] = BUF_INIT(1 << 20)};
	while (n > 0) {
		size_t piece = 1 + rand() % max, used = 0;
		char *copy;

		if (piece > n)
			piece = n;
		copy = malloc(piece);
		memcpy(copy, data, piece);
		do {
			ssize_t r = demux_next(&d, copy + used, piece - used, &run);

			if (r < 0) {
				o->result = r;
				free(copy);
				return;
			}
			CHECK((size_t)r <= piece - used);
			used += r;
			take(o, &run);
		} while (used < piece || run.len > 0);
		free(copy);
		data += piece;
		n -= piece;
	}
	while ((o->result = demux_end(&d, &run)) > 0)
		take(o, &run);
}

static void add_frame(struct buf *b, int which, const void *data, uint32_t n)
{
	unsigned char head[8] = {which, 0, 0, 0, n >> 24, n >> 16, n >> 8, n};

	CHECK_EQ(buf_add(b, head, 8), 0);
	CHECK_EQ(buf_add(b, data, n), 0);
}

static void any_split_of_frames_gives_the_same_outputs(void)
{
	for (int round = 0; round < 500; round++) {
		_cleanup_buf_ struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20),
					 errors = BUF_INIT(1 << 20);
		_cleanup_(outputs_done) struct outputs o;

		for (int i = rand() % 20; i >= 0; i--) {
			char data[300];
			size_t n = rand() % sizeof(data);
			int which = rand() % 3;

			for (size_t k = 0; k < n; k++)
				data[k] = rand() % 4;
			add_frame(&in, which, data, n);
			CHECK_EQ(buf_add(which == 2 ? &errors : &out, data, n), 0);
		}
		feed(&o, round % 2 ? DEMUX_FRAMED : DEMUX_UNKNOWN, in.data, in.len,
		     round % 3 ? 400 : 3);
		CHECK_EQ(o.result, 0);
		CHECK_EQ(o.of[1].len, out.len);
		CHECK_EQ(o.of[2].len, errors.len);
		CHECK(out.len == 0 || memcmp(o.of[1].data, out.data, out.len) == 0);
		CHECK(errors.len == 0 || memcmp(o.of[2].data, errors.data, errors.len) == 0);
	}
}

static void bare_output_is_output(void)
{
	static const struct {
		const char *data;
		size_t n;
	} bare[] = {
	    {"hello, world", 12},	   {"x", 1}, {"\1", 1}, {"\1\0\0", 3}, {"\1\0\0x", 4},
	    {"\2\0\0\0\x7f\0\0\0zzz", 11}, /* would be a frame of 2 GiB */
	    {"\0\0\0\0\x10\0\0\0", 8},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bare); i++)
		for (int max = 1; max < 12; max++) {
			_cleanup_(outputs_done) struct outputs o;

			feed(&o, DEMUX_UNKNOWN, bare[i].data, bare[i].n, max);
			CHECK_EQ(o.result, 0);
			CHECK_EQ(o.of[1].len, bare[i].n);
			CHECK(memcmp(o.of[1].data, bare[i].data, bare[i].n) == 0);
			CHECK_EQ(o.of[2].len, 0);
		}
}

static void a_broken_frame_is_an_error(void)
{
	static const struct {
		const char *data;
		size_t n;
	} broken[] = {
	    {"\1\0\0\0\0\0\0\5hell", 12},	 /* ends within the payload */
	    {"\1\0\0\0\0\0\0\1x\1\0", 11},	 /* ends within a header */
	    {"\1\0\0\0\0\0\0\1x\7\0\0\0\0", 14}, /* an output that is not there */
	    {"\1\0\0\0\0\0\0\1x\1\0\0\0\x7f\0\0\0", 17},
	};

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		for (int max = 1; max < 18; max++) {
			_cleanup_(outputs_done) struct outputs o;

			feed(&o, DEMUX_UNKNOWN, broken[i].data, broken[i].n, max);
			CHECK_EQ(o.result, -EPROTO);
		}
}

int main(void)
{
	srand(1);
	any_split_of_frames_gives_the_same_outputs();
	bare_output_is_output();
	a_broken_frame_is_an_error();
	return 0;
}
