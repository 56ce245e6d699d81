/* A regular expression and a text: what is found is a line of it, once, in order. */
#include "fuzz.h"
#include "ops/match.h"

static void find_all(struct match_thread *t, const char *text, size_t len)
{
	size_t from = 0, start, end;

	while (from <= len && match_line(t, text, len, from, &start, &end) == 1) {
		CHECK(start >= from && end >= start && end <= len);
		CHECK(start == 0 || text[start - 1] == '\n');
		CHECK(end == len || text[end] == '\n');
		CHECK(!memchr(text + start, '\n', end - start));
		from = end + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct match_thread *t;
	struct err err = {""};
	struct match *m;
	char *pattern;

	if (size == 0)
		return 0;
	size--;
	pattern = fuzz_field(&data, &size, NULL);
	if (match_new(pattern, data[size] & 1, &m, &err) == 0) {
		CHECK_EQ(match_thread_new(m, &t), 0);
		find_all(t, (const char *)data, size);
		match_thread_free(t);
		match_free(m);
	} else {
		CHECK(err.text[0]);
	}
	free(pattern);
	return 0;
}
