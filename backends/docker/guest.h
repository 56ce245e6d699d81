/*
 * The connection to the guest of a running container: `aib-guest serve`, started by the Engine's
 * exec as root of the container, its tree as a backend of type "remote". One connection is one
 * process there; when either ends, every call of the backend is EIO from then on and guest_connect
 * makes another. It knows sandboxes and the remote client, and nothing of this route's nodes.
 */
#ifndef AIB_DOCKER_GUEST_H
#define AIB_DOCKER_GUEST_H

#include "sandbox.h"

struct guest;

/*
 * Start SB where it sleeps and connect. Blocks, until REQ's deadline (which a start moves on) or
 * cancel. The result has threads: make it after any fork. Returns 0, or -errno with text that names
 * the container and says why: what sandbox_running returns, -ETIMEDOUT or -EINTR, -EIO or -EPROTO
 * for a guest that does not answer or answers otherwise.
 */
int guest_connect(struct bk_req *req, struct sandbox *sb, struct guest **ret, struct err *err);

/* The container's tree, its root the container's. It is the guest's: no node or file of it may be
 * in use at guest_close. */
struct bk *guest_bk(struct guest *g);
/* The connection has ended; only guest_close is left to do. Any thread; does not block. */
bool guest_is_over(struct guest *g);

/* End the connection, and with it the process in the container, soon after. Does not wait for that
 * process. Takes NULL. */
void guest_close(struct guest *g);

#endif
