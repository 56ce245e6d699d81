/*
 * What is shown while routes are made usable: on a terminal one line a route, rewritten in place
 * and left there where it took a while; elsewhere nothing. The text comes from engines: only
 * printable characters get through.
 */
#ifndef AIB_FUSE_PROGRESS_H
#define AIB_FUSE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool terminal;
	const char *route;
	uint64_t start_ms;
	bool shown;
};

void progress_init(struct progress *p);
void progress_begin(struct progress *p, const char *route);
/* As struct bk_ops's `prepare` wants it; CTX is the progress. */
void progress_line(void *ctx, const char *text);
void progress_end(struct progress *p, bool ok);

#endif
