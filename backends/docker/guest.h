/*
 * The connection to the guest of a running container: `aib-guest serve`, started by the Engine's
 * exec as root of the container, its tree as a backend of type "remote". One connection is one
 * process there; when either ends, every call of the backend is EIO from then on and guest_connect
 * makes another. It knows sandboxes and the remote client, and nothing of this route's nodes.
 *
 * Frames go over one of two ways. `stream`, which works everywhere, is the exec's own. `direct` is
 * a socket of the guest's that the daemon takes from its process (direct.h): nothing is between the
 * two, opened files come as descriptors, and commands can be started (remote_exec on guest_bk, with
 * "aib-guest", "run"… as arguments; as root of the container). It needs an engine of this machine
 * and root.
 */
#ifndef AIB_DOCKER_GUEST_H
#define AIB_DOCKER_GUEST_H

#include "sandbox.h"

struct guest;

enum guest_way {
	GUEST_AUTO, /* direct where that can be, else the stream */
	GUEST_STREAM,
	GUEST_DIRECT, /* or an error that says why not */
};

/*
 * Start SB where it sleeps and connect. Blocks, until REQ's deadline (which a start moves on) or
 * cancel. The result has threads: make it after any fork. Returns 0, or -errno with text that names
 * the container and says why: what sandbox_running returns, -ETIMEDOUT or -EINTR, -EIO or -EPROTO
 * for a guest that does not answer or answers otherwise; what refused the direct way, where it was
 * to be that (-EOPNOTSUPP, -EPERM, -ESRCH…).
 */
int guest_connect(struct bk_req *req, struct sandbox *sb, enum guest_way way, struct guest **ret,
		  struct err *err);

/* The container's tree, its root the container's. It is the guest's: no node or file of it may be
 * in use at guest_close. */
struct bk *guest_bk(struct guest *g);
/* Which way it is, and where it is the stream why: "direct", "stream (the engine is not local)".
 * For people; valid until guest_close. */
const char *guest_way(const struct guest *g);
/* The connection has ended; only guest_close is left to do. Any thread; does not block. */
bool guest_is_over(struct guest *g);

/* End the connection, and with it the process in the container, soon after. Does not wait for that
 * process. Takes NULL. */
void guest_close(struct guest *g);

#endif
