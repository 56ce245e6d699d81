#include "scan.h"

#include <errno.h>
#include <string.h>

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

ssize_t scan_step(struct scan *s, const uint8_t *data, size_t len, bool *ret_header)
{
	struct proto_header h;
	size_t n;

	*ret_header = false;
	if (s->left > 0) {
		n = min_size(len, s->left);
		s->left -= n;
		return n;
	}
	n = min_size(len, PROTO_HEADER - s->have);
	memcpy(s->header + s->have, data, n);
	s->have += n;
	if (s->have == PROTO_HEADER) {
		if (proto_get_header(s->header, &h) < 0)
			return -EPROTO;
		s->have = 0;
		s->left = h.len;
		s->type = h.type;
		*ret_header = true;
	}
	return n;
}
