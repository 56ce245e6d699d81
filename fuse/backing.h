/*
 * Passthrough: which files the kernel reads and writes itself, by the backend's descriptor. The
 * kernel wants all open files of one of its inodes to be of one kind, in passthrough with one
 * backing id or not in passthrough, so the first open decides and later ones follow while any is
 * open. The key is the kernel's inode (number and generation), not the node: of a node of another
 * era it has two.
 *
 * Backing files are opened anew by the kernel, with the access that the caller asks for and the
 * rights that this thread had. So a descriptor with less access is never used, and the daemon works
 * without CAP_FSETID, that a write clears setuid bits whoever writes: a backend takes it for a call
 * that needs it.
 */
#ifndef AIB_FUSE_BACKING_H
#define AIB_FUSE_BACKING_H

#include "backend.h"
#include "inode.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* By inode, so that a file's close does not wait for the next one's open. */
#define BACKING_SHARDS 16

struct backings {
	struct backing_shard {
		pthread_mutex_t lock; /* guards `all` and what is in it; held across the ioctl(2) of
					 /dev/fuse that registers a file, which waits for nobody */
		struct backing *all;
	} shards[BACKING_SHARDS];
	int fuse_fd;
	atomic_bool on;
	atomic_bool worked;	/* some backing was registered */
	atomic_uint registered; /* how many are now */
};

/* The open files of one inode of the kernel. */
struct backing {
	struct inode_id inode;
	UT_hash_handle hh; /* this and all below guarded */
	unsigned opens;
	int id; /* of the backing file; 0: not in passthrough. Does not change */
	dev_t dev;
	ino_t ino; /* of the backing file */
};

/* Give up CAP_FSETID (capabilities(7)): this thread, and those that it will start. */
void backing_give_up_rights(void);
/* Off until it is started. */
void backing_init(struct backings *b);
/* FUSE_FD is the connection, on which the kernel has passthrough. Returns 0, or -EPERM where this
 * process may not use it, or has not given up its rights. */
int backing_start(struct backings *b, int fuse_fd);
/* How many inodes are in passthrough. */
unsigned backing_count(struct backings *b);
/* Closes every id. */
void backing_done(struct backings *b);

/*
 * INODE is opened with FLAGS (open(2)) as FILE. BYPASS: never in passthrough. *ret is the open's
 * until backing_close, and NULL where nothing has to be remembered. Returns 0, -ENOMEM, or, where
 * the inode is in passthrough already and FILE cannot be, -ESTALE for another file and -EIO.
 */
int backing_open(struct backings *b, const struct inode_id *inode, struct bk_file *file, int flags,
		 bool bypass, struct backing **ret);
/* The kernel has closed one. Takes NULL. */
void backing_close(struct backings *b, struct backing *one);

#endif
