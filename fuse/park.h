/*
 * Reads that wait for an event: a parked record, never a thread. Where the backend answered EAGAIN
 * and has a `wait`, the call is given to it and run again once it is woken; any signal ends it.
 */
#ifndef AIB_FUSE_PARK_H
#define AIB_FUSE_PARK_H

#include "call.h"

/* From a run function, which returns after it: C is not its any more. */
void park(struct call *c);
/* Take a waiting call back from its backend. Returns whether it was waiting; then it is over for
 * the backend and the caller answers it. */
bool park_remove(struct call *c);

#endif
