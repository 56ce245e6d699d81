/*
 * The daemon from its checked configuration to its end: routes, control tree, composite, FUSE
 * session, exec server, in this order, and back.
 */
#ifndef AIB_FUSE_SERVE_H
#define AIB_FUSE_SERVE_H

#include "config.h"

/* Who has started this process, and starts it again when it crashes (supervise.h). */
struct supervised {
	int report_fd; /* as lifecycle.h has it; borrowed */
	pid_t supervisor;
	unsigned restarts; /* so far: what the daemon before left is taken away */
};

/*
 * Mount at MOUNTPOINT (absolute, no links) and serve until the end. In the background and with BY
 * NULL, the caller's process ends here with status 0 once the mount can be used. Returns 0, or
 * -errno with text where the mount did not come to be.
 *
 * Where MOUNTPOINT is "" nothing is mounted and no /dev/fuse is needed (FOREGROUND only): the tree
 * is there for the operations and commands of the socket, with its root at `/`. The socket's
 * directory is written to standard output, a line, once it can be used. The registry shows such a
 * daemon to nobody, and only its own user may use it.
 */
int serve(const struct config *c, const char *mountpoint, bool foreground,
	  const struct supervised *by, struct err *err);

#endif
