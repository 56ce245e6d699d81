/*
 * The control tree, `.aib/` in a mount: directories and generated files that read and change the
 * daemon. This backend knows how such files behave (snapshot at open, one write one command,
 * transactions, live files); what is in them is said by a table of the file's maker.
 *
 * Only root, the mount's owner and the control users may use it; every operation checks the
 * request's uid.
 */
#ifndef AIB_CONTROL_H
#define AIB_CONTROL_H

#include "../route.h"

struct control_dir;
struct control_reply;

/*
 * What a file does. Exactly one way to read (show, live or transact) or none; OBJECT is given when
 * the file is added. All but `command` and `transact` run on FUSE's threads and do not block.
 */
struct control_file_ops {
	/* The whole text, taken at open: 0 or -errno. */
	int (*show)(void *object, struct buf *out);
	/* A file that grows: its true size, and a read of it. */
	uint64_t (*live_size)(void *object);
	size_t (*live_read)(void *object, uint64_t pos, void *data, size_t size);
	/*
	 * One write(2) is one command: TEXT has no trailing newline. It is validated and queued;
	 * the return value, 0 or -errno, says whether it was accepted, and comes at once.
	 */
	int (*command)(void *object, const char *text);
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
};

/* Answer: the text that reads give (TEXT's contents are taken), or -errno. Any thread. */
void control_reply_done(struct control_reply *reply, int error, struct buf *text);

struct control_conf {
	uid_t uid; /* the mount's owner */
	gid_t gid;
	const uid_t *users; /* further users; borrowed */
	size_t n_users;
};

int control_new(const struct control_conf *conf, struct bk **ret);

/* Building, before or while it is served. NAME is copied. The root is PARENT NULL. */
int control_add_dir(struct bk *control, struct control_dir *parent, const char *name,
		    struct control_dir **ret);
int control_add_file(struct bk *control, struct control_dir *parent, const char *name,
		     const struct control_file_ops *ops, void *object);
int control_add_link(struct bk *control, struct control_dir *parent, const char *name,
		     const char *target);

/*
 * The standard tree: version, status, routes, log, socket and sandboxes/NAME/{status,ctl,error}.
 * MOUNT and ROUTES are borrowed for the life of the control backend. STATUS adds `key value` lines
 * to .aib/status.
 */
struct control_mount {
	const struct route *routes;
	size_t n_routes;
	const char *mountpoint;
	const char *socket; /* path of the daemon's socket */
};
int control_populate(struct bk *control, const struct control_mount *mount);

#endif
