/*
 * Which mount a path is in. The daemon resolves what is inside the mount; here only what leads to
 * it is.
 */
#ifndef AIB_CLIENT_LOCATE_H
#define AIB_CLIENT_LOCATE_H

#include "registry.h"

/*
 * The living mount that PATH ("" is the working directory) leads into, and PATH as an absolute one
 * that begins with its mount point; the rest is as it was spelled. *RET_AT is the caller's. -errno
 * with text.
 */
int locate(const char *path, struct registry_mount *ret, char **ret_at, struct err *err);

#endif
