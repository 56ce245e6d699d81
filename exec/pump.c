#include "pump.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

size_t pump_room(const struct pump_queue *q)
{
	return q->size - q->len;
}

static void make_contiguous(struct pump_queue *q, size_t n)
{
	if (q->head + q->len + n <= q->size)
		return;
	memmove(q->data, q->data + q->head, q->len);
	q->head = 0;
}

void pump_add(struct pump_queue *q, const void *data, size_t n)
{
	if (n == 0)
		return;
	make_contiguous(q, n);
	memcpy(q->data + q->head + q->len, data, n);
	q->len += n;
}

ssize_t pump_write(struct pump_queue *q, int fd)
{
	ssize_t n;

	if (q->len == 0)
		return 0;
	n = write(fd, q->data + q->head, q->len);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	q->head += n;
	q->len -= n;
	if (q->len == 0)
		q->head = 0;
	return n;
}

void pump_frame(struct pump_queue *out, uint8_t type, const void *payload, uint32_t len)
{
	uint8_t header[PROTO_HEADER];

	proto_put_header(header, type, len);
	pump_add(out, header, sizeof(header));
	pump_add(out, payload, len);
}

bool pump_has_room(const struct pump_queue *out)
{
	return pump_room(out) >= PROTO_HEADER + PUMP_CHUNK + PUMP_SPARE;
}

ssize_t pump_read(struct pump_queue *out, uint8_t type, int fd, size_t max)
{
	uint8_t *frame;
	ssize_t n;

	make_contiguous(out, PROTO_HEADER + PUMP_CHUNK);
	frame = out->data + out->head + out->len;
	n = read(fd, frame + PROTO_HEADER, max < PUMP_CHUNK ? max : PUMP_CHUNK);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n > 0) {
		proto_put_header(frame, type, n);
		out->len += PROTO_HEADER + n;
	}
	return n;
}

int pump_input(struct pump_input *in, int fd, struct proto_header *ret, const uint8_t **ret_payload)
{
	struct proto_header header = {0};
	size_t want = PROTO_HEADER;
	ssize_t n;
	int r;

	for (;;) {
		if (in->len >= PROTO_HEADER) {
			r = proto_get_header(in->data, &header);
			if (r < 0)
				return r;
			want = PROTO_HEADER + header.len;
			if (in->len == want)
				break;
		}
		/* Never beyond this frame: the rest stays where back-pressure works. */
		n = in->read ? in->read(in, fd, in->data + in->len, want - in->len)
			     : read(fd, in->data + in->len, want - in->len);
		if (n <= 0)
			return n == 0 ? 0 : errno == EINTR ? -EAGAIN : -errno;
		in->len += n;
	}
	in->len = 0;
	*ret = header;
	*ret_payload = in->data + PROTO_HEADER;
	return 1;
}
