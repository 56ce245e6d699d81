/*
 * Making the kernel forget. Names, present and missing, go all at once (the epoch, Linux 6.16).
 * Attributes matter only where no name leads to them any more: open files, which are known, and
 * directories that are somebody's working directory, which are not. So directories are noted while
 * the kernel may use what it was told of them, in a ring; where it was too short, every node of the
 * tree is gone through.
 */
#ifndef AIB_FUSE_RECALL_H
#define AIB_FUSE_RECALL_H

#include "backend.h"

struct fs;

#define RECALL_RING 1024

struct recall {
	atomic_bool ready; /* there is a kernel to tell */
	bool epoch;	   /* it can drop names; set before `ready` */
	/* How often something was recalled: an answer that was begun before is not to be
	 * remembered. */
	atomic_uint count;

	pthread_mutex_t lock; /* guards all below; a leaf */
	struct recall_dir {
		const struct bk *bk;
		uint64_t number, until_ms;
	} ring[RECALL_RING];
	unsigned next;
	uint64_t lost_until_ms; /* what the ring had no room for holds no longer than this */
};

void recall_init(struct recall *r);
void recall_done(struct recall *r);

/* Drop all names that the kernel has taken up. */
void recall_names(struct fs *fs);
/* Drop what the kernel has of the attributes of the inodes NUMBERS; their pages stay. */
void recall_attributes(struct fs *fs, const uint64_t *numbers, size_t n);
/* The kernel is about to be told attributes of directory NUMBER of BK for TTL_MS. */
void recall_told(struct recall *r, const struct bk *bk, uint64_t number, uint32_t ttl_ms);
/*
 * Into NUMBERS (room for RECALL_RING) the directories of BK that the kernel may remember; a number
 * may come twice. Returns how many, or -ENOBUFS where the ring does not know.
 */
int recall_dirs(struct recall *r, const struct bk *bk, uint64_t *numbers);

#endif
