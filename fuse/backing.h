/*
 * Passthrough: which files the kernel reads and writes itself, by the backend's descriptor. The
 * kernel wants all open files of one of its inodes to be of one kind, in passthrough with one
 * backing id or not in passthrough, so the first open decides and later ones follow while any is
 * open. The key is the kernel's inode (number and generation), not the node: of a node of another
 * era it has two.
 *
 * One that was open for reading alone lingers: for linger_ms after its last close, or until the
 * kernel forgets the inode, it serves who opens the file again, without a system call. Only where
 * nothing blocks or is recalled. Meanwhile the file is in use, as an open one is, though nobody has
 * a descriptor of it.
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
		struct backing *lingering; /* of these, by their last close (utlist.h) */
	} shards[BACKING_SHARDS];
	int fuse_fd;
	uint64_t linger_ms;
	unsigned max_lingering;
	atomic_bool on;
	atomic_bool worked;	/* some backing was registered */
	atomic_uint registered; /* how many are now */
	atomic_uint lingering;	/* of these, not open */
};

/* The open files of one inode of the kernel. */
struct backing {
	struct inode_id inode;
	UT_hash_handle hh;  /* this and all below guarded */
	unsigned opens;	    /* 0: it lingers */
	bool may_linger;    /* does not change */
	uint64_t closed_ms; /* the last time */
	struct backing *prev, *next;
	int id; /* of the backing file; 0: not in passthrough. Does not change */
	dev_t dev;
	ino_t ino; /* of the backing file */
};

/* Give up CAP_FSETID (capabilities(7)): this thread, and those that it will start. */
void backing_give_up_rights(void);
/* Off until it is started. */
void backing_init(struct backings *b);
/* FUSE_FD is the connection, on which the kernel has passthrough. At most MAX_LINGERING linger,
 * each with about a kilobyte of the kernel's memory. Returns 0, or -EPERM where this process may
 * not use it, or has not given up its rights. */
int backing_start(struct backings *b, int fuse_fd, uint64_t linger_ms, unsigned max_lingering);
/* How many inodes are open in passthrough. */
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
/* INODE is opened for reading alone: what it has open, or had lately, is this open's too, until
 * backing_close. NULL: there is nothing in passthrough. */
struct backing *backing_resume(struct backings *b, const struct inode_id *inode);
/* The kernel has closed one. Takes NULL. KNOWN: the kernel has not forgotten its inode, if it may
 * linger. Whether backing_expire is to be called, linger_ms later. */
bool backing_close(struct backings *b, struct backing *one, bool known);
/* The kernel has forgotten INODE: nothing of it lingers any more. */
void backing_forget(struct backings *b, const struct inode_id *inode);
/* Close what has lingered long enough, a part of it at a time. Returns in how many milliseconds to
 * call it again; 0: nothing lingers. */
uint64_t backing_expire(struct backings *b);

#endif
