/*
 * Frames in and out of non-blocking descriptors, for the two ends of the road: aib-exec and the
 * guest. Fixed buffers, so that neither a flood nor somebody who does not read makes a process
 * grow: where a buffer is full, its source is not read. Knows the C library and protocol.h only.
 */
#ifndef AIB_EXEC_PUMP_H
#define AIB_EXEC_PUMP_H

#include "protocol.h"

#include <stdbool.h>
#include <sys/types.h>

#define PUMP_CHUNK 32768 /* of bytes, for one frame */
#define PUMP_SPARE 256	 /* kept free for frames that are not bytes */

/* A byte queue: data[head .. head + len]. */
struct pump_queue {
	uint8_t *data;
	size_t size, head, len;
};

size_t pump_room(const struct pump_queue *q);
/* N is at most pump_room. */
void pump_add(struct pump_queue *q, const void *data, size_t n);
/* Write what FD takes without blocking. Bytes, or -errno (never -EAGAIN: that is 0). */
ssize_t pump_write(struct pump_queue *q, int fd);

void pump_frame(struct pump_queue *out, uint8_t type, const void *payload, uint32_t len);
/* Whether a chunk of bytes fits, the spare left aside. */
bool pump_has_room(const struct pump_queue *out);
/* Read at most MAX bytes, and a chunk, from FD into a frame. Bytes, 0 at the end, -EAGAIN, or
 * -errno. */
ssize_t pump_read(struct pump_queue *out, uint8_t type, int fd, size_t max);

/* One frame, as it comes in. */
struct pump_input {
	uint8_t data[PROTO_HEADER + PROTO_MAX_PAYLOAD];
	size_t len;
	/* As read(2), for bytes that come with something; NULL: read(2). */
	ssize_t (*read)(struct pump_input *, int fd, void *data, size_t size);
};

/*
 * Read from FD towards the next frame. 1 and the frame (*ret_payload is valid until the next call),
 * -EAGAIN where it is not whole yet, 0 at the end, or -errno; -EPROTO for what is no frame.
 */
int pump_input(struct pump_input *in, int fd, struct proto_header *ret,
	       const uint8_t **ret_payload);

#endif
