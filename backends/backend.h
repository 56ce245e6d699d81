/*
 * The backend contract: what every tree in a mount can do, and the only thing that the rest of the
 * project knows of one. To write a backend, fill a `struct bk_ops`, embed the structs below at
 * the head of your own, and add one line to registry.c (README.md walks through it).
 *
 * - Operations take nodes and at most one name, never a path. Callers use the checked wrappers
 *   (bk_lookup and so on); a backend only fills the slots.
 * - Calls are synchronous and may come from many threads at once. A backend whose `blocking` is
 *   set is called from the bounded pool of its route; one whose `blocking` is not set is called
 *   on the thread that read the request and must never wait for anything but a short lock or
 *   the machine's own file system.
 * - Results are 0 or a count, or a negative errno; outputs (`ret_x`) are set only on success.
 *   Any errno of the POSIX page of the same call may be returned as it is. Besides: ETIMEDOUT past
 *   the request's deadline, EINTR once it is cancelled, EIO for an engine that fails.
 * - NULL slots: where a comment says nothing else, EROFS for what changes a tree and EOPNOTSUPP
 *   for the rest.
 * - Sizes and offsets are bytes; `_ms` is milliseconds; deadlines are on CLOCK_MONOTONIC.
 */
#ifndef AIB_BACKEND_H
#define AIB_BACKEND_H

#include "base/buf.h"
#include "base/err.h"
#include "base/histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

struct bk;
struct bk_ops;
typedef struct cJSON cJSON; /* <cjson/cJSON.h>, for who looks into one */

/* ---- Requests ---------------------------------------------------------------------------- */

/*
 * Who asks, and until when. One lives as long as its request; the front end (the FUSE layer, the
 * exec server) makes it and may cancel it from another thread.
 */
struct bk_req {
	uid_t uid; /* the caller, as new files are to be owned */
	gid_t gid;
	pid_t pid;			  /* 0 where there is none */
	atomic_uint_fast64_t deadline_ms; /* 0: none */
	bool listing;	/* a lookup of many, for a listing: the file itself may not be wanted at all */
	bool writeback; /* a write of cached pages (a shared mapping): O_APPEND does not apply */
	/* It runs where others wait for it: -EAGAIN for what another process holds for a while (a
	 * lease, fcntl(2)), and it will be asked again. */
	bool hurried;
	/* An open for reading of a file that the kernel has open and reads by itself. */
	bool kernel_reads;

	pthread_mutex_t lock; /* guards the three below */
	bool cancelled;
	void (*wake)(void *);
	void *wake_arg;
};

void bk_req_init(struct bk_req *req, uid_t uid, gid_t gid, pid_t pid, uint64_t timeout_ms);
void bk_req_done(struct bk_req *req);

/* Front end: ask the call that runs with REQ to end at once with -EINTR. Any thread; idempotent. */
void bk_req_cancel(struct bk_req *req);

/* Backend: 0, -EINTR or -ETIMEDOUT. Long work asks between its steps. REQ may be NULL (0). */
int bk_req_check(struct bk_req *req);
/* Milliseconds left, at most MAX_MS, 0 when over: for poll(2) and transfers. */
uint64_t bk_req_left_ms(struct bk_req *req, uint64_t max_ms);
/* Backend, on the thread that runs the call: it has made progress, or begins or ends work with a
 * limit of its own: the deadline is now MS from now. Nothing where there is none; REQ may be NULL.
 */
void bk_req_extend(struct bk_req *req, uint64_t ms);
/*
 * Backend: call WAKE(ARG) when REQ is cancelled (at once if it was), until it is set to NULL,
 * after which it is not running and will not run. WAKE must not block or take a lock that is held
 * while calling this.
 */
void bk_req_on_cancel(struct bk_req *req, void (*wake)(void *), void *arg);

/* Whether the caller is root or of group GID. May read /proc; REQ may be NULL: the daemon itself. */
bool bk_req_in_group(const struct bk_req *req, gid_t gid);
/*
 * What is left of MODE, that of a regular file of group GID, after its data was written by REQ's
 * caller who is not root, or its owner changed by anybody: no setuid; setgid only where the group
 * may not execute it (it is a mark for locks then) and the caller is of that group.
 */
mode_t bk_mode_written(const struct bk_req *req, mode_t mode, gid_t gid);

/* ---- Nodes and open files ---------------------------------------------------------------- */

/*
 * A file of a backend, whatever its type. While a node is referenced, looking its file up again
 * gives the same node (by every hard link), so that node identity is file identity; links of a
 * route with contained symlinks are the exception: their identity is their place.
 * Embed at the head of your own struct.
 */
struct bk_node {
	struct bk *bk;	  /* its owner */
	atomic_uint refs; /* at 0, ops->node_free runs once; never raised from 0 */
	/* Raised by the owner when what the kernel has open of it is void: the next lookup gives
	 * the kernel's number another generation, and old descriptors answer EIO. */
	atomic_uint era;
	uint32_t front; /* the front end's index of it, 0 for none; guarded by its lock */
	/* The front end's too: its attributes may change untold, so nobody is to remember them. */
	atomic_bool untold;
};

/* An open file or directory; embed at the head of your own. It holds a reference on its node. */
struct bk_file {
	struct bk_node *node;
	int flags; /* open(2) flags */
	/* Its size is not known before it is read: bypass the page cache. */
	bool direct_io;
	/* Its file system has nothing to tell at close that it did not tell before: `flush` is of
	 * no use where the kernel writes to `backing_fd` by itself. */
	bool no_flush;
	bool counted; /* the wrappers': it is one of bk.open */
};

void bk_node_init(struct bk_node *node, struct bk *bk); /* with one reference */
struct bk_node *bk_node_ref(struct bk_node *node);
/* For a table of weak pointers, under its lock: a reference, or false where the last one is gone
 * (then the file needs a new node in its place, and node_free of the old one finds another). */
bool bk_node_tryref(struct bk_node *node);
void bk_node_unref(struct bk_node *node); /* takes NULL */
DEFINE_CLEANUP(struct bk_node *, bk_node_unref)

/* One backend instance: one tree. Embed at the head of your own; bk_init fills it. */
struct bk {
	const struct bk_ops *ops;
	char *route;	   /* the path prefix it serves, for messages: "/py" */
	bool blocking;	   /* calls may wait for the network, a process or another file system */
	bool readonly;	   /* wrappers answer EROFS for every change */
	bool no_host_exec; /* its files may not be executed on the host (EACCES) */
	bool direct_io;	   /* sizes are not known before the read: bypass the page cache */
	/* All of it changes through the mount's own kernel, but for names that the front end is
	 * told of, and an open file of it is as good as another: where the mount is of this backend
	 * alone, the kernel opens files by itself and gathers what is written to them. */
	bool unshared;
	/* How long the kernel may remember; may change at any time. */
	_Atomic uint32_t entry_ttl_ms, attr_ttl_ms, negative_ttl_ms;
	/* All of that can become void at once (bk_sandbox_ops.changed): it holds only where the
	 * front end can make the kernel forget, and is 0 where it cannot. */
	bool recall;

	uint64_t ino_space; /* the wrappers make st_ino unique in the mount with these two */
	dev_t ino_dev;	    /* the device whose numbers are kept as they are */
	uint64_t root_ino;  /* the root's own number, on ino_dev: known from prepare on, so that
			     * a listing above tells what stat will, and asks nobody */

	atomic_uint_fast64_t calls, errors; /* counted by the wrappers, as the two below */
	atomic_uint nodes;		    /* that are referenced */
	atomic_uint open;		    /* regular files that are open now */
	atomic_uint_fast64_t used_ms;	    /* when one was last opened or closed; 0: never */
	struct histogram latency;	    /* of requests, by the front end */
	void *front;			    /* the front end's, such as the pool of the route */
};

/* ROUTE is copied. Sets nothing that a backend may choose but sane defaults: ttl 1 s, negative
 * 0. Returns 0 or -ENOMEM. */
int bk_init(struct bk *bk, const struct bk_ops *ops, const char *route);
void bk_done(struct bk *bk);
/* Destroy a backend (ops->destroy). No node or file of it may be in use. Takes NULL. */
void bk_free(struct bk *bk);
DEFINE_CLEANUP(struct bk *, bk_free)

/* ---- Arguments ---------------------------------------------------------------------------- */

enum {
	BK_SET_MODE = 1 << 0,
	BK_SET_UID = 1 << 1,
	BK_SET_GID = 1 << 2,
	BK_SET_SIZE = 1 << 3,
	BK_SET_ATIME = 1 << 4,
	BK_SET_MTIME = 1 << 5,
	BK_SET_ATIME_NOW = 1 << 6,
	BK_SET_MTIME_NOW = 1 << 7,
	BK_SET_KILL_SUIDGID = 1 << 8, /* with SIZE: clear setuid and setgid as write(2) would */
	BK_SET_CTIME = 1 << 9,	      /* of an `unshared` one: the kernel knows when it changed */
};

struct bk_setattr {
	unsigned mask; /* BK_SET_… */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec atime, mtime, ctime;
};

/*
 * Takes one directory entry; "." and ".." come as entries too. TYPE is a DT_ constant (DT_UNKNOWN
 * is allowed), NEXT the cookie to continue after this entry. Returns false when it is full: the
 * entry was not taken and the listing stops. The name is valid during the call only.
 */
typedef bool (*bk_fill_fn)(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next);

/* To be woken once: see the slot `wait`. The waiter is its maker's, on both sides until it was
 * woken or removed. */
struct bk_waiter {
	void (*wake)(struct bk_waiter *); /* must not block; may free the waiter */
	struct bk_waiter *prev, *next;	  /* the backend's, while it waits */
};

/* ---- Sandboxes: what a backend can do that owns a place where programs run ------------------ */

/* A command to start. Strings are borrowed for the call. */
struct bk_exec {
	const char *const *argv; /* NULL-terminated, at least one */
	const char *const *env;	 /* K=V beside what the sandbox has; NULL-terminated; may be NULL */
	const char
	    *cwd; /* absolute, in the sandbox; an error where it is not there; NULL: its own */
	const char *pwd;  /* PWD as the caller spells cwd; NULL: cwd */
	const char *user; /* name, uid or uid:gid; NULL: the sandbox's */
	bool tty;	  /* a terminal of ROWS × COLS for all three streams */
	bool merged;	  /* both outputs are one, in order: all is STDOUT */
	uint16_t rows, cols;
	uint64_t timeout_ms; /* 0: none. TERM to the whole tree, KILL after a grace */
	/* The id of a job, hex digits that nobody can guess: the end of the stream does not end the
	 * command, and `attach` gives another one. NULL: no job. */
	const char *job;
	uint64_t job_wait_ms; /* how long the command's end is kept for who attaches; 0: a day */
};

/*
 * A connected byte stream to a started command; it carries the frames of exec/protocol.h. Not
 * thread-safe; nothing here blocks. Every byte that comes out is the sandbox's and hostile.
 */
struct bk_stream {
	const struct bk_stream_ops *ops;
};

struct bk_stream_ops {
	/* A descriptor for poll(2), owned by the stream. */
	int (*fd)(struct bk_stream *);
	/* Whether read would give bytes that poll(2) does not know of (TLS, a demultiplexer). */
	bool (*pending)(struct bk_stream *);
	/* Bytes, 0 at the end, -EAGAIN, or -errno. */
	ssize_t (*read)(struct bk_stream *, void *data, size_t size);
	/* Bytes taken, -EAGAIN, or -errno. */
	ssize_t (*write)(struct bk_stream *, const void *data, size_t size);
	/* The stream is a socket and nothing was read or written: the caller's from now on, who may
	 * give it to another process; free still has to be called. NULL: it is not one. */
	int (*take_fd)(struct bk_stream *);
	/* Closes; the command's tree is killed where it still runs, unless it is a job's. */
	void (*free)(struct bk_stream *);
};

struct bk_sandbox_ops {
	/*
	 * Start a command, starting the sandbox first where it sleeps. Blocks (req's deadline).
	 * Errors have text. The caller frees the stream.
	 */
	int (*exec)(struct bk_req *, struct bk *, const struct bk_exec *, struct bk_stream **ret,
		    struct err *);
	/*
	 * A new stream to the job whose id is JOB, which was started by an earlier `exec`: of this
	 * process or of one before it. It never starts the sandbox: -ENOTCONN where that does not
	 * run, so that no job is left in it. What else fails may work later. Blocks. Errors have
	 * text. That the job is not there is told on the stream, by an ERROR.
	 */
	int (*attach)(struct bk_req *, struct bk *, const char *job, struct bk_stream **ret,
		      struct err *);
	/* Whether the container is still there after bk_free, so that it is worth remembering what
	 * was started in it. Does not block. */
	bool (*lasts)(struct bk *);
	/* A command ended: forget everything cached that it may have changed. Does not block. */
	void (*changed)(struct bk *);
	/* "start", "stop", "restart", "pause", "unpause", "reset" (made anew, as at first),
	 * "create" (made where it is gone, and not started). Blocks. -EINVAL for any other word,
	 * -EOPNOTSUPP where its life is not ours. */
	int (*ctl)(struct bk_req *, struct bk *, const char *verb, struct err *);
	/* `key value` lines: id, container, image, state, transport … Does not block. */
	int (*status)(struct bk *, struct buf *out);
	/* `key value` lines: memory (bytes), cpus, pids, disk (bytes), each a dash where there is
	 * none. Does not block. NULL: they are not known. */
	int (*limits)(struct bk *, struct buf *out);
	/* The text of the newest failure, empty for none. Does not block. */
	int (*error)(struct bk *, struct buf *out);
	/*
	 * Where a host directory is seen in the sandbox: HOST_DIR "/home/me/proj" gives "/project".
	 * Returns -ENOENT where it is not bound in. *ret is the caller's.
	 */
	int (*bound_at)(struct bk *, const char *host_dir, char **ret);
	/* The trees that a command here may change, handed to EACH. NULL: its own alone. */
	void (*touches)(struct bk *, void (*each)(void *ctx, struct bk *), void *ctx);
};

/*
 * A sandbox in use, from bk_enter to bk_leave: BK and NAME stay valid, and one that may be put to
 * sleep is not. Any thread may leave; zeroed, it is none.
 */
struct bk_use {
	struct bk *bk;	  /* has ops->sandbox */
	const char *name; /* "py", "alice" */
	void *keeper;	  /* of ops->leave, NULL where there is nothing to leave */
	const struct bk_ops *ops;
};

/* ---- Searches: what a backend can do whose files are elsewhere ------------------------------ */

/* A search of a tree where it is, for the caller of its request. Borrowed for the call. */
struct bk_search {
	const gid_t *groups; /* further ones of the caller's */
	size_t n_groups;
	bool root; /* modes do not count: the caller may list and read all */
	/* Names in the directory, with a '/' between, that are not gone into. NULL: none. */
	const char *hidden;
	const void *what; /* for who searches (ops/far.h); nobody between looks into it */
	size_t size;
};

/* What a search finds. Not thread-safe. Every byte may be hostile. */
struct bk_results {
	const struct bk_results_ops *ops;
};

struct bk_results_ops {
	/* The next bytes, 0 at the end, or -errno. Waits for some until REQ's deadline. */
	ssize_t (*read)(struct bk_req *, struct bk_results *, void *data, size_t size);
	/* The search ends, soon. Does not block. */
	void (*free)(struct bk_results *);
};

/* ---- Operations --------------------------------------------------------------------------- */

struct bk_ops {
	const char *type; /* "memory" */

	/*
	 * Make the backend usable: look up its source, pull its image… called once before the
	 * mount; blocks. PROGRESS(ctx, text) may be called with a line for people, without a
	 * newline; NULL where nobody watches. NULL slot: nothing to do.
	 */
	int (*prepare)(struct bk_req *, struct bk *, void (*progress)(void *ctx, const char *text),
		       void *ctx, struct err *);
	/* End everything and free. Blocks at most a few seconds. Required. */
	void (*destroy)(struct bk *);
	/* A reference on the root directory. Required; does not fail after prepare. */
	struct bk_node *(*root)(struct bk *);
	/* The last reference is gone: free the node (not necessarily its file). Does not block.
	 * Required. */
	void (*node_free)(struct bk_node *);

	/* Names. DIR is a directory. *ret_node comes with a reference, for the caller. */
	int (*lookup)(struct bk_req *, struct bk_node *dir, const char *name,
		      struct bk_node **ret_node, struct stat *ret_st);
	/* MODE has the type too; S_IFREG makes an empty file. The umask is applied already. */
	int (*mknod)(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode,
		     dev_t rdev, struct bk_node **ret_node, struct stat *ret_st);
	int (*mkdir)(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode,
		     struct bk_node **ret_node, struct stat *ret_st);
	int (*symlink)(struct bk_req *, struct bk_node *dir, const char *name, const char *target,
		       struct bk_node **ret_node, struct stat *ret_st);
	/* NODE is of the same backend. *ret_node is NODE again, or the new place's. */
	int (*link)(struct bk_req *, struct bk_node *node, struct bk_node *dir, const char *name,
		    struct bk_node **ret_node, struct stat *ret_st);
	int (*unlink)(struct bk_req *, struct bk_node *dir, const char *name);
	int (*rmdir)(struct bk_req *, struct bk_node *dir, const char *name);
	/* Both directories are of the same backend. FLAGS: RENAME_NOREPLACE or RENAME_EXCHANGE, as
	 * renameat2(2); -EINVAL for what is not supported. */
	int (*rename)(struct bk_req *, struct bk_node *dir, const char *name,
		      struct bk_node *new_dir, const char *new_name, unsigned flags);

	/* Attributes. FILE is an open file of the node, or NULL. st_ino is the backend's own. */
	int (*getattr)(struct bk_req *, struct bk_node *, struct bk_file *, struct stat *ret_st);
	int (*setattr)(struct bk_req *, struct bk_node *, struct bk_file *,
		       const struct bk_setattr *, struct stat *ret_st);
	/* When the file was made (statx's birth time). -EOPNOTSUPP where nobody knows; so is NULL. */
	int (*born)(struct bk_req *, struct bk_node *, struct bk_file *, struct timespec *ret);
	/* The target as the mount shows it (contained where the route says so): bytes written to
	 * BUF, which has room for PATH_MAX; not terminated. */
	int (*readlink)(struct bk_req *, struct bk_node *, char *buf);
	int (*statfs)(struct bk_req *, struct bk_node *, struct statvfs *ret);
	/* As getxattr(2) and so on: SIZE 0 asks for the length, -ERANGE where it is too small. */
	ssize_t (*getxattr)(struct bk_req *, struct bk_node *, const char *name, void *value,
			    size_t size);
	ssize_t (*listxattr)(struct bk_req *, struct bk_node *, char *list, size_t size);
	int (*setxattr)(struct bk_req *, struct bk_node *, const char *name, const void *value,
			size_t size, int flags);
	int (*removexattr)(struct bk_req *, struct bk_node *, const char *name);

	/* Files. Only regular files are opened. FLAGS are open(2)'s; O_TRUNC must be obeyed,
	 * O_APPEND is handled by the caller but for two writers at once. */
	int (*open)(struct bk_req *, struct bk_node *, int flags, struct bk_file **ret);
	/*
	 * Open NAME of DIR, a regular file, for reading and no more: for who reads many files once
	 * and wants no node of each. The file's node is DIR. -ELOOP, -EISDIR, -ENXIO for what is no
	 * regular file; nothing else is ever opened. NULL: by lookup and open, with its own node.
	 */
	int (*peek)(struct bk_req *, struct bk_node *dir, const char *name, struct bk_file **ret,
		    struct stat *ret_st);
	/* NULL slot: mknod and open. -EEXIST where O_EXCL says so; else an existing file is opened.
	 */
	int (*create)(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode,
		      int flags, struct bk_node **ret_node, struct bk_file **ret_file,
		      struct stat *ret_st);
	/* A new regular file of DIR's file system without a name (O_TMPFILE), open: `link` may give
	 * it one. */
	int (*tmpfile)(struct bk_req *, struct bk_node *dir, mode_t mode, int flags,
		       struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st);
	/* As pread(2), pwrite(2): a short read is the end of the file; a short write is allowed. */
	ssize_t (*read)(struct bk_req *, struct bk_file *, void *data, size_t size, off_t off);
	ssize_t (*write)(struct bk_req *, struct bk_file *, const void *data, size_t size,
			 off_t off);
	/* One descriptor was closed; its return value is close(2)'s. NULL: nothing to tell. */
	int (*flush)(struct bk_req *, struct bk_file *);
	/* NULL: 0, since close has told everything. */
	int (*fsync)(struct bk_req *, struct bk_file *, bool datasync);
	/* Frees the file, the bare one of a directory where `opendir` is NULL included. May block
	 * where the backend is blocking. */
	void (*release)(struct bk_file *);
	/* WHENCE is SEEK_DATA or SEEK_HOLE. NULL: emulated by size, all data. */
	off_t (*lseek)(struct bk_req *, struct bk_file *, off_t off, int whence);
	int (*fallocate)(struct bk_req *, struct bk_file *, int mode, off_t off, off_t len);
	/*
	 * Where read answers -EAGAIN (a file that waits for an event): call w->wake(w) once when it
	 * may be worth asking again, maybe before this returns. REMOVE: forget W; afterwards it is
	 * not and will not be called. NULL: read never answers -EAGAIN.
	 */
	void (*wait)(struct bk_file *, struct bk_waiter *w, bool remove);

	/*
	 * A descriptor of the regular file that FILE is, for the kernel to read and write without
	 * asking (FUSE passthrough): borrowed, good as long as FILE, open for at least what FILE
	 * is, never O_PATH. -EOPNOTSUPP where there is none. Does not block. NULL: there is none.
	 */
	int (*backing_fd)(struct bk_file *);

	/* Directories. NULL: the node itself is enough, a bare bk_file is made. */
	int (*opendir)(struct bk_req *, struct bk_node *, struct bk_file **ret);
	/* Entries after COOKIE (0: from the start), until it is full or none is left. A listing
	 * misses nothing and repeats nothing that is there from opendir to the end, whatever is
	 * made or removed meanwhile. Required.
	 */
	int (*readdir)(struct bk_req *, struct bk_file *, uint64_t cookie, bk_fill_fn, void *ctx);
	int (*fsyncdir)(struct bk_req *, struct bk_file *, bool datasync);

	/*
	 * Search what is below DIR where it is, so that not files but results come from there;
	 * links are not followed, and all of it is of this backend. -EOPNOTSUPP where it cannot be
	 * now, or would not find what a walk through here does: then the caller walks. May block.
	 * NULL: it cannot, or is no faster than a walk.
	 */
	int (*search)(struct bk_req *, struct bk_node *dir, const struct bk_search *,
		      struct bk_results **ret);

	/*
	 * For a backend that lays others over one another: the node that really serves NODE itself
	 * (NAME is NULL) or NODE's entry NAME. Does not block. -EBUSY: the name is a route's, and
	 * *ret its root or NULL; -EROFS: nothing serves it, and *ret is NULL. *ret is borrowed,
	 * alive as long as NODE. The wrappers ask it before all that changes a tree, and for
	 * attributes; lookup, readdir and getattr stay the backend's own. NULL: NODE serves itself.
	 * A backend with this slot numbers its files itself, with bk_unique_ino.
	 */
	int (*through)(struct bk_node *node, const char *name, struct bk_node **ret);

	/*
	 * What the configuration refuses of NODE itself (NAME is NULL) or of NODE's entry NAME: 0;
	 * -EROFS: changes; -EACCES: to read it, too. Then *RET is the pattern that says so,
	 * borrowed as long as the backend. To explain an error: the operations themselves hold it.
	 * Does not block. NULL: nothing.
	 */
	int (*rule)(struct bk_node *node, const char *name, const char **ret);

	/* The host directory that the tree is, if it is one; borrowed. NULL: it is not. */
	const char *(*host_dir)(struct bk *);

	/* Present where programs can run. */
	const struct bk_sandbox_ops *sandbox;

	/*
	 * For a tree whose sandboxes come and go, each with a name: use the one that NAME names, or
	 * where NAME is NULL the one that PATH ("" or "/alice/src") is of, whose own name of that
	 * directory goes to *RET_DIR (the caller's; NULL: nobody asks). UID is who will run
	 * commands in it, 0 for who may use all of the mount. -ENOENT where there is none, -EPERM
	 * where it is another's: with text. Does not block, starts nothing. It fills all of *RET
	 * but `ops`.
	 */
	int (*enter)(struct bk *, uid_t uid, const char *path, const char *name, struct bk_use *ret,
		     char **ret_dir, struct err *);
	/* The use with this keeper is over. Does not block. */
	void (*leave)(void *keeper);
};

/* bk_ops.enter of BK, which has it. */
int bk_enter(struct bk *, uid_t uid, const char *path, const char *name, struct bk_use *ret,
	     char **ret_dir, struct err *);
void bk_leave(struct bk_use *use); /* empties it; nothing where it is empty */

/* ---- Checked wrappers: the only way in ---------------------------------------------------- */

/*
 * They assert what the contract asks (names without '/', not "." or "..", nodes of the same
 * backend), answer EROFS for read-only routes, ENAMETOOLONG for names over 255 bytes, EXDEV
 * across backends, turn a positive or absurd result into -EIO with a log line, make inode numbers
 * unique, and count. Arguments are those of the slots.
 */
struct bk_node *bk_root(struct bk *bk);
int bk_lookup(struct bk_req *, struct bk_node *dir, const char *name, struct bk_node **ret_node,
	      struct stat *ret_st);
int bk_mknod(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
	     struct bk_node **ret_node, struct stat *ret_st);
int bk_mkdir(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode,
	     struct bk_node **ret_node, struct stat *ret_st);
int bk_symlink(struct bk_req *, struct bk_node *dir, const char *name, const char *target,
	       struct bk_node **ret_node, struct stat *ret_st);
int bk_link(struct bk_req *, struct bk_node *node, struct bk_node *dir, const char *name,
	    struct bk_node **ret_node, struct stat *ret_st);
int bk_unlink(struct bk_req *, struct bk_node *dir, const char *name);
int bk_rmdir(struct bk_req *, struct bk_node *dir, const char *name);
int bk_rename(struct bk_req *, struct bk_node *dir, const char *name, struct bk_node *new_dir,
	      const char *new_name, unsigned flags);
int bk_getattr(struct bk_req *, struct bk_node *, struct bk_file *, struct stat *ret_st);
int bk_setattr(struct bk_req *, struct bk_node *, struct bk_file *, const struct bk_setattr *,
	       struct stat *ret_st);
int bk_born(struct bk_req *, struct bk_node *, struct bk_file *, struct timespec *ret);
int bk_readlink(struct bk_req *, struct bk_node *, char *buf);
int bk_statfs(struct bk_req *, struct bk_node *, struct statvfs *ret);
ssize_t bk_getxattr(struct bk_req *, struct bk_node *, const char *name, void *value, size_t size);
ssize_t bk_listxattr(struct bk_req *, struct bk_node *, char *list, size_t size);
int bk_setxattr(struct bk_req *, struct bk_node *, const char *name, const void *value, size_t size,
		int flags);
int bk_removexattr(struct bk_req *, struct bk_node *, const char *name);
int bk_open(struct bk_req *, struct bk_node *, int flags, struct bk_file **ret);
int bk_peek(struct bk_req *, struct bk_node *dir, const char *name, struct bk_file **ret,
	    struct stat *ret_st);
int bk_create(struct bk_req *, struct bk_node *dir, const char *name, mode_t mode, int flags,
	      struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st);
int bk_tmpfile(struct bk_req *, struct bk_node *dir, mode_t mode, int flags,
	       struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st);
ssize_t bk_read(struct bk_req *, struct bk_file *, void *data, size_t size, off_t off);
ssize_t bk_write(struct bk_req *, struct bk_file *, const void *data, size_t size, off_t off);
int bk_flush(struct bk_req *, struct bk_file *);
int bk_fsync(struct bk_req *, struct bk_file *, bool datasync);
void bk_release(struct bk_file *); /* open and opendir alike; takes NULL */
off_t bk_lseek(struct bk_req *, struct bk_file *, off_t off, int whence);
int bk_fallocate(struct bk_req *, struct bk_file *, int mode, off_t off, off_t len);
/* What bk_lseek answers where there is no slot: all is data. For a backend that knows better of
 * some files only. */
off_t bk_seek_all_data(struct bk_req *, struct bk_file *, off_t off, int whence);
int bk_backing_fd(struct bk_file *);
int bk_opendir(struct bk_req *, struct bk_node *, struct bk_file **ret);
int bk_readdir(struct bk_req *, struct bk_file *, uint64_t cookie, bk_fill_fn, void *ctx);
int bk_fsyncdir(struct bk_req *, struct bk_file *, bool datasync);
int bk_search(struct bk_req *, struct bk_node *dir, const struct bk_search *,
	      struct bk_results **ret);
ssize_t bk_results_read(struct bk_req *, struct bk_results *, void *data, size_t size);
void bk_results_free(struct bk_results *); /* takes NULL */
/*
 * An inode number that is unique in the mount: the route's space in the high bits over the
 * backend's own number where that fits, a hash of all three (with the top bit set) where not.
 */
uint64_t bk_unique_ino(const struct bk *bk, dev_t dev, uint64_t ino);
/* The backend that has to answer for NODE itself (NAME is NULL) or for its entry NAME: its
 * `blocking` and its pool choose the thread. Never fails: NODE's own where nothing else serves. */
struct bk *bk_serving(struct bk_node *node, const char *name);

/* The slot `rule` of who serves it. */
int bk_rule(struct bk_node *node, const char *name, const char **ret);
/* Whether FLAGS of open(2) change a file, or let it be changed. */
bool bk_writes(int flags);

/* ---- Making one ---------------------------------------------------------------------------- */

/* The ino_space numbers of a mount that are taken. From any thread. */
struct bk_spaces;
int bk_spaces_new(struct bk_spaces **ret); /* 0 or -ENOMEM */
void bk_spaces_free(struct bk_spaces *s);  /* takes NULL */
/* A number from 1 to 32767 that nobody has: made from KEY, so that it is the same again after a
 * restart where it is free. -ENOSPC where all are taken. S may be NULL: 0. */
int bk_space_take(struct bk_spaces *s, const char *key);
void bk_space_give(struct bk_spaces *s, unsigned number);

/* What a mount tells every backend it makes. All is borrowed and outlives the backends. */
struct bk_mount {
	const char *id;		/* unique on this machine, of the mount point: [a-z0-9]+ */
	const char *mountpoint; /* absolute, no links */
	uid_t uid;		/* the mount's owner */
	gid_t gid;
	const char *alive; /* path of a file that is locked while this daemon lives; NULL: none */
	const char *spool_dir;	   /* where unlinked temporary files go */
	const char *guest;	   /* path of aib-guest on the host */
	const cJSON *engines;	   /* "engines" of the configuration, or NULL */
	struct runtimes *runtimes; /* for who makes sandboxes from recipes (sessions/runtimes.h) */
	/* For who makes backends himself, below a route: numbers for their ino_space, the same for
	 * the same KEY where that is free. NULL: there is nobody else, and 0 will do. */
	struct bk_spaces *spaces;
	bool can_switch_user; /* the daemon is root and serves other users */
	bool follows;	      /* a daemon that crashed: what it made here is taken over */
};

/*
 * A type of route. OPTIONS is the route's JSON object without "type" and the keys that belong to
 * every route (readonly, nofail, exec, host_exec). SOURCE is the part after "TYPE:" of a command
 * line route, NULL for none; it is an option whose name is SOURCE_KEY. BINDS, an object
 * {host directory: place in the sandbox, and ":rw" or ":ro"}, are host routes that name this route
 * in `exec`.
 */
struct bk_type {
	const char *name;
	const char *source_key; /* NULL: takes no source */
	bool runs;		/* commands run in its routes, which see all of the tree */
	int (*make)(const struct bk_mount *, const char *route, const cJSON *options,
		    const cJSON *binds, struct bk **ret, struct err *);
	/* Options for messages and `--help`; a NULL key ends them. */
	const struct option *options;
};

/* The types of registry.c; -EINVAL with text (and a list of the types) for an unknown name. */
int bk_type_find(const char *name, const struct bk_type **ret, struct err *);

/* The type with index I, NULL past the last one. */
const struct bk_type *bk_type_at(size_t i);

#endif
