/*
 * The threads that read requests from the kernel. One more starts whenever none is left reading,
 * up to a limit. Written here, since libfuse's own loop cannot be ended from another thread
 * without a request coming.
 */
#ifndef AIB_FUSE_LOOP_H
#define AIB_FUSE_LOOP_H

#include "fs.h"

/* Until FS->ended is written or the kernel ends the session. Returns 0, -errno where no thread
 * could start, or -ETIMEDOUT where a request does not end; then its thread is left behind. */
int loop_run(struct fs *fs);

#endif
