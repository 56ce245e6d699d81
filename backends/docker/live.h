/*
 * The tree over the guest of the running container: each operation is that of the remote tree, on
 * the remote node that a node of this route stands for. A node finds its remote one by its place,
 * once for each connection, and keeps it; so nodes, and with them the kernel's numbers and a
 * shell's working directory, outlive a connection and the container's restart. A remote node (a
 * file) is found again by itself: hard links are one node. Links are the exception: what one may
 * lead to depends on where it is, so its node is a place.
 *
 * C is the connection to use, the caller's reference.
 */
#ifndef AIB_DOCKER_LIVE_H
#define AIB_DOCKER_LIVE_H

#include "docker.h"

/* An open file or directory: of a connection, or else of the archive transport. */
struct dfile {
	struct bk_file base;
	struct channel *channel;	 /* a reference; set before `inner` */
	_Atomic(struct bk_file *) inner; /* set once */
};

static inline struct dfile *dfile_of(struct bk_file *f)
{
	return container_of(f, struct dfile, base);
}

static inline bool file_is_live(struct bk_file *f)
{
	return atomic_load(&dfile_of(f)->inner) != NULL;
}

/* ---- live_node.c ---- */

/* The remote node that NODE stands for, with a reference. -ESTALE where its place has something
 * else by now. */
int live_resolve(struct bk_req *req, struct docker *d, struct channel *c, struct dnode *node,
		 struct bk_node **ret);
/*
 * The node of REMOTE (taken whatever happens), which was found as NAME in DIR with the attributes
 * ST, which become those of the node. -EIO for a directory that would be in itself.
 */
int live_adopt(struct docker *d, struct channel *c, struct dnode *dir, const char *name,
	       struct bk_node *remote, struct stat *st, struct bk_node **ret);
/* ST is of NODE: its number is the node's, and its block size is none that hurts. */
void live_stat(struct dnode *node, struct stat *st);
/* NODE is freed, or its connection is over: what was its connection's is the caller's to drop. */
struct live_ref {
	struct channel *channel;
	struct bk_node *remote;
};
/* Archives serve NODE from now on: whether it was live, so that what the kernel has open of it is
 * void. */
bool live_leave(struct docker *d, struct dnode *node);
struct live_ref live_take_locked(struct docker *d, struct dnode *node);
void live_drop(struct live_ref ref);

/* ---- live_names.c ---- */
int live_lookup(struct bk_req *, struct channel *c, struct bk_node *, const char *,
		struct bk_node **, struct stat *);
int live_mknod(struct bk_req *, struct channel *c, struct bk_node *, const char *, mode_t, dev_t,
	       struct bk_node **, struct stat *);
int live_mkdir(struct bk_req *, struct channel *c, struct bk_node *, const char *, mode_t,
	       struct bk_node **, struct stat *);
int live_symlink(struct bk_req *, struct channel *c, struct bk_node *, const char *, const char *,
		 struct bk_node **, struct stat *);
int live_link(struct bk_req *, struct channel *c, struct bk_node *, struct bk_node *, const char *,
	      struct bk_node **, struct stat *);
int live_unlink(struct bk_req *, struct channel *c, struct bk_node *, const char *);
int live_rmdir(struct bk_req *, struct channel *c, struct bk_node *, const char *);
int live_rename(struct bk_req *, struct channel *c, struct bk_node *, const char *,
		struct bk_node *, const char *, unsigned);

/* ---- live_attr.c ---- */
int live_getattr(struct bk_req *, struct channel *c, struct bk_node *, struct bk_file *,
		 struct stat *);
int live_setattr(struct bk_req *, struct channel *c, struct bk_node *, struct bk_file *,
		 const struct bk_setattr *, struct stat *);
int live_readlink(struct bk_req *, struct channel *c, struct bk_node *, char *);
int live_statfs(struct bk_req *, struct channel *c, struct bk_node *, struct statvfs *);
ssize_t live_getxattr(struct bk_req *, struct channel *c, struct bk_node *, const char *, void *,
		      size_t);
ssize_t live_listxattr(struct bk_req *, struct channel *c, struct bk_node *, char *, size_t);
int live_setxattr(struct bk_req *, struct channel *c, struct bk_node *, const char *, const void *,
		  size_t, int);
int live_removexattr(struct bk_req *, struct channel *c, struct bk_node *, const char *);
/* NODE was just made, or has just said so, in generation GEN. */
void live_know_no_capability(struct docker *d, struct dnode *node, uint64_t gen);
/* What is at PATH (plain, absolute), and a link's target (the caller's): no link is followed. */
int live_look(struct bk_req *req, struct docker *d, struct channel *c, const char *path,
	      mode_t *ret_type, char **ret_link);

/* ---- live_file.c ---- */
int live_open(struct bk_req *, struct channel *c, struct bk_node *, int, struct bk_file **);
int live_create(struct bk_req *, struct channel *c, struct bk_node *, const char *, mode_t, int,
		struct bk_node **, struct bk_file **, struct stat *);
int live_opendir(struct bk_req *, struct channel *c, struct bk_node *, struct bk_file **);
/*
 * F was opened over archives and its node's content is in the container: from now on it is a file
 * of C. It stays what it is where its file has lost its name.
 */
int live_upgrade(struct bk_req *, struct channel *c, struct bk_file *f);
/* These are of a file that is live. */
int live_readdir(struct bk_req *, struct bk_file *, uint64_t, bk_fill_fn, void *);
void live_release(struct bk_file *);

/* ---- live_search.c ---- */
int live_search(struct bk_req *, struct channel *c, struct bk_node *, const struct bk_search *,
		struct bk_results **);

#endif
