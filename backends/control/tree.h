/*
 * The nodes of the control tree, for the files of this folder. One lock guards the shape (parents
 * and children) and the owners; all else of a node does not change once it is made.
 */
#ifndef AIB_CONTROL_TREE_H
#define AIB_CONTROL_TREE_H

#include "control.h"

enum control_kind { CONTROL_DIR, CONTROL_FILE, CONTROL_LINK, CONTROL_TREE };

struct control_node {
	struct bk_node node; /* its parent holds a reference; the root's is the backend's */
	enum control_kind kind;
	char *name;
	uint64_t number;
	void *object;
	const struct control_dir_ops *dir_ops;	 /* DIR; may be NULL */
	const struct control_file_ops *ops;	 /* FILE */
	const struct control_tree_ops *tree_ops; /* TREE */
	char *target;				 /* LINK */
	bool open;				 /* see struct control_dir_conf */

	/* guarded by control.lock */
	struct control_node *parent; /* NULL: the root, or removed */
	struct control_node *children, *next;
	bool removed;
	bool owned;
	uid_t uid;
	gid_t gid;
};

struct control {
	struct bk bk;
	struct control_conf conf;
	struct timespec made;
	pthread_rwlock_t lock;
	struct control_node *root;
	uint64_t last_number;
	struct metrics_source *metrics; /* built before it is served */
};

static inline struct control *control_of(const struct bk *bk)
{
	return container_of(bk, struct control, bk);
}

static inline struct control_node *control_node_of(struct bk_node *node)
{
	return container_of(node, struct control_node, node);
}

/* -EACCES unless the request's uid may use the node. */
int control_allowed(const struct control_node *n, const struct bk_req *req);

/* ---- tree.c ---- */

struct control_node *control_node_new(struct control *c, const char *name, enum control_kind kind);
void control_node_free(struct bk_node *node);
/* DIR's entry NAME, with a reference, or NULL. */
struct control_node *control_child(struct control_node *dir, const char *name);
/* Take away all that is below. */
void control_clear(struct control_node *n);

/* ---- Open files, file.c ---- */

int control_open(struct bk_req *, struct bk_node *, int flags, struct bk_file **ret);
ssize_t control_read(struct bk_req *, struct bk_file *, void *data, size_t size, off_t off);
ssize_t control_write(struct bk_req *, struct bk_file *, const void *data, size_t size, off_t off);
int control_flush(struct bk_req *, struct bk_file *);
void control_wait(struct bk_file *, struct bk_waiter *w, bool remove);
void control_release(struct bk_file *);
/* FILE is cut or grown to SIZE; NULL: the node's text, where it gathers, at once. */
int control_truncate(struct bk_req *, struct control_node *n, struct bk_file *file, uint64_t size);
/* The size that stat shows: of the text as it is now, or of a live file. */
uint64_t control_size(const struct control_node *n);

#endif
