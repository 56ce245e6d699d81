/*
 * Takes apart the Engine's stream of several outputs: frames of an 8-byte header (u8 which, 3
 * zeros, u32 big-endian length) and payload; or, from engines that send none, the bare output.
 * Which of the two it is shows in the first bytes. Keeps nothing but a header. Pure.
 */
#ifndef AIB_DOCKER_DEMUX_H
#define AIB_DOCKER_DEMUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DEMUX_MAX_FRAME (16 << 20) /* a longer frame is an error */

enum demux_form { DEMUX_UNKNOWN, DEMUX_FRAMED, DEMUX_RAW };

struct demux {
	enum demux_form form; /* set to FRAMED where that is known, else 0 */
	uint8_t head[8];
	unsigned have;	/* of head */
	unsigned given; /* of head, for raw output */
	uint8_t which;	/* of the frame whose payload comes */
	uint32_t left;	/* of that */
};

/* Some payload: WHICH is 1 for output, 2 for errors. Points into the input, or into the demux. */
struct demux_run {
	int which;
	const void *data;
	size_t len;
};

/*
 * Take from DATA[0..N): the number of bytes that were used up, with a run of payload (len 0 for
 * none), or -EPROTO. A caller goes on until all was used up and no run came.
 */
ssize_t demux_next(struct demux *d, const void *data, size_t n, struct demux_run *ret);
/* The input has ended: 1 and a last run, 0 at a proper end, -EPROTO within a frame. */
int demux_end(struct demux *d, struct demux_run *ret);
/* Whether no frame or header is begun and not ended. */
bool demux_between(const struct demux *d);

#endif
