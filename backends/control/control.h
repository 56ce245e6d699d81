/*
 * The control tree, `.aib/` in a mount: directories and generated files that read and change the
 * daemon. This backend knows how such files behave (snapshot at open, one write one command,
 * transactions, live files); what is in them is said by a table of the file's maker.
 *
 * Only root, the mount's owner and the control users may use all of it, and whoever owns a
 * directory that one; every operation checks the request's uid.
 */
#ifndef AIB_CONTROL_H
#define AIB_CONTROL_H

#include "../route.h"

struct control_dir;
struct control_reply;

/*
 * What a file does. One way to read (show, live or transact) or none, and one to write (command,
 * store or transact) or none; OBJECT is given when the file is added. None of them blocks: they run
 * on FUSE's threads. REQ says who asks.
 */
struct control_file_ops {
	/* The whole text, taken at open: 0 or -errno. */
	int (*show)(void *object, struct buf *out);
	/* A file that grows: its true size, and a read of it: bytes, 0 at the end, or -errno. */
	uint64_t (*live_size)(void *object);
	/* Such a file is opened, and was closed for good, also after it was removed. NULL: nobody
	 * wants to know. */
	void (*opened)(void *object);
	void (*closed)(void *object);
	ssize_t (*live_read)(void *object, uint64_t pos, void *data, size_t size);
	/*
	 * One write(2) is one command: TEXT has no trailing newline. It is validated and queued;
	 * the return value, 0 or -errno, says whether it was accepted, and comes at once.
	 */
	int (*command)(void *object, const struct bk_req *req, const char *text);
	/*
	 * The new contents, of LEN bytes with a NUL after them, once the file is closed: close(2)
	 * returns what this does. What is written to it before lands in the text that `show` gave
	 * at open, or in an empty one where the file was truncated.
	 */
	int (*store)(void *object, const struct bk_req *req, const char *text, size_t len);
	/*
	 * A transaction: what was written to the open file until its first read. Starts the work
	 * and returns at once; REPLY is answered exactly once, then or later, by
	 * control_reply_done. CANCEL(reply) says that nobody waits any more; it still has to be
	 * answered.
	 */
	int (*transact)(void *object, uid_t uid, const char *request, size_t len,
			struct control_reply *reply);
	void (*cancel)(void *object, struct control_reply *reply);
	/* The file is gone. NULL: the object is somebody else's. */
	void (*object_free)(void *object);

	bool read_only; /* the transaction takes no request: a file that answers when it can */
	bool everyone;	/* the file itself decides who may do what, by the request's uid */
};

/* Answer: the text that reads give (TEXT's contents are taken), or -errno. Any thread. */
void control_reply_done(struct control_reply *reply, int error, struct buf *text);

/*
 * A directory in which users make and remove directories. `mkdir` adds NAME with control_add_dir,
 * `rmdir` takes it away with control_remove; both answer 0 or -errno, and do not block.
 */
struct control_dir_ops {
	int (*mkdir)(void *object, const struct bk_req *req, const char *name);
	int (*rmdir)(void *object, const struct bk_req *req, const char *name);
	void (*object_free)(void *object); /* as above */
};

/* A backend's tree that is shown as a directory, which is reached by name but not listed. */
struct control_tree_ops {
	/* Its root, borrowed: alive until the directory that it is shown in is gone and freed its
	 * own object. NULL while there is none. Does not block. */
	struct bk_node *(*root)(void *object);
	/* Make it usable, before each lookup of its name. May block where root's backend may. NULL:
	 * it is. */
	int (*enter)(struct bk_req *req, void *object);
	void (*object_free)(void *object); /* as above */
};

struct control_conf {
	uid_t uid; /* the mount's owner */
	gid_t gid;
	const uid_t *users; /* further users; borrowed */
	size_t n_users;
	bool open; /* others come as far as directories that are theirs, or `open` */
	/* bk_ops.enter for a path of the control tree ("/sessions/alice/root/tmp"); NULL: none of it
	 * is of a sandbox. */
	int (*enter)(void *ctx, uid_t uid, const char *path, struct bk_use *ret, char **ret_dir,
		     struct err *err);
	void *ctx;
};

/* Of a directory that is as its parent: all zero. */
struct control_dir_conf {
	bool owned; /* by these, who may use it and all that is below, besides those who may all */
	uid_t uid;
	gid_t gid;
	bool open; /* others may look names up and make directories in it, but not list it */
	const struct control_dir_ops *ops;
	void *object;
};

int control_new(const struct control_conf *conf, struct bk **ret);

/*
 * Building, before or while it is served. NAME is copied. The root is PARENT NULL. -EEXIST where
 * the name is taken, -ENOENT where PARENT was removed; the object is the caller's then, as after
 * any failure. A *ret is good until it is removed.
 */
int control_add_dir(struct bk *control, struct control_dir *parent, const char *name,
		    const struct control_dir_conf *conf, struct control_dir **ret);
int control_add_file(struct bk *control, struct control_dir *parent, const char *name,
		     const struct control_file_ops *ops, void *object);
int control_add_link(struct bk *control, struct control_dir *parent, const char *name,
		     const char *target);
int control_add_tree(struct bk *control, struct control_dir *parent, const char *name,
		     const struct control_tree_ops *ops, void *object);

/*
 * DIR/ctl of BK's sandbox, NAME in messages: each write is one verb of its `ctl`, queued. RELEASE(ARG)
 * (may be NULL) is called once BK is not used any more; ARG is the caller's after a failure.
 */
int control_add_ctl(struct bk *control, struct control_dir *dir, const char *name, struct bk *bk,
		    void (*release)(void *arg), void *arg);

/*
 * Take DIR away with all that is in it. Files that are open stay as they are until they are closed,
 * and keep their object until then. No lock that an object_free takes may be held.
 */
void control_remove(struct bk *control, struct control_dir *dir);
/* Give DIR, and all that is below it, to another user. */
void control_chown(struct bk *control, struct control_dir *dir, uid_t uid, gid_t gid);

/*
 * More families for `metrics` (metrics.h): WRITE runs on FUSE's threads and does not block. Before
 * the tree is served; OBJECT is borrowed for its life.
 */
int control_add_metrics(struct bk *control, int (*write)(void *object, struct buf *out),
			void *object);

/*
 * The standard tree: version, status, routes, metrics, log, socket and
 * sandboxes/NAME/{status,ctl,error}. MOUNT and ROUTES are borrowed for the life of the control
 * backend. STATUS adds `key value` lines to .aib/status.
 */
struct control_mount {
	const struct route *routes;
	size_t n_routes;
	const char *mountpoint;
	const char *socket; /* path of the daemon's socket */
};
int control_populate(struct bk *control, const struct control_mount *mount);

#endif
