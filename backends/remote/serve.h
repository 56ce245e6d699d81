/*
 * The server end: a backend served to the one client at the other end of a stream. The program
 * (aib-guest serve) ignores SIGPIPE and SIGXFSZ and has a umask of 0.
 */
#ifndef AIB_REMOTE_SERVE_H
#define AIB_REMOTE_SERVE_H

#include "backend.h"

struct remote_serve_conf {
	unsigned threads; /* calls that may run at once, 1 to REMOTE_MAX_INFLIGHT; 0: 32 */
	/*
	 * Start the command ARGV with a connected Unix stream socket as its standard input and
	 * output, and give the other end, which is then the server's: 0 or -errno. ENV is its whole
	 * environment; NULL: the program's own. Both end with NULL. Called on any of the threads.
	 * NULL: no commands; there are none either where descriptors do not pass.
	 */
	int (*exec)(void *ctx, const char *const *argv, const char *const *env, int *ret_fd);
	/*
	 * bk_ops.search of a directory of BK, which has none itself. Called on any of the threads;
	 * its results are read on any of them, and `read` is to return 0 bytes at the end only, and
	 * -EINTR where it is cancelled. NULL: nothing is searched here.
	 */
	int (*search)(void *ctx, struct bk_req *, struct bk_node *dir, const struct bk_search *,
		      struct bk_results **ret);
	void *ctx; /* of both */
};

/*
 * Serve BK, which is prepared and has no other front end, over IN and OUT (the same for a socket;
 * both are taken whatever happens) until the client ends or violates the protocol. Then no node or
 * file of BK is in use any more. Blocks until then. Returns 0 at the client's end, -EPROTO after a
 * violation, or another -errno.
 */
int remote_serve(struct bk *bk, int in, int out, const struct remote_serve_conf *conf);

#endif
