/*
 * Reads that wait for an event: a parked record, never a thread. Where the backend answered EAGAIN
 * and has a `wait`, the call is given to it and run again once it is woken; any signal ends it.
 */
#ifndef AIB_FUSE_PARK_H
#define AIB_FUSE_PARK_H

#include "call.h"

/* Whether to ask the backend once more, a moment later, since over io_uring no call can be parked:
 * what comes nearly at once, such as the refusal of a command, comes. Waits on this thread, MAX_MS
 * in all; *UNTIL begins as 0. */
bool park_briefly(struct call *c, uint64_t *until, uint64_t max_ms);
/* From a run function, which returns after it: C is not its any more. */
void park(struct call *c);
/* Take a waiting call back from its backend. Returns whether it was waiting; then it is over for
 * the backend and the caller answers it. */
bool park_remove(struct call *c);

#endif
