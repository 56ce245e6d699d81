#include "base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int value(char c)
{
	const char *p;

	if (c == '+' || c == '/')
		return c == '+' ? 62 : 63;
	p = c ? strchr(digits, c) : NULL;
	return p ? (int)(p - digits) : -1;
}

char *base64_decode(const char *s)
{
	size_t n = strcspn(s, "=\r\n"), used = 0;
	char *out = malloc(n * 3 / 4 + 1);
	uint32_t bits = 0;
	unsigned have = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		int v = value(s[i]);

		if (v < 0)
			goto bad;
		bits = bits << 6 | v;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		out[used] = bits >> have & 0xff;
		if (!out[used++])
			goto bad;
	}
	out[used] = '\0';
	return out;
bad:
	free(out);
	return NULL;
}

char *base64_encode_url(const char *s)
{
	size_t n = strlen(s);
	char *out = malloc(4 * ((n + 2) / 3) + 1), *o = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint8_t)s[i] << 16;

		if (i + 1 < n)
			v |= (uint8_t)s[i + 1] << 8;
		if (i + 2 < n)
			v |= (uint8_t)s[i + 2];
		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*o++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*o = '\0';
	return out;
}
