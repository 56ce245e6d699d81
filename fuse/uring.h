/*
 * FUSE over io_uring (Linux 6.14, libfuse 3.18.3): libfuse answers on one thread a processor, beside
 * the loop, which still reads what the kernel sends over /dev/fuse (FORGET, and all before the
 * rings are ready). A request that is not answered on its own thread at once blocks one of the few
 * places of its processor's ring, no INTERRUPT comes for it, and libfuse's ring is not safe against
 * answers of other threads: so it is for mounts of which no request ever waits.
 */
#ifndef AIB_FUSE_URING_H
#define AIB_FUSE_URING_H

#include "fs.h"

/* Whether REQ came over a ring. */
bool uring_is(fuse_req_t req);

/* On the thread of a request, before anything else: the end of the rings (uring_stop) cancels their
 * threads, and must not cut a call short. */
void uring_enter(void);

/* End the rings of SE, which fuse_session_exit was called on; waits for calls that run. */
void uring_stop(struct fuse_session *se);

#endif
