/*
 * The inside of the host backend: a tree that is a directory of this machine (or, in a guest, of
 * the container). Nothing here knows of FUSE; there are no globals; being root is used, not needed.
 *
 * Invariants:
 * - The one path string that is resolved is the operator's, once, in prepare. After that every step
 *   is one name from a descriptor, and no symlink is followed.
 * - A node is a file: its key holds the device and the file handle (or inode number and birth
 * time), so a reused inode number is never served under an old node. A contained symlink's key has
 * its place (parent, name) too.
 * - Nodes own no descriptor: they borrow from a bounded cache (fds.c), and an evicted one comes
 * back by its handle or, where that is not allowed, by its name from the parent, verified.
 * - `lock` and `fds.lock` are never held together, nor across a system call that may wait; `moving`
 * is taken before either and held across one.
 */
#ifndef AIB_HOST_H
#define AIB_HOST_H

#include "backend.h"
#include "base/caps.h"
#include "base/closer.h"

#include <fcntl.h>
#include <sys/uio.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* The most directories that a contained link may be below the root: deeper ones answer EPERM. */
#define HOST_MAX_DEPTH 4096

/* How many devices without handles are remembered. */
#define HOST_HANDLELESS 4

#define HOST_SPARE_DIRS 4

/* Locks that directories share. */
#define HOST_NAME_LOCKS 64

/* Who a file is, apart from its names: tag, device, handle. Compared as bytes. */
#define HOST_ID_MAX (1 + sizeof(dev_t) + sizeof(int) + MAX_HANDLE_SZ)
struct host_id {
	unsigned len;
	int mount_id; /* not part of the identity; -1: no handle */
	unsigned char bytes[HOST_ID_MAX];
};

/* What statx(2) tells of who a file is. Hashed: no holes. */
struct host_sight {
	uint64_t dev, ino;
	uint64_t born_ns; /* since the epoch, for 584 years; 0: not known */
};

static inline uint64_t host_ns(int64_t sec, uint32_t nsec)
{
	return (uint64_t)sec * 1000000000 + nsec;
}

/* A mounted file system below the root, kept while nodes of it are. */
struct host_mount {
	struct host_mount *next;
	int id;
	int fd;		   /* for open_by_handle_at(2); -1: handles do not open here */
	bool keeps_births; /* each file's, to the step of the clock */
	unsigned refs;
};

struct host_node {
	struct bk_node base;
	mode_t type;		  /* S_IFMT bits; a file never changes them */
	struct host_mount *mount; /* set once; NULL where files have no handles */

	/* All guarded by host.lock. */
	UT_hash_handle hh;
	bool hashed;
	unsigned id_len; /* the first bytes of KEY: struct host_id */
	unsigned key_len;
	unsigned char *key;
	struct host_node *parent; /* a reference; NULL where the place is not needed or gone */
	char *name;
	atomic_bool recognised;	 /* by its sight: in host.recognised */
	struct host_sight sight; /* dev and ino never change, and need no lock; born_ns: where it
				    is recognised */
	UT_hash_handle hh_sight;

	/* All guarded by fds.lock. */
	int fd;			       /* O_PATH or lent, -1 for none */
	unsigned pins;		       /* users of fd */
	bool lent;		       /* fd is an open file's, and goes with its last user */
	bool kept;		       /* its file has no name any more: never evicted */
	struct host_node *prev, *next; /* in the list of the evictable */
};

struct host_fds {
	pthread_mutex_t lock;
	struct host_node *newest, *oldest; /* unpinned, by last use */
	unsigned count, kept;
	unsigned budget;
};

struct host_conf {
	char *path;
	char *symlinks;			      /* "contain" or "verbatim" */
	char *blocking;			      /* "auto", "yes" or "no" */
	uint64_t entry_timeout, attr_timeout; /* milliseconds */
	uint64_t fd_cache;
	/* Of a tree that is bound into a sandbox at `place`: the path of that one's root on this
	 * machine, for links that lead there. Both or none. */
	char *outside, *place;
};

struct host {
	struct bk bk;
	struct host_conf conf;
	char *mountpoint;
	bool contain;
	bool no_openat2;		       /* refused here (an old kernel, a seccomp filter) */
	bool switch_user;		       /* root: files are made as their callers */
	struct __user_cap_data_struct caps[2]; /* of the daemon's threads, where switch_user */

	pthread_mutex_t lock; /* guards the table, the mounts and places of nodes */
	struct host_node *nodes;
	struct host_node *recognised; /* of these, by sight */
	struct host_mount *mounts;
	atomic_bool opens_handles; /* of some mount's files, some time */

	/* Of a directory, while a name of it is taken away: so that what goes is what was found. In
	 * the array's order, before all others; held across a few calls on the file system. */
	pthread_mutex_t names[HOST_NAME_LOCKS];

	/* Written while names and places of nodes change together, read while one is opened by its
	 * place: so that a rename is not mistaken for a loss. */
	pthread_rwlock_t moving;

	/* Devices whose files have no handles, the newest few; 0: none. Their files are not asked.
	 */
	_Atomic dev_t handleless[HOST_HANDLELESS];
	atomic_uint next_handleless;

	struct host_fds fds;
	struct closer closer; /* of files without a name */
	/* For the next ones: musl unmaps their size at each free. */
	struct host_dir *_Atomic spare_dirs[HOST_SPARE_DIRS];
	struct host_node *root;
	dev_t root_dev;
};

struct host_file {
	struct bk_file base;
	atomic_int fd; /* -1: the kernel has it open, and nobody has asked here */
	bool lent;     /* fd is its node's too, and pinned */
	bool peeked;   /* a regular file, though its node is the directory */
};

#define HOST_OF(node) container_of((node)->bk, struct host, bk)
#define NODE_OF(node) container_of((node), struct host_node, base)
#define FILE_OF(file) container_of((file), struct host_file, base)

/* ---- sys.c: system calls with their fallbacks ---- */

/* Open the entry NAME of DIRFD, never through a link; O_CLOEXEC and O_NOFOLLOW are added. */
int host_openat(const struct host *h, int dirfd, const char *name, int flags, mode_t mode);
/* Find out whether openat2(2) works here. */
void host_probe(struct host *h, int fd);
/* Whether calls on FD's file system may wait for a machine or process. */
bool host_is_remote(int fd);
/* Whether FD's file system keeps births to the step of the clock. */
bool host_keeps_births(int fd);
int host_fstat(int fd, struct stat *ret);
/* As fdatasync(2), or fsync(2) unless DATA alone. */
int host_sync(int fd, bool data);
/* As pwritev2(2) with one buffer: -1 and errno. */
ssize_t host_pwritev2(int fd, const struct iovec *iov, off_t off, int flags);
/* 0 or -errno. */
int host_renameat2(int dirfd, const char *name, int new_dirfd, const char *new_name,
		   unsigned flags);
/* When the file of FD was made: 0, -EOPNOTSUPP where its file system does not know. */
int host_birth(int fd, struct timespec *ret);
/* Who the file of FD (whose stat is ST) is. */
int host_identify(struct host *h, int fd, const struct stat *st, struct host_id *ret);
/* The attributes of NAME of DIRFD, without opening it: 0, -ENOENT, or -EOPNOTSUPP where only a
 * descriptor tells. */
int host_see(int dirfd, const char *name, struct stat *ret_st, struct host_sight *ret);
/* Who it is: by its number, where files have no handles, or by its handle, where those open.
 * -EOPNOTSUPP otherwise. DEV: as it was seen; the handle may be of another file by now. */
int host_number_of(struct host *h, const struct host_sight *s, struct host_id *ret);
int host_handle_at(struct host *h, int dirfd, const char *name, dev_t dev, struct host_id *ret);
/* Whether NAME of DIRFD is still the file that host_handle_at said. */
bool host_is_handle_at(struct host *h, int dirfd, const char *name, const struct host_id *id);
/* Whether the mount of that id is one in use whose files open by handle, for which it stays busy.
 */
bool host_opens_handles(struct host *h, int mount_id);
/* A descriptor by the identity's handle, opened with FLAGS. */
int host_open_handle(int mount_fd, const unsigned char *id, unsigned len, int flags);

/*
 * What this thread is for one call; host_as_done gives it back. host_as_maker: new files in
 * DIRFD, of MODE with its type (0: regular), are the caller's, while permission (which the kernel
 * has checked, with the caller's groups) is still the daemon's. host_as_writer, for a change of the
 * file of FD: setuid bits stay for root alone. host_as_owner, for a new mode, which the kernel has
 * checked: it is taken as it is. Nothing happens where the daemon is not root.
 */
struct host_as {
	const struct host *host;
	bool ids, caps;
};
int host_as_maker(const struct host *h, const struct bk_req *req, int dirfd, mode_t mode,
		  struct host_as *ret);
int host_as_owner(const struct host *h, struct host_as *ret);
int host_as_writer(const struct host *h, const struct bk_req *req, int fd, struct host_as *ret);
void host_as_done(struct host_as *as);
#define _cleanup_as_ _cleanup_(host_as_done)

/* A node with a descriptor that stays (host_pin). */
struct host_pin {
	struct host_node *node;
	int fd;
};

/* Another process has a lease on the file (fcntl(2), F_SETLEASE), and has been told to give it up.
 * Wait for a moment: 0 to try again, else what REQ is to be answered. */
int host_bide(struct bk_req *req);

/* ---- names.c ---- */

/* The names of one directory, or of two, change for this thread only until it lets go. */
struct host_held {
	pthread_mutex_t *first, *second;
};
struct host_held host_hold(struct host *h, const struct bk_node *dir, const struct bk_node *dir2);
void host_let_go(struct host_held *held);
#define _cleanup_held_ _cleanup_(host_let_go)

/* ---- node.c: identity and the table ---- */

/*
 * The node of the file of FD (O_PATH, taken whatever happens), which was found as NAME in DIR
 * (NULL for the root), and its attributes.
 */
int host_node_for(struct host *h, struct host_node *dir, const char *name, int fd,
		  struct host_node **ret, struct stat *ret_st);
/* As host_node_for for a file that is open otherwise: FD is borrowed, the node gets none. 1 where
 * the node was made now. */
int host_node_for_open(struct host *h, struct host_node *dir, const char *name, int fd,
		       struct host_node **ret, struct stat *ret_st);

/* The node of what is NAME of DIR (pinned) now. It may have no descriptor, where handles open.
 * NUMBERS: nor where files have none. */
int host_node_at(struct host *h, const struct host_pin *dir, const char *name, bool numbers,
		 struct host_node **ret, struct stat *ret_st);

/* What is at a name now, with its descriptor, so that it can be kept. No node: nothing is there. */
struct host_found {
	struct host_node *node;
	struct host_pin pin;
	struct stat st;
};
int host_find(struct host *h, const struct host_pin *dir, const char *name, struct host_found *ret);
void host_found_done(struct host_found *f);
/* Whether F's node depends on the name, so that `moving` must be written around a change of it. */
bool host_found_placed(const struct host *h, const struct host_found *f);
/* The name that F was found at is gone. */
void host_found_removed(struct host *h, struct host_found *f, struct host_node *dir,
			const char *name);
/* F's file is now NAME in DIR. */
void host_found_moved(struct host *h, struct host_found *f, struct host_node *dir,
		      const char *name);

/* A reference on the directory that NODE was last found in, and the name (the caller's); NULL for
 * none of both. -ESTALE where it has none. */
int host_node_place(struct host *h, struct host_node *node, struct host_node **ret_dir,
		    char **ret_name);
bool host_node_is_at(struct host *h, struct host_node *node, const struct host_node *dir,
		     const char *name);
void host_node_free(struct bk_node *node);

/* Whether its file can be opened by its handle; else by its place alone. */
static inline bool host_node_has_handle(const struct host_node *node)
{
	return node->mount && node->mount->fd >= 0;
}

static inline void host_node_unref(struct host_node *node)
{
	bk_node_unref(node ? &node->base : NULL);
}
DEFINE_CLEANUP(struct host_node *, host_node_unref)

/* ---- sight.c: files known by sight ---- */

/* The node that S is of, with a reference, or NULL where that is not sure. */
struct host_node *host_recognised(struct host *h, const struct host_sight *s);
/* Whether it is worth making sure that N was seen as S (the name was the same file's before and
 * after). */
bool host_may_recognise(const struct host_node *node, const struct host_sight *s);
/* It is sure: N is known by S from now on, where it may be. */
void host_recognise(struct host *h, struct host_node *node, const struct host_sight *s);
/* NODE is about to go. host.lock is held. */
void host_unrecognise_locked(struct host *h, struct host_node *node);

/* ---- fds.c: descriptors of nodes ---- */

/* An O_PATH descriptor of NODE that stays open until the unpin. -ESTALE where its file is gone. */
int host_pin(struct bk_node *node, struct host_pin *ret);
void host_unpin(struct host_pin *pin);
#define _cleanup_pin_ _cleanup_(host_unpin)
#define HOST_PIN_NONE ((struct host_pin){.fd = -1})

/* Give FD (taken) to NODE, which may have one. KEEP: it is never evicted. */
void host_fds_give(struct host *h, struct host_node *node, int fd, bool keep);
/* Let NODE use FD of its open file, where it has none: then it is pinned, and closed by the last
 * unpin. */
bool host_fds_lend(struct host *h, struct host_node *node, int fd);
/* NODE, which is pinned, has no name any more: its descriptor is never evicted. */
void host_fds_keep(struct host *h, struct host_node *node);
/* NODE has a name again. */
void host_fds_unkeep(struct host *h, struct host_node *node);
void host_fds_drop(struct host *h, struct host_node *node);
/* A descriptor of its own of the file of NODE, opened with FLAGS by its handle. -EOPNOTSUPP where
 * it has none, or has a descriptor to open it by. */
int host_open_evicted(struct host *h, struct host_node *n, int flags);
/* After EMFILE: close half of what is cached. Returns whether anything was. */
bool host_fds_shrink(struct host *h);

/* ---- the slots ---- */

int host_lookup(struct bk_req *, struct bk_node *, const char *, struct bk_node **, struct stat *);
int host_mknod(struct bk_req *, struct bk_node *, const char *, mode_t, dev_t, struct bk_node **,
	       struct stat *);
int host_mkdir(struct bk_req *, struct bk_node *, const char *, mode_t, struct bk_node **,
	       struct stat *);
int host_symlink(struct bk_req *, struct bk_node *, const char *, const char *, struct bk_node **,
		 struct stat *);
int host_link(struct bk_req *, struct bk_node *, struct bk_node *, const char *, struct bk_node **,
	      struct stat *);
int host_unlink(struct bk_req *, struct bk_node *, const char *);
int host_rmdir(struct bk_req *, struct bk_node *, const char *);
int host_rename(struct bk_req *, struct bk_node *, const char *, struct bk_node *, const char *,
		unsigned);

int host_getattr(struct bk_req *, struct bk_node *, struct bk_file *, struct stat *);
int host_setattr(struct bk_req *, struct bk_node *, struct bk_file *, const struct bk_setattr *,
		 struct stat *);
int host_born(struct bk_req *, struct bk_node *, struct bk_file *, struct timespec *);
/* outside.c: what is shown of TARGET (LEN bytes, in place, room for PATH_MAX), which leads out of
 * the tree from a directory DEPTH levels below its root: the length, or -EPERM. */
int host_show_outside(const struct host *h, char *target, size_t len, size_t depth);
int host_readlink(struct bk_req *, struct bk_node *, char *);
int host_statfs(struct bk_req *, struct bk_node *, struct statvfs *);
ssize_t host_getxattr(struct bk_req *, struct bk_node *, const char *, void *, size_t);
ssize_t host_listxattr(struct bk_req *, struct bk_node *, char *, size_t);
int host_setxattr(struct bk_req *, struct bk_node *, const char *, const void *, size_t, int);
int host_removexattr(struct bk_req *, struct bk_node *, const char *);

int host_open(struct bk_req *, struct bk_node *, int, struct bk_file **);
int host_peek(struct bk_req *, struct bk_node *, const char *, struct bk_file **, struct stat *);
int host_create(struct bk_req *, struct bk_node *, const char *, mode_t, int, struct bk_node **,
		struct bk_file **, struct stat *);
int host_tmpfile(struct bk_req *, struct bk_node *, mode_t, int, struct bk_node **,
		 struct bk_file **, struct stat *);
ssize_t host_read(struct bk_req *, struct bk_file *, void *, size_t, off_t);
ssize_t host_write(struct bk_req *, struct bk_file *, const void *, size_t, off_t);
int host_flush(struct bk_req *, struct bk_file *);
int host_fsync(struct bk_req *, struct bk_file *, bool);
int host_fsyncdir(struct bk_req *, struct bk_file *, bool);
void host_release(struct bk_file *);
off_t host_lseek(struct bk_req *, struct bk_file *, off_t, int);
int host_fallocate(struct bk_req *, struct bk_file *, int, off_t, off_t);
int host_backing_fd(struct bk_file *);

int host_opendir(struct bk_req *, struct bk_node *, struct bk_file **);
void host_dir_release(struct bk_file *);
int host_readdir(struct bk_req *, struct bk_file *, uint64_t, bk_fill_fn, void *);

/* ---- Making one: host.c; as a type of route: type.c ---- */

/* CONF is complete; its strings are taken whatever happens. Returns 0 or -ENOMEM. */
int host_new(const struct bk_mount *mount, const char *route, struct host_conf *conf,
	     struct bk **ret);
void host_conf_done(struct host_conf *conf);

extern const struct bk_type host_type;

#endif
