/*
 * Inside the memory backend: what a file is, and what its parts call of one another.
 *
 *   memory.c  making and ending one, limits, statfs      tree.c, rename.c  names
 *   node.c    a file's attributes; xattr.c too           dir.c    the entries of one directory
 *   file.c    reading, writing, sizes, holes             pages.c  a file's pages, from pool.c
 *
 * Two kinds of locks, taken in this order; README.md says more:
 *   mem.tree        all names: entries, mem_dir, `parent`; nlink changes under it too
 *   mem_lock(node)  one node's attributes, xattrs and data; never two nodes' at once
 */
#ifndef AIB_MEMORY_H
#define AIB_MEMORY_H

#include "backend.h"
#include "pool.h"

#include <dirent.h>
#include <time.h>

#define MEM_PAGE POOL_PAGE
#define MEM_LOCKS 64

struct mem_node;

struct mem {
	struct bk bk;
	struct mem_node *root;
	struct mem_pool pool;
	pthread_rwlock_t tree;
	pthread_rwlock_t locks[MEM_LOCKS]; /* a node's is the one of its number */
	uint64_t size, inodes;		   /* limits: bytes; nodes and further hard links */
	atomic_uint_fast64_t used_size, used_inodes, next_ino;
};

/* A file of any type. An entry of a directory holds one reference, and so does `mem.root`. */
struct mem_node {
	struct bk_node node;
	uint64_t ino;
	uint8_t type;	/* DT_…; never changes, so it needs no lock */
	uint8_t height; /* of `pages` */
	uint16_t mode;
	uint32_t nlink; /* 0 for a removed directory: nothing may be made in it */
	uid_t uid;
	gid_t gid;
	bool unnamed; /* made without a name, which it may still be given; guarded by mem.tree */
	struct timespec atime, mtime, ctime, born;
	uint64_t size;
	uint64_t n_pages;
	union {
		struct mem_dir *dir;
		void *pages; /* see pages.c */
		char *target;
		dev_t rdev;
	};
	struct mem_xattr *xattrs;
};

static inline struct mem *mem_of(const struct mem_node *n)
{
	return container_of(n->node.bk, struct mem, bk);
}

static inline struct mem_node *mem_node_of(struct bk_node *node)
{
	return container_of(node, struct mem_node, node);
}

static inline pthread_rwlock_t *mem_lock(const struct mem_node *n)
{
	return &mem_of(n)->locks[n->ino % MEM_LOCKS];
}

static inline bool mem_is_dir(const struct mem_node *n)
{
	return n->type == DT_DIR;
}

static inline struct timespec mem_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

/* ---- memory.c ---- */

/* Take BYTES (or COUNT) from what the route may use, or -ENOSPC. Every allocation that a user can
 * repeat at will is charged; the pairs must match. */
int mem_charge(struct mem *m, uint64_t bytes);
void mem_uncharge(struct mem *m, uint64_t bytes);
int mem_charge_inode(struct mem *m);
void mem_uncharge_inode(struct mem *m);

/* ---- node.c ---- */

/* A node with one reference and no link, owned as new files of REQ in DIR are (NULL: the root).
 * Takes the node lock of DIR. */
int mem_node_new(struct mem *m, struct bk_req *req, struct mem_node *dir, mode_t mode,
		 struct mem_node **ret);
void mem_node_free(struct bk_node *node);
/* These take the node's lock. */
void mem_node_stat(struct mem_node *n, struct stat *ret);
/* Its names changed: add LINKS to nlink; mtime too where its content is names. */
void mem_node_changed(struct mem_node *n, int links, bool content, struct timespec now);
/* Data was written by REQ's caller: times, and the privileges of the file that end with that. The
 * lock is held. */
void mem_node_written_locked(struct mem_node *n, struct bk_req *req);

int mem_getattr(struct bk_req *, struct bk_node *, struct bk_file *, struct stat *ret_st);
int mem_setattr(struct bk_req *, struct bk_node *, struct bk_file *, const struct bk_setattr *,
		struct stat *ret_st);
int mem_born(struct bk_req *, struct bk_node *, struct bk_file *, struct timespec *ret);
int mem_readlink(struct bk_req *, struct bk_node *, char *buf);

/* ---- xattr.c ---- */

void mem_xattrs_free(struct mem_node *n);
/* The capabilities that a program has by its file. */
void mem_capability_drop_locked(struct mem_node *n);
ssize_t mem_getxattr(struct bk_req *, struct bk_node *, const char *name, void *value, size_t size);
ssize_t mem_listxattr(struct bk_req *, struct bk_node *, char *list, size_t size);
int mem_setxattr(struct bk_req *, struct bk_node *, const char *name, const void *value,
		 size_t size, int flags);
int mem_removexattr(struct bk_req *, struct bk_node *, const char *name);

/* ---- dir.c: the caller holds mem.tree ---- */

struct mem_entry;

/* The entries of a directory, by name and in the order of their cookies. A cookie belongs to an
 * entry from its making to its end and is never given twice. */
struct mem_dir {
	struct mem_entry *by_name;
	struct mem_slot *slots;
	size_t n_slots, max_slots, n_entries;
	uint64_t last_cookie;
	struct mem_node *parent; /* borrowed; NULL for the root and once removed */
};

struct mem_dir *mem_dir_new(void);
void mem_dir_free(struct mem_dir *d);
struct mem_entry *mem_dir_find(const struct mem_dir *d, const char *name);
struct mem_entry *mem_dir_first(const struct mem_dir *d);
/* The first entry after COOKIE, or NULL. */
struct mem_entry *mem_dir_after(const struct mem_dir *d, uint64_t cookie);
/* An entry that takes over the caller's reference on NODE. Returns 0 or -ENOMEM. */
int mem_dir_add(struct mem_dir *d, const char *name, struct mem_node *node);
/* Ends E. Its reference goes to the caller. */
struct mem_node *mem_dir_remove(struct mem_dir *d, struct mem_entry *e);

struct mem_node *mem_entry_node(const struct mem_entry *e);
/* Put NODE in the place of E's; the references change hands. */
struct mem_node *mem_entry_swap(struct mem_entry *e, struct mem_node *node);
const char *mem_entry_name(const struct mem_entry *e);
uint64_t mem_entry_cookie(const struct mem_entry *e);

/* ---- tree.c ---- */

/* N, which is not the root, lost its name in D; both nodes' locks are taken. mem.tree is held. */
void mem_node_unlinked(struct mem_node *d, struct mem_node *n, struct timespec now);

int mem_lookup(struct bk_req *, struct bk_node *dir, const char *name, struct bk_node **ret_node,
	       struct stat *ret_st);
int mem_mknod(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
	      struct bk_node **ret_node, struct stat *ret_st);
int mem_mkdir(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode,
	      struct bk_node **ret_node, struct stat *ret_st);
int mem_symlink(struct bk_req *, struct bk_node *dir, const char *name, const char *target,
		struct bk_node **ret_node, struct stat *ret_st);
int mem_link(struct bk_req *, struct bk_node *node, struct bk_node *dir, const char *name,
	     struct bk_node **ret_node, struct stat *ret_st);
int mem_unlink(struct bk_req *, struct bk_node *dir, const char *name);
int mem_rmdir(struct bk_req *, struct bk_node *dir, const char *name);
int mem_readdir(struct bk_req *, struct bk_file *, uint64_t cookie, bk_fill_fn, void *ctx);

/* ---- rename.c ---- */

int mem_rename(struct bk_req *, struct bk_node *dir, const char *name, struct bk_node *new_dir,
	       const char *new_name, unsigned flags);

/* ---- pages.c: the caller holds the node's lock ---- */

/* Page INDEX, or NULL in a hole. Bytes past the file's size are zero, always. */
char *mem_page(const struct mem_node *n, uint64_t index);
/* The same, made where there was none: of zeros, or of anything where the caller writes the WHOLE
 * page. Returns 0, -ENOSPC or -ENOMEM. */
int mem_page_make(struct mem_node *n, uint64_t index, bool whole, char **ret);
/* Give back the pages FIRST to LAST. */
void mem_pages_drop(struct mem_node *n, uint64_t first, uint64_t last);
/* The first page at INDEX or after it; false where only a hole is left. */
bool mem_pages_next(const struct mem_node *n, uint64_t index, uint64_t *ret);

/* ---- file.c ---- */

int mem_open(struct bk_req *, struct bk_node *, int flags, struct bk_file **ret);
int mem_tmpfile(struct bk_req *, struct bk_node *dir, mode_t mode, int flags,
		struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st);
ssize_t mem_read(struct bk_req *, struct bk_file *, void *data, size_t size, off_t off);
ssize_t mem_write(struct bk_req *, struct bk_file *, const void *data, size_t size, off_t off);
off_t mem_lseek(struct bk_req *, struct bk_file *, off_t off, int whence);
int mem_fallocate(struct bk_req *, struct bk_file *, int mode, off_t off, off_t len);
/* Returns 0 or -EFBIG. The lock is held. */
int mem_resize_locked(struct mem_node *n, uint64_t size);

#endif
