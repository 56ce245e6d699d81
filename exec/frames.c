#include "frames.h"

int frames_add(struct buf *out, uint8_t type, const void *data, size_t len)
{
	uint8_t header[PROTO_HEADER];
	int r;

	proto_put_header(header, type, len);
	r = buf_reserve(out, sizeof(header) + len);
	if (r < 0)
		return r;
	buf_add(out, header, sizeof(header));
	return buf_add(out, data, len);
}

int frames_add_all(struct buf *out, uint8_t type, const void *data, size_t len, bool short_last)
{
	const char *p = data;
	int r = 0;

	for (; len >= PROTO_MAX_PAYLOAD && r == 0; len -= PROTO_MAX_PAYLOAD) {
		r = frames_add(out, type, p, PROTO_MAX_PAYLOAD);
		p += PROTO_MAX_PAYLOAD;
	}
	if (r == 0 && (len > 0 || short_last))
		r = frames_add(out, type, p, len);
	return r;
}
