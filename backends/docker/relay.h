/*
 * Carries bytes both ways between a command's stream (which is not a descriptor to read and write:
 * HTTP, TLS and the demultiplexer are in between) and a socket, on a thread of its own. Its memory
 * is two buffers; who does not take what is sent to it is waited for, so that it slows down who
 * sends. Either side's end ends both. It knows nothing of what it carries.
 */
#ifndef AIB_DOCKER_RELAY_H
#define AIB_DOCKER_RELAY_H

#include "../backend.h"

struct relay;

/*
 * Start to carry between STREAM and one end of a socketpair, whose other end is *ret_fd, the
 * caller's. STREAM is taken whatever happens. Returns 0 or -errno. Does not block.
 */
int relay_start(struct bk_stream *stream, struct relay **ret, int *ret_fd);

/* End it, if it has not ended by itself, and wait for its thread: it does not outlast a system
 * call. The stream stays open. Idempotent. */
void relay_stop(struct relay *r);
/* Stop, close the stream, free. Takes NULL. */
void relay_free(struct relay *r);

/*
 * After relay_stop. What the command printed that is no part of its protocol: its standard error,
 * or, where its output begins with a line of text, that line (an engine says so that it could not
 * start it). Printable, without a newline; empty for nothing. Valid until relay_free.
 */
const char *relay_text(struct relay *r);

#endif
