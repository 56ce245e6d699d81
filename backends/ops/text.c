/*
 * Text of results: JSON strings out of any bytes, paths, times.
 */
#include "internal.h"

#include "../base/utf8.h"

#include <string.h>

static int add_special(struct buf *out, unsigned char c)
{
	switch (c) {
	case '"':
		return buf_adds(out, "\\\"");
	case '\\':
		return buf_adds(out, "\\\\");
	case '\n':
		return buf_adds(out, "\\n");
	case '\r':
		return buf_adds(out, "\\r");
	case '\t':
		return buf_adds(out, "\\t");
	default:
		return buf_addf(out, "\\u%04x", c);
	}
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

ssize_t ops_json_bytes(struct buf *out, const void *data, size_t len, bool last)
{
	const unsigned char *p = data;
	size_t at = 0;
	int r = 0;

	while (at < len && r == 0) {
		size_t run = at;
		int n;

		while (run < len && is_plain(p[run]))
			run++;
		if (run > at) {
			r = buf_add(out, p + at, run - at);
			at = run;
			continue;
		}
		n = utf8_length(p + at, len - at);
		if (n < 0 && !last)
			break;
		if (n <= 0)
			r = buf_adds(out, "\xef\xbf\xbd");
		else
			r = n == 1 ? add_special(out, p[at]) : buf_add(out, p + at, n);
		at += n > 0 ? n : 1;
	}
	return r < 0 ? r : (ssize_t)at;
}

int ops_json_string(struct buf *out, const void *data, size_t len)
{
	int r = buf_adds(out, "\"");
	ssize_t n = r < 0 ? r : ops_json_bytes(out, data, len, true);

	return n < 0 ? (int)n : buf_adds(out, "\"");
}

int ops_join(struct buf *out, const char *dir, const char *name, size_t len)
{
	size_t n = strlen(dir);
	int r = buf_add(out, dir, n);

	if (r == 0 && n > 0 && len > 0 && dir[n - 1] != '/')
		r = buf_adds(out, "/");
	return r < 0 ? r : buf_add(out, name, len);
}

void ops_time(const struct timespec *t, char ret[40])
{
	struct tm tm;
	size_t n = 0;

	if (gmtime_r(&t->tv_sec, &tm))
		n = strftime(ret, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, 40 - n, ".%09ldZ", (long)t->tv_nsec % 1000000000);
}
