/*
 * The client end: a backend (type "remote") whose tree is served by remote_serve at the other end
 * of a stream. Nothing that comes from there is trusted.
 */
#ifndef AIB_REMOTE_H
#define AIB_REMOTE_H

#include "backend.h"

struct remote_conf {
	/*
	 * Descriptors are taken where IN is a Unix socket to the server itself and it passes them:
	 * bk_backing_fd gives them, and reads use them. What is taken is a regular file that is
	 * open for what was asked, and FD_OK says that ST, which is this machine's fstat(2) of it,
	 * is of a file that the server may have: of the server's file systems. False: it is closed,
	 * and the file read as without. Called on any thread; short. NULL: none are taken.
	 */
	bool (*fd_ok)(void *ctx, const struct stat *st);
	void *ctx;
	/* Attributes of an open file are told, and owner, mode and times changed, by such a
	 * descriptor, without asking: the server is of this process's user namespace, and may do
	 * all that this process may with the file. */
	bool attrs_here;
};

/*
 * A backend for ROUTE over IN and OUT (the same for a socket; both are taken whatever happens).
 * CONF may be NULL: all zero.
 * Says hello and waits for the answer, until REQ's deadline. The result is prepared. It has threads
 * of its own: make it after any fork. Returns 0, or -errno with text: -EPROTO where the peer is
 * none of ours, -ETIMEDOUT, -EIO where it ended.
 */
int remote_new(struct bk_req *req, int in, int out, const char *route,
	       const struct remote_conf *conf, struct bk **ret, struct err *err);

/* The same over OVER, which stays the caller's, until bk_free at least; no descriptors pass. One
 * thread reads of it while another writes to it. */
int remote_new_over(struct bk_req *req, struct bk_stream *over, const char *route, struct bk **ret,
		    struct err *err);

/*
 * Start the command ARGV where the server of BK runs, ENV its whole environment (NULL: the
 * server's), both NULL-terminated; what argv[0] means is the server's. *RET is the socket that is
 * its standard input and output, with take_fd; its end of the socket is hostile, and may be shared.
 * The command outlives BK. Blocks (REQ's deadline; cancelled, the command sees the end of its
 * input). Returns 0, or -errno with text: -EOPNOTSUPP where the server starts none, as wherever
 * descriptors do not pass; -E2BIG for more than 128 KiB, NULs included; the server's errno.
 */
int remote_exec(struct bk_req *req, struct bk *bk, const char *const *argv, const char *const *env,
		struct bk_stream **ret, struct err *err);

/* The connection is over: every call answers -EIO, and only bk_free is left to do. Any thread. */
bool remote_is_over(struct bk *bk);

/* The tree may have changed otherwise than through BK: nothing that was read ahead is used any
 * more. Any thread; does not block. */
void remote_changed(struct bk *bk);

#endif
