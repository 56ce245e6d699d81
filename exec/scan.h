/*
 * Watches frames (protocol.h) go by in a byte stream, however it is cut, without holding payloads.
 */
#ifndef AIB_EXEC_SCAN_H
#define AIB_EXEC_SCAN_H

#include "protocol.h"

#include <stdbool.h>
#include <sys/types.h>

struct scan {
	uint8_t header[PROTO_HEADER];
	uint32_t have; /* bytes of the header that have come */
	uint32_t left; /* bytes of the payload that have not */
	uint8_t type;  /* of the frame that goes by */
};

/*
 * Advance over up to LEN bytes, at most to the end of the next header or of its payload, whichever
 * comes first. Returns the number of bytes passed, or -EPROTO. *ret_header is true where they end a
 * header: `type` and `left` then tell of the frame that begins.
 */
ssize_t scan_step(struct scan *s, const uint8_t *data, size_t len, bool *ret_header);

/* Whether the stream is between two frames. */
static inline bool scan_at_boundary(const struct scan *s)
{
	return s->have == 0 && s->left == 0;
}

#endif
