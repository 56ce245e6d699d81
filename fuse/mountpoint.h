/*
 * Whether and how this user can mount at a place, checked before anything is started, so that the
 * message says what to do. Also takes away what a killed daemon left there.
 */
#ifndef AIB_FUSE_MOUNTPOINT_H
#define AIB_FUSE_MOUNTPOINT_H

#include "base/err.h"

#include <stdbool.h>

/*
 * MOUNTPOINT (absolute, no links) is a directory, nothing of ours is mounted there, it is empty or
 * NONEMPTY, and this user may mount there. A dead mount of ours is taken away first. -errno with
 * text.
 */
int mountpoint_check(const char *mountpoint, bool nonempty, struct err *err);

/* Take away what is mounted there of ours, all of which is dead: only for who has MOUNTPOINT's
 * entry in the registry, before he mounts. -errno with text. */
int mountpoint_clear(const char *mountpoint, struct err *err);

/* /dev/fuse and, for users, fusermount3 are there and usable; ALLOW_OTHER is permitted. */
int mountpoint_check_fuse(bool allow_other, struct err *err);

/* Whether /etc/fuse.conf has user_allow_other. */
bool mountpoint_user_allow_other(void);
/* Whether NAME is an executable in PATH or in the usual system directories. */
bool mountpoint_find_program(const char *name);

#endif
