/* Changes of attributes of a file by a descriptor. */
#ifndef AIB_CHANGE_H
#define AIB_CHANGE_H

#include "backend.h"

#define BK_SET_TIMES (BK_SET_ATIME | BK_SET_MTIME | BK_SET_ATIME_NOW | BK_SET_MTIME_NOW)

/* Change owner, mode and times of the file of FD, which may be O_PATH and is no symlink where the
 * mode is set, as A says; what else its mask has is not done. Does not block but for the disk.
 * Returns 0 or -errno; what came before a failure is done. */
int bk_change_fd(int fd, const struct bk_setattr *a);

int bk_change_mode(int fd, mode_t mode);

#endif
