/*
 * Mounts of aibfs as the kernel's mount table has them, living or dead, and taking one away from
 * outside. A dead one is what a killed daemon leaves: everything below answers ENOTCONN. Nothing
 * here waits for a daemon but mounted_state, and that only where no registry knows it.
 */
#ifndef AIB_EXEC_MOUNTED_H
#define AIB_EXEC_MOUNTED_H

#include "base/err.h"

#include <stdbool.h>

#define MOUNTED_TYPE "fuse.aibfs"

enum mounted_state {
	MOUNTED_NOTHING, /* no mount is exactly there */
	MOUNTED_OTHER,	 /* another file system */
	MOUNTED_LIVING,
	MOUNTED_DEAD,
};

/* What is mounted on top at MOUNTPOINT (absolute, no links), or -errno. */
int mounted_state(const char *mountpoint);

/* The same of the mount table alone, which waits for nobody: one of ours counts as living. */
int mounted_look(const char *mountpoint);

/* Mount points of type fuse.aibfs, in the table's order; each and the array are the caller's. */
int mounted_list(char ***ret, size_t *ret_n);
void mounted_list_free(char **list, size_t n);

/* Unmount. LAZY takes it from the tree at once, whoever uses it still. -EBUSY where it is in use,
 * -EPERM where this user may not; with text. */
int mounted_detach(const char *mountpoint, bool lazy, struct err *err);

/*
 * PATH absolute and without links, not looking into the last component where something is mounted
 * there: a dead mount cannot be looked at. *ret is the caller's. -errno with text.
 */
int mounted_resolve(const char *path, char **ret, struct err *err);

#endif
