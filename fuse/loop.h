/*
 * The threads that read requests from the kernel, in turns (base/turns.h). One more starts whenever
 * none is left that waits for its turn, up to a limit. Written here, since libfuse's own loop
 * cannot be ended from another thread without a request coming.
 */
#ifndef AIB_FUSE_LOOP_H
#define AIB_FUSE_LOOP_H

#include "fs.h"

struct loop;

/* Returns 0, or -errno where no thread could start. */
int loop_start(struct fs *fs, struct loop **ret);

/* Blocks until FS->ended is written or the kernel ends the session. */
void loop_wait(struct loop *l);

/* Read nothing more. Returns whether all threads ended, with the calls they run, within TIMEOUT_MS.
 * May be called again. */
bool loop_stop(struct loop *l, uint64_t timeout_ms);

/* After loop_stop returned true. */
void loop_free(struct loop *l);

#endif
