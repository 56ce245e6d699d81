/*
 * A small process that starts the daemon, and starts it again when it crashes or hangs. It is its
 * parent, has one thread, no descriptor of FUSE and no backend, and touches no file of the mount:
 * nothing that the daemon hangs in can hang it. What it knows of the daemon it hears over a pipe
 * (lifecycle.h). An orderly end of the daemon, whoever asked for it, is the supervisor's end too.
 */
#ifndef AIB_FUSE_SUPERVISE_H
#define AIB_FUSE_SUPERVISE_H

#include "config.h"

/*
 * Go to the background unless FOREGROUND, serve C at MOUNTPOINT (which was checked) in a child, and
 * see to it until its end. Settings are C's: watchdog, restarts. Returns the status of the process;
 * -errno with text where nothing was started. What a child could not do it said itself.
 */
int supervise(const struct config *c, const char *mountpoint, bool foreground, struct err *err);

#endif
