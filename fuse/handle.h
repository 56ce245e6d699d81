/*
 * Open files and directories, as the kernel holds them: fi->fh is a struct handle. A handle has one
 * reference from open to RELEASE and one for each request that works on it, so that a request that
 * was given up can end after the file was closed. All are in a list, since a mount that ends
 * sends no RELEASE.
 */
#ifndef AIB_FUSE_HANDLE_H
#define AIB_FUSE_HANDLE_H

#include "backend.h"
#include "listed.h"
#include "settle.h"

struct handle_table {
	pthread_mutex_t lock; /* guards all below; a leaf */
	struct handle *all;
	unsigned n, max;
};

struct handle {
	struct bk_file *file;
	uint64_t number;	 /* the kernel's, of a regular file; else 0 */
	struct backing *backing; /* from the answer to RELEASE, or NULL: see backing.h */
	struct listing listing;	 /* of a directory */
	struct listed_handle listed;
	/* Of a directory: the cookie of its end, where the last read came so far. */
	_Atomic off_t end;
	atomic_uint refs;
	struct handle_table *table;
	struct handle *prev, *next; /* guarded by the table's lock */
};

void handle_init(struct handle_table *t, unsigned max);
/* Flush what is open still, each file for at most TIMEOUT_MS, and release it. Blocks. */
void handle_done(struct handle_table *t, uint64_t timeout_ms);

/* FILE, whose number is NUMBER, is taken on success. Returns 0, -ENOMEM, or -ENFILE where too many
 * are open. */
int handle_new(struct handle_table *t, struct bk_file *file, uint64_t number, struct handle **ret);

/* The kernel's numbers of BK's regular files that are open, in *ret, which is the caller's. Returns
 * how many, or -ENOMEM. */
ssize_t handle_list(struct handle_table *t, const struct bk *bk, uint64_t **ret);

/* How many files and directories are open. */
unsigned handle_count(struct handle_table *t);

struct handle *handle_ref(struct handle *h);
/* The last one releases the file, which blocks where its backend does. Takes NULL. */
void handle_unref(struct handle *h);

#endif
