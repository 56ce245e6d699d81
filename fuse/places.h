/* Where a daemon finds and keeps what is its own on this machine. */
#ifndef AIB_FUSE_PLACES_H
#define AIB_FUSE_PLACES_H

#include "base/err.h"

/* The path of aib-guest: GIVEN, or where it is NULL beside this program in a source tree, else
 * where it is installed. *ret is the caller's. */
int places_guest(const char *given, char **ret, struct err *err);

/* DIR/ID, the state of the jobs of the mount ID. DIR is GIVEN, or .jobs beside the workspaces of
 * sessions, whose names have no dot at the start. *ret is the caller's, and not made. */
int places_job_dir(const char *given, const char *id, char **ret, struct err *err);

#endif
