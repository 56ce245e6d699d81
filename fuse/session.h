/*
 * The FUSE session of one mount: the whole interface of the request layer. The rest of the program
 * makes a tree of backends, hands its root in, and runs the session until it is told to end.
 * Nothing here knows of configuration, of daemons or of any type of backend.
 */
#ifndef AIB_FUSE_SESSION_H
#define AIB_FUSE_SESSION_H

#include "backend.h"

struct fs;
struct fuse_args;

/* Every limit of the request layer. Start from fs_conf_default. */
struct fs_conf {
	uint64_t timeout_ms;   /* a request's deadline; 0: none */
	unsigned threads;      /* that read requests, at most */
	unsigned pool_threads; /* of one blocking route, at most */
	unsigned pool_queue;   /* calls that wait for a thread of one route; beyond it EBUSY */
	uint64_t pool_idle_ms; /* after which an idle thread of a route ends */
	unsigned max_open;     /* open files and directories; beyond it ENFILE */
	unsigned max_nodes;    /* files that the kernel may remember at once; beyond it ENFILE */
	bool allow_other;      /* other users than the daemon's may use the mount */
	bool passthrough;      /* the kernel reads and writes files itself where it can */
	/* For how long it keeps one that was open for reading after its last close, of at most
	 * max_open. */
	uint64_t linger_ms;
	/* Requests come over io_uring: only where fs_uring_refused says NULL and no backend is
	 * `blocking` or answers a read with EAGAIN that has to be woken (such a read is answered
	 * so).
	 */
	bool io_uring;
	bool follow_caller; /* a reading thread follows a lone caller (base/near.h), where it may */
	bool debug;	    /* libfuse prints every request to standard error */
	/* Called every ALIVE_MS while requests are taken from the kernel and ended at their
	 * deadlines, on the thread that ends them: it must not wait. 0: never. */
	void (*alive)(void *ctx);
	void *ctx;
	uint64_t alive_ms;
};

extern const struct fs_conf fs_conf_default;

/* For passthrough: before any backend is prepared and any thread started, for all to come. */
void fs_give_up_rights(void);

/* Why requests cannot come over io_uring on this machine, in a few words; NULL where they can. */
const char *fs_uring_refused(void);

/*
 * A session that serves ROOT, the backend that owns the mount's root directory. ROOT is borrowed,
 * prepared, and must outlive the session, as must every backend below it. CONF is copied.
 * Returns 0 or -ENOMEM.
 */
int fs_new(struct bk *root, const struct fs_conf *conf, struct fs **ret);

/*
 * Mount at MOUNTPOINT, an absolute path. ARGS are mount options of the user's ("-o", "noexec", …),
 * with a program name as its first word, or NULL; default_permissions, nosuid, nodev and
 * allow_other (where conf says so) are added, and fsname and subtype where ARGS names none. Does
 * not fork. Returns 0, -EINVAL for an option that libfuse refuses, or -EIO where mounting failed;
 * what libfuse says about it goes to the log.
 */
int fs_mount(struct fs *fs, const char *mountpoint, struct fuse_args *args);

/*
 * Serve requests until fs_exit or an unmount from outside. Then what was queued is cancelled and
 * answered. Call it in the process that stays (after any fork). Returns 0; -errno where no thread
 * could be started; -ETIMEDOUT where a backend's call did not end even so: then fs_free only
 * unmounts, and no backend may be freed.
 */
int fs_run(struct fs *fs);

/*
 * What was told of BK's tree does not hold any more. When this returns the kernel uses nothing that
 * it remembered of it: no name, present or missing, and no attribute of an open file or working
 * directory. Names of other routes are asked for once more. Where names cannot be dropped (Linux
 * before 6.16, libfuse before 3.18) it was never told to remember anything of a backend with
 * `recall`, and remembers names of others. From any thread that holds no lock; does not wait for
 * requests. Not after fs_free began.
 */
void fs_changed(struct fs *fs, struct bk *bk);

/*
 * NAME of DIR, as looked up below fs_new's root, is another file now: what the kernel remembered of
 * the name is dropped, and what is being answered is not to be remembered. From any thread that
 * holds no lock; may wait for a lookup in DIR that is under way. Not after fs_free began.
 */
void fs_replaced(struct fs *fs, const struct bk_node *dir, const char *name);

struct fs_figures {
	unsigned nodes;	      /* that the kernel remembers */
	unsigned open;	      /* files and directories */
	unsigned passthrough; /* of these, inodes that the kernel reads and writes itself */
	unsigned recalls;     /* times that the kernel was made to forget (fs_changed) */
};

/* From any thread, while FS is there. */
void fs_figures(struct fs *fs, struct fs_figures *ret);

/* End fs_run, from any thread or from a signal handler. Idempotent. */
void fs_exit(struct fs *fs);

/* Unmount where it is still mounted, and free. Not while fs_run runs. Takes NULL. */
void fs_free(struct fs *fs);
DEFINE_CLEANUP(struct fs *, fs_free)

#endif
