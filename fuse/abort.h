/*
 * Ending a FUSE connection from outside its daemon, through the kernel's fusectl: callers that wait
 * for it get ECONNABORTED at once, whatever the daemon does. Linux's
 * Documentation/filesystems/fuse.rst has the files. Nothing here waits for a daemon.
 */
#ifndef AIB_FUSE_ABORT_H
#define AIB_FUSE_ABORT_H

/*
 * Abort the connection of the mount of ours on top at MOUNTPOINT (absolute, no links). Its owner
 * and root may; where no fusectl is mounted, only root. 0 or -errno; -ENOENT: nothing is there.
 */
int abort_connection(const char *mountpoint);

#endif
