/* Frames of the exec protocol (protocol.h) at the end of a buffer: 0, -E2BIG or -ENOMEM. */
#ifndef AIB_EXEC_FRAMES_H
#define AIB_EXEC_FRAMES_H

#include "protocol.h"

#include "base/buf.h"

#include <stdbool.h>

/* One frame, whole or not at all; LEN is at most PROTO_MAX_PAYLOAD. */
int frames_add(struct buf *out, uint8_t type, const void *data, size_t len);
/* Any number of bytes in as many as they need; with SHORT_LAST the last one is always shorter than
 * PROTO_MAX_PAYLOAD, and empty where it has to be. */
int frames_add_all(struct buf *out, uint8_t type, const void *data, size_t len, bool short_last);

#endif
