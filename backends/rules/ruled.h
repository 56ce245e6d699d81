/*
 * The inside of the backend that holds rules over another: ruled.c makes and ends it, node.c knows
 * what the rules say of a place and keeps the nodes, names.c and file.c have the operations.
 *
 * Invariants:
 * - What a node may be used for is fixed when it is made, by the name that it was looked up by, and
 *   never changes: no operation here can bring a file to a place with another verdict.
 * - A directory's node has what is reached in the rules' patterns there. Two names of one file
 *   are one node where they have the same verdict (and, of a directory, the same rules below).
 */
#ifndef AIB_RULED_H
#define AIB_RULED_H

#include "ruleset.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* What the rules say of a place. */
struct verdict {
	int errno_; /* of what is refused: 0, -EACCES (deny) or -EROFS (readonly) */
	int rule;   /* that decides, here and below; -1: none */
	struct pattern_state *below; /* NULL: no pattern can match below */
};

struct ruled_node {
	struct bk_node node;
	struct bk_node *inner; /* a reference */
	struct verdict verdict;

	/* Guarded by ruled.lock. */
	UT_hash_handle hh;
	bool hashed;
	size_t key_len;
	unsigned char *key;
};

struct ruled_file {
	struct bk_file file;
	struct bk_file *inner;
};

struct ruled {
	struct bk bk;
	struct bk *inner;
	struct rules *rules;
	struct ruled_node *root;  /* from prepare on */
	pthread_mutex_t moving;	  /* one rename at a time; held across the inner one's */
	pthread_mutex_t lock;	  /* guards `nodes`; a leaf */
	struct ruled_node *nodes; /* weak */
};

static inline struct ruled *ruled_of(const struct bk_node *node)
{
	return container_of(node->bk, struct ruled, bk);
}

static inline struct ruled_node *ruled_node_of(struct bk_node *node)
{
	return container_of(node, struct ruled_node, node);
}

static inline struct bk_node *inner_of(struct bk_node *node)
{
	return ruled_node_of(node)->inner;
}

static inline struct bk_file *inner_file(struct bk_file *file)
{
	return file ? container_of(file, struct ruled_file, file)->inner : NULL;
}

/* ---- node.c ---- */

/* What is said of NAME in DIR; of the root where DIR is NULL. 0 or -ENOMEM. */
int verdict_of(struct ruled *g, struct bk_node *dir, const char *name, struct verdict *ret);
void verdict_done(struct verdict *v);
#define _cleanup_verdict_ _cleanup_(verdict_done)
bool verdict_same(const struct verdict *a, const struct verdict *b);

/* The node of INNER, which it takes, a file of ST, at a place of V, which it may take. */
int ruled_node(struct ruled *g, struct bk_node *inner, const struct stat *st, struct verdict *v,
	       struct bk_node **ret);
void ruled_node_free(struct bk_node *node);
/* The slot. */
int ruled_rule(struct bk_node *node, const char *name, const char **ret);

/* ---- names.c ---- */

int ruled_lookup(struct bk_req *, struct bk_node *dir, const char *name, struct bk_node **ret_node,
		 struct stat *ret_st);
int ruled_mknod(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
		struct bk_node **ret_node, struct stat *ret_st);
int ruled_mkdir(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode,
		struct bk_node **ret_node, struct stat *ret_st);
int ruled_symlink(struct bk_req *, struct bk_node *dir, const char *name, const char *target,
		  struct bk_node **ret_node, struct stat *ret_st);
int ruled_link(struct bk_req *, struct bk_node *node, struct bk_node *dir, const char *name,
	       struct bk_node **ret_node, struct stat *ret_st);
int ruled_unlink(struct bk_req *, struct bk_node *dir, const char *name);
int ruled_rmdir(struct bk_req *, struct bk_node *dir, const char *name);
int ruled_rename(struct bk_req *, struct bk_node *dir, const char *name, struct bk_node *new_dir,
		 const char *new_name, unsigned flags);
int ruled_create(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode, int flags,
		 struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st);
int ruled_peek(struct bk_req *, struct bk_node *dir, const char *name, struct bk_file **ret,
	       struct stat *ret_st);

/* ---- attr.c ---- */

int ruled_getattr(struct bk_req *, struct bk_node *, struct bk_file *, struct stat *ret_st);
int ruled_setattr(struct bk_req *, struct bk_node *, struct bk_file *, const struct bk_setattr *,
		  struct stat *ret_st);
int ruled_readlink(struct bk_req *, struct bk_node *, char *buf);
int ruled_statfs(struct bk_req *, struct bk_node *, struct statvfs *ret);
ssize_t ruled_getxattr(struct bk_req *, struct bk_node *, const char *name, void *value,
		       size_t size);
ssize_t ruled_listxattr(struct bk_req *, struct bk_node *, char *list, size_t size);
int ruled_setxattr(struct bk_req *, struct bk_node *, const char *name, const void *value,
		   size_t size, int flags);
int ruled_removexattr(struct bk_req *, struct bk_node *, const char *name);

/* ---- file.c ---- */

/* INNER, which it takes, as a file of NODE. */
int ruled_file(struct bk_node *node, struct bk_file *inner, struct bk_file **ret);
int ruled_open(struct bk_req *, struct bk_node *, int flags, struct bk_file **ret);
ssize_t ruled_read(struct bk_req *, struct bk_file *, void *data, size_t size, off_t off);
ssize_t ruled_write(struct bk_req *, struct bk_file *, const void *data, size_t size, off_t off);
int ruled_flush(struct bk_req *, struct bk_file *);
int ruled_fsync(struct bk_req *, struct bk_file *, bool datasync);
void ruled_release(struct bk_file *);
off_t ruled_lseek(struct bk_req *, struct bk_file *, off_t off, int whence);
int ruled_fallocate(struct bk_req *, struct bk_file *, int mode, off_t off, off_t len);
int ruled_backing_fd(struct bk_file *);
int ruled_opendir(struct bk_req *, struct bk_node *, struct bk_file **ret);
int ruled_readdir(struct bk_req *, struct bk_file *, uint64_t cookie, bk_fill_fn, void *ctx);
int ruled_fsyncdir(struct bk_req *, struct bk_file *, bool datasync);

#endif
