/*
 * The stream of a command: what the engine sends, taken apart into output, which read gives, and
 * standard error, which is kept. One thread may read while another writes.
 */
#ifndef AIB_DOCKER_EXEC_STREAM_H
#define AIB_DOCKER_EXEC_STREAM_H

#include "../engine.h"
#include "demux.h"
#include "http.h"

#define EXEC_IN (256 << 10)   /* bytes received at once */
#define EXEC_ERRORS (4 << 10) /* the newest bytes of standard error that are kept */
#define EXEC_FIRST 256	      /* the first bytes of output that are kept, for people */

struct exec_stream {
	struct bk_stream stream;
	struct http_conn *conn;
	struct demux demux;
	size_t at, len;	      /* of `in` */
	struct demux_run run; /* of output, not yet given */
	bool ended;
	int failed;
	/* Standard error goes to SINK where it is set, else its newest bytes are kept. */
	struct buf *sink;
	char errors[EXEC_ERRORS];
	size_t errors_len;
	char first[EXEC_FIRST];
	size_t first_len;
	char in[EXEC_IN];
};

/* Without a connection, which is to be set. NULL: no memory. */
struct exec_stream *exec_stream_new(void);
/* Closes the connection. Takes NULL. */
void exec_stream_free(struct exec_stream *s);
DEFINE_CLEANUP(struct exec_stream *, exec_stream_free)

/* As struct bk_stream_ops has it. Receives once at most: -EAGAIN also where that brought nothing
 * but standard error. */
ssize_t exec_stream_read(struct exec_stream *s, void *data, size_t size);

#endif
