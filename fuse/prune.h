/*
 * `aib prune`: what daemons that were killed have left, and no mount owns. Containers are known by
 * their labels: made on this machine, by this user, by a daemon whose lock is free; entries of the
 * registry by their own lock.
 */
#ifndef AIB_FUSE_PRUNE_H
#define AIB_FUSE_PRUNE_H

#include "config.h"

/* Remove it, or with DRY only say what would be; a line for each on standard output. Returns 0, or
 * 1 where something could not be looked at or removed (told on standard error). */
int prune(const struct config *c, bool dry);

#endif
