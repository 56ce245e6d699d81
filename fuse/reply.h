/*
 * Answers. Here, and nowhere else, the sign of an errno turns. Each takes the call's result R as
 * the backend gave it; where the answer comes too late or does not arrive, each undoes what the
 * caller would have got. No lock is held across any of them.
 */
#ifndef AIB_FUSE_REPLY_H
#define AIB_FUSE_REPLY_H

#include "call.h"

/* Success without a value too. */
void reply_err(struct call *c, int r);
void reply_none(struct call *c);
/* NODE is a reference that this takes where R is 0. */
void reply_entry(struct call *c, int r, struct bk_node *node, const struct stat *st);
/* The name is not there, and the kernel may remember so. */
void reply_negative(struct call *c, int r);
/* Of the call's node. */
void reply_attr(struct call *c, int r, const struct stat *st);
/* The same, with when it was made: NULL where that is not known. */
void reply_statx(struct call *c, int r, const struct stat *st, const struct timespec *born);
/* FILE is taken where R is 0. INODE is what the kernel opens; NULL for a directory. */
void reply_open(struct call *c, int r, struct bk_file *file, const struct inode_id *inode);
void reply_create(struct call *c, int r, struct bk_node *node, struct bk_file *file,
		  const struct stat *st);
/* R bytes of DATA. */
void reply_data(struct call *c, ssize_t r, const void *data);
/* R bytes were written. */
void reply_count(struct call *c, ssize_t r);
/* R bytes of DATA, or, where SIZE is 0, only how many. */
void reply_xattr(struct call *c, ssize_t r, const void *data, size_t size);
void reply_off(struct call *c, off_t r);
void reply_link(struct call *c, int r, char *target);
void reply_statfs(struct call *c, int r, const struct statvfs *st);

/* The entry of NODE (a reference that this takes) as the kernel gets it, with its lookup counted.
 * Returns 0 or -errno. */
int reply_make_entry(struct call *c, struct bk_node *node, const struct stat *st,
		     struct fuse_entry_param *ret);

/* Answer a claimed request with a bare error, after its call is gone. */
void reply_raw(fuse_req_t req, int r);

#endif
