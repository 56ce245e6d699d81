/*
 * The inode table: which nodes the kernel knows, by the number that it was told. A node is in the
 * table once, whatever its names; node->front is its number, guarded by the table's lock. The table
 * keeps one reference on a node while the kernel's lookup count is above 0. Numbers are reused with
 * another generation; a node of another era than the kernel was told of gets one too, at which the
 * kernel makes the inode that it has bad and a new one, and forgets both under the one number. The
 * lock is a leaf: nothing is called while it is held. When half of the nodes have gone, the heap
 * gives its free pages back to the machine.
 */
#ifndef AIB_FUSE_INODE_H
#define AIB_FUSE_INODE_H

#include "backend.h"

/* The kernel's number of the root directory. */
#define INODE_ROOT 1

struct inode {
	struct bk_node *node; /* NULL: free */
	uint64_t lookups;     /* next free number, where free */
	uint32_t generation;
	unsigned era; /* of the node, as this generation stands for it */
};

#define INODE_CHUNK 1024

struct inode_table {
	pthread_mutex_t lock; /* guards all below, and bk_node.front */
	struct inode **chunks;
	size_t n_chunks, room; /* chunks made; slots in `chunks` */
	uint32_t free;	       /* first free number, 0 for none */
	uint32_t top;	       /* numbers above it were never used */
	uint32_t used, max;
	uint32_t high; /* the most that were used since the heap was last trimmed */
};

struct inode_id {
	uint64_t number, generation;
};

/* ROOT is a reference that the table takes. At most MAX nodes. Returns 0 or -ENOMEM. */
int inode_init(struct inode_table *t, struct bk_node *root, uint32_t max);
/* Drops every reference that the kernel held. */
void inode_done(struct inode_table *t);

/*
 * The kernel is about to be told of NODE: count one lookup. Takes the caller's reference, whatever
 * the result. Returns 0, -ENOMEM, or -ENFILE where the table is full.
 */
int inode_add(struct inode_table *t, struct bk_node *node, struct inode_id *ret);

/* What the kernel was told NODE is. -ESTALE where it was not, or in another era: asked again for
 * its name, it would get something else. */
int inode_told(struct inode_table *t, const struct bk_node *node, struct inode_id *ret);

bool inode_is_known(struct inode_table *t, const struct inode_id *id);

/* A reference on the node, or NULL for a number that is not known. */
struct bk_node *inode_get(struct inode_table *t, uint64_t number);

/* The kernel forgot N lookups. More than there were count as all. Whether it knows the node no
 * more, and what it knew it as in *RET, which may be NULL. */
bool inode_forget(struct inode_table *t, uint64_t number, uint64_t n, struct inode_id *ret);

/*
 * Numbers of nodes that are BK's, or that BK may serve (bk_ops.through), after *AT, at most MAX,
 * into NUMBERS; *AT moves on. Begin with *AT 0. Returns how many, 0 at the end.
 */
size_t inode_list(struct inode_table *t, const struct bk *bk, uint64_t *at, uint64_t *numbers,
		  size_t max);

/* How many nodes the kernel knows. */
uint32_t inode_count(struct inode_table *t);

#endif
