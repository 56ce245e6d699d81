/* What a client writes, cut into lines, each at most so long: a longer one is passed over. */
#ifndef AIB_MCP_LINES_H
#define AIB_MCP_LINES_H

#include "base/buf.h"

#include <stdbool.h>

struct lines {
	struct buf in; /* its cap is the longest line, with its newline */
	size_t seen;   /* bytes of it that hold no newline */
	size_t taken;  /* bytes of the line that was given last */
	bool skipping; /* the rest of one that is too long */
	bool end;      /* there is no more input */
};

/* Read what is there; FD is ready. Returns 0, also at the end, or -errno. */
int lines_read(struct lines *l, int fd);
/*
 * The next line, without its newline, until the next call of either; its length in *RET_LEN. NULL:
 * there is none yet. *RET_LONG: one was too long, and is passed over.
 */
char *lines_next(struct lines *l, size_t *ret_len, bool *ret_long);

#endif
