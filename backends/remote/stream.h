/*
 * A connected stream of bytes: one socket, two pipes (the standard input and output of an exec), or
 * a struct bk_stream (the other end of those, taken out of what an engine sends). All that either
 * end reads or writes passes here, and here alone descriptors pass beside the bytes (SCM_RIGHTS
 * over a Unix socket, see unix(7)). Pipes give SIGPIPE, which the program ignores.
 *
 * A descriptor goes with the first byte of its frame, in a sendmsg(2) that has nothing of another.
 * A recvmsg(2) that brings one may begin with bytes of frames before, but ends within the bytes it
 * was sent with: so it is the frame's that has the last of the bytes that came with it.
 */
#ifndef AIB_REMOTE_STREAM_H
#define AIB_REMOTE_STREAM_H

#include "backend.h"

#include <sys/uio.h>

struct remote_stream {
	struct bk_stream *via; /* borrowed; NULL where the descriptors are the stream itself */
	int in, out;	       /* the same one for a socket; via's, to poll */
	bool socket;
	bool local;	  /* a Unix socket: descriptors can pass */
	bool takes_fds;	  /* where not, one that comes is a violation; set before anything comes */
	atomic_bool over; /* after remote_stream_shutdown */
};

/* Takes the descriptors, which become non-blocking where they are pipes. */
void remote_stream_init(struct remote_stream *s, int in, int out);
/* VIA stays the caller's. One thread reads of it while another writes to it. */
void remote_stream_init_via(struct remote_stream *s, struct bk_stream *via);
void remote_stream_done(struct remote_stream *s);

/* Neither waits. Bytes taken, -EAGAIN, or -errno. */
ssize_t remote_stream_send(struct remote_stream *s, const struct iovec *iov, int n);
/*
 * Bytes, 0 at the end, -EAGAIN, or -errno: -EPROTO where more came beside them than one descriptor,
 * or one that may not come; then it is closed. *RET_FD (-1 before) is the descriptor that came, the
 * caller's, which closes at exec. -1 too where one came and this process may have no more.
 */
ssize_t remote_stream_recv(struct remote_stream *s, void *data, size_t size, int *ret_fd);
/* Whether that would give bytes of which poll(2) on `in` knows nothing. */
bool remote_stream_pending(const struct remote_stream *s);
/* For who has nothing else to do: they wait, until the stream is shut down at the latest. */
/* All SIZE bytes, or fewer at the end; or -errno: -EPROTO where a descriptor came. */
ssize_t remote_stream_read(struct remote_stream *s, void *data, size_t size);
/*
 * All of IOV, which is used up, and beside its first byte FD, which stays the caller's (-1: none):
 * 0, or -errno; -ETOOMANYREFS where the kernel passes no more of this user's descriptors, and then
 * nothing was written.
 */
int remote_stream_write(struct remote_stream *s, struct iovec *iov, int n, int fd);
/* Both ends see the end of a socket, also of VIA's; who waits here is woken. */
void remote_stream_shutdown(struct remote_stream *s);

/* Bytes that were received before anyone asked for them, and a descriptor that came beside. */
struct remote_input {
	size_t pos, len;
	uint64_t taken; /* bytes that were asked for, in all */
	int fd;		/* owned; -1 for none */
	uint64_t fd_at; /* it is the frame's that has the byte before this one */
	uint8_t data[32 * 1024];
};

/* IN is zeroed. */
void remote_input_init(struct remote_input *in);
void remote_input_done(struct remote_input *in);
/*
 * Bring *GOT, the bytes that are at DATA, up to SIZE. Returns 0 then; -EAGAIN where that would
 * wait; -ECONNRESET at the end of the stream, or -errno: -EPROTO also where a frame has two
 * descriptors. May be called again.
 */
int remote_input_fill(struct remote_input *in, struct remote_stream *s, void *data, size_t size,
		      size_t *got);
/* After the last byte of a frame: its descriptor, which is the caller's, or -1. */
int remote_input_take_fd(struct remote_input *in);
/* Whether there are bytes without waiting for `in` of S. */
bool remote_input_pending(const struct remote_input *in, const struct remote_stream *s);

#endif
