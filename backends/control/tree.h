/*
 * The nodes of the control tree, for the files of this folder. One lock guards the shape (parents
 * and children); a node itself does not change once it is made.
 */
#ifndef AIB_CONTROL_TREE_H
#define AIB_CONTROL_TREE_H

#include "control.h"

enum control_kind { CONTROL_DIR, CONTROL_FILE, CONTROL_LINK };

struct control_node {
	struct bk_node node; /* the tree holds one reference */
	enum control_kind kind;
	char *name;
	uint64_t number;
	struct control_node *children, *next; /* guarded by control.lock */
	const struct control_file_ops *ops;   /* FILE */
	void *object;
	char *target; /* LINK */
};

struct control {
	struct bk bk;
	struct control_conf conf;
	struct timespec made;
	pthread_rwlock_t lock;
	struct control_node *root;
	uint64_t last_number;
};

static inline struct control *control_of(const struct bk *bk)
{
	return container_of(bk, struct control, bk);
}

static inline struct control_node *control_node_of(struct bk_node *node)
{
	return container_of(node, struct control_node, node);
}

/* -EACCES unless the request's uid may use the tree. */
int control_allowed(const struct control *c, const struct bk_req *req);

/* Open files, file.c. */
int control_open(struct bk_req *, struct bk_node *, int flags, struct bk_file **ret);
ssize_t control_read(struct bk_req *, struct bk_file *, void *data, size_t size, off_t off);
ssize_t control_write(struct bk_req *, struct bk_file *, const void *data, size_t size, off_t off);
void control_wait(struct bk_file *, struct bk_waiter *w, bool remove);
void control_release(struct bk_file *);
/* The size that stat shows: of the text as it is now, or of a live file. */
uint64_t control_size(const struct control_node *n);

#endif
