/*
 * A connected stream of bytes: one socket, or two pipes (the standard input and output of an exec).
 * All that either end reads or writes passes here, so that descriptors can be passed beside the
 * bytes in one place. Pipes give SIGPIPE, which the program ignores.
 */
#ifndef AIB_REMOTE_STREAM_H
#define AIB_REMOTE_STREAM_H

#include "backend.h"

#include <sys/uio.h>

struct remote_stream {
	int in, out; /* the same one for a socket */
	bool socket;
	atomic_bool over; /* after remote_stream_shutdown */
};

/* Takes the descriptors, which become non-blocking where they are pipes. */
void remote_stream_init(struct remote_stream *s, int in, int out);
void remote_stream_done(struct remote_stream *s);

/* Neither waits. Bytes, 0 at the end, -EAGAIN, or -errno. */
ssize_t remote_stream_recv(struct remote_stream *s, void *data, size_t size);
/* Bytes taken, -EAGAIN, or -errno. */
ssize_t remote_stream_send(struct remote_stream *s, const struct iovec *iov, int n);
/* For who has nothing else to do: they wait, until the stream is shut down at the latest. */
/* All SIZE bytes, or fewer at the end; or -errno. */
ssize_t remote_stream_read(struct remote_stream *s, void *data, size_t size);
/* All of IOV, which is used up: 0, or -errno. */
int remote_stream_write(struct remote_stream *s, struct iovec *iov, int n);
/* Both ends see the end of a socket; who waits here is woken. */
void remote_stream_shutdown(struct remote_stream *s);

/* Bytes that were received before anyone asked for them; zeroed at first. */
struct remote_input {
	size_t pos, len;
	uint8_t data[32 * 1024];
};

/*
 * Bring *GOT, the bytes that are at DATA, up to SIZE. Returns 0 then; -EAGAIN where that would
 * wait; -ECONNRESET at the end of the stream, or -errno. May be called again.
 */
int remote_input_fill(struct remote_input *in, struct remote_stream *s, void *data, size_t size,
		      size_t *got);

#endif
