/*
 * A real mount of a test's backend, served in this process by a thread of its own. One at a time; a
 * test that fails leaves none behind.
 */
#ifndef AIB_TEST_MOUNT_WORLD_H
#define AIB_TEST_MOUNT_WORLD_H

#include "session.h"

extern struct fs *fs;
extern char mount_dir[64]; /* where it is mounted */

/* Mount the tree of ROOT at a new directory in /tmp whose name has NAME in it. */
void mount_start(struct bk *root, const struct fs_conf *conf, const char *name);
/* Unmount, and see that everything ended in order. */
void mount_finish(void);

#endif
