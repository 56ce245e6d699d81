/* See utf8.h. */
#include "utf8.h"

#include "macros.h"

int utf8_length(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char first, last, low, high; /* of the first byte, of the second */
		int length;
	} forms[] = {
	    {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		int length = forms[i].length;

		if (*p < forms[i].first || *p > forms[i].last)
			continue;
		for (int k = 1; k < length; k++) {
			if ((size_t)k >= n)
				return -1;
			if (k == 1 ? p[k] < forms[i].low || p[k] > forms[i].high
				   : (p[k] & 0xc0) != 0x80)
				return 0;
		}
		return length;
	}
	return 0;
}

int utf8_add(struct buf *out, const void *data, size_t len, size_t limit, bool *truncated)
{
	const unsigned char *p = data;
	int r = 0;

	for (size_t chars = 0; len > 0 && r == 0; chars++) {
		int length = *p ? utf8_length(p, len) : 0;
		size_t n = length > 0 ? length : 0;

		if (chars == limit) {
			if (truncated)
				*truncated = true;
			break;
		}
		r = n ? buf_add(out, p, n) : buf_adds(out, "\xef\xbf\xbd");
		n = n ? n : 1;
		p += n;
		len -= n;
	}
	return r;
}
