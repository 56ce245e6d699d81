/* Frames, however they are cut, become one response; what is no text does not spoil it. */
#include "collect.h"
#include "protocol.h"
#include "test.h"

#include <errno.h>

struct stream {
	uint8_t data[1 << 20];
	size_t len;
};

static struct stream s;

static void frame(uint8_t type, const void *data, size_t len)
{
	proto_put_header(s.data + s.len, type, len);
	memcpy(s.data + s.len + PROTO_HEADER, data, len);
	s.len += PROTO_HEADER + len;
}

static void exit_frame(uint8_t how, uint8_t value, uint8_t timed_out)
{
	struct proto_exit e = {how, value, timed_out};
	uint8_t data[PROTO_EXIT_SIZE];

	proto_put_exit(data, &e);
	frame(PROTO_EXIT, data, sizeof(data));
}

static cJSON *collect(size_t limit, size_t step)
{
	struct collect *c = collect_new(limit);
	cJSON *o;
	int r = 0;

	for (size_t at = 0; at < s.len && r == 0; at += step)
		r = collect_feed(c, s.data + at, at + step <= s.len ? step : s.len - at);
	CHECK_EQ(r, 1);
	o = collect_response(c);
	collect_free(c);
	return o;
}

static const char *text(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItem(o, key)->valuestring;
}

static double number(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItem(o, key)->valuedouble;
}

static void frames_may_be_cut_anywhere(void)
{
	for (size_t step = 1; step < 40; step++) {
		cJSON *o;

		s.len = 0;
		frame(PROTO_STARTED, "", 0);
		frame(PROTO_STDOUT, "one ", 4);
		frame(PROTO_STDERR, "two ", 4);
		frame(PROTO_STDOUT, "", 0);
		frame(PROTO_STDOUT, "three", 5);
		exit_frame(PROTO_EXITED, 7, 0);
		o = collect(100, step);
		CHECK_STR(text(o, "output"), "one two three");
		CHECK_STR(text(o, "stdout"), "one three");
		CHECK_STR(text(o, "stderr"), "two ");
		CHECK_EQ(number(o, "exit_code"), 7);
		CHECK(cJSON_IsNull(cJSON_GetObjectItem(o, "signal")));
		CHECK(cJSON_IsFalse(cJSON_GetObjectItem(o, "truncated")));
		cJSON_Delete(o);
	}
}

static void a_timeout_keeps_what_was_printed(void)
{
	cJSON *o;

	s.len = 0;
	frame(PROTO_STDOUT, "part", 4);
	exit_frame(PROTO_SIGNALLED, 15, 1);
	o = collect(100, 1000);
	CHECK_STR(text(o, "stdout"), "part");
	CHECK_EQ(number(o, "exit_code"), 124);
	CHECK_EQ(number(o, "signal"), 15);
	CHECK(cJSON_IsTrue(cJSON_GetObjectItem(o, "timed_out")));
	cJSON_Delete(o);
}

static void the_limit_counts_characters(void)
{
	cJSON *o;

	s.len = 0;
	for (int i = 0; i < 10; i++)
		frame(PROTO_STDOUT, "\xc3\xa4\xc3\xb6", 4);
	exit_frame(PROTO_EXITED, 0, 0);
	o = collect(20, 7);
	CHECK_EQ(strlen(text(o, "stdout")), 40);
	CHECK(cJSON_IsFalse(cJSON_GetObjectItem(o, "truncated")));
	cJSON_Delete(o);
	o = collect(19, 7);
	CHECK_EQ(strlen(text(o, "stdout")), 38);
	CHECK(cJSON_IsTrue(cJSON_GetObjectItem(o, "truncated")));
	cJSON_Delete(o);
}

static void what_is_no_text_is_replaced(void)
{
	cJSON *o;

	s.len = 0;
	frame(PROTO_STDOUT, "a\0b\xff\xed\xa0\x80", 7);
	exit_frame(PROTO_EXITED, 0, 0);
	o = collect(100, 3);
	CHECK_STR(text(o, "stdout"), "a\xef\xbf\xbd"
				     "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	cJSON_Delete(o);
}

static void an_error_is_told(void)
{
	cJSON *o;

	s.len = 0;
	frame(PROTO_ERROR, "no sandbox", 10);
	o = collect(100, 1);
	CHECK_STR(text(o, "error"), "no sandbox");
	CHECK_EQ(number(o, "exit_code"), 125);
	cJSON_Delete(o);
}

static void broken_frames_are_refused(void)
{
	static const uint8_t too_long[PROTO_HEADER] = {1, 0, 1, 0, PROTO_STDOUT};
	static const uint8_t not_zero[PROTO_HEADER] = {0, 0, 0, 0, PROTO_STDOUT, 1};
	static const uint8_t bad_exit[] = {1, 0, 0, 0, PROTO_EXIT, 0, 0, 0, 0};
	static const uint8_t no_signal[PROTO_HEADER + PROTO_EXIT_SIZE] = {
	    PROTO_EXIT_SIZE, 0, 0, 0, PROTO_EXIT, 0, 0, 0, PROTO_SIGNALLED, 240};
	const struct {
		const uint8_t *data;
		size_t len;
	} bad[] = {{too_long, sizeof(too_long)},
		   {not_zero, sizeof(not_zero)},
		   {bad_exit, sizeof(bad_exit)},
		   {no_signal, sizeof(no_signal)}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct collect *c = collect_new(10);

		CHECK_EQ(collect_feed(c, bad[i].data, bad[i].len), -EPROTO);
		collect_free(c);
	}
}

int main(void)
{
	frames_may_be_cut_anywhere();
	a_timeout_keeps_what_was_printed();
	the_limit_counts_characters();
	what_is_no_text_is_replaced();
	an_error_is_told();
	broken_frames_are_refused();
	return 0;
}
