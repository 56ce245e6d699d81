/*
 * The operations for agents: read, write, edit, ls, glob and grep over any tree of the contract,
 * with one implementation for every face (aib's commands, their JSON, other protocols). README.md
 * has the rules.
 *
 * An operation is a request (JSON), a caller, and where bytes go. It is allowed what its caller
 * could do through the mount and nothing more. It streams: no result is held whole.
 */
#ifndef AIB_OPS_H
#define AIB_OPS_H

#include "../backend.h"

/* Who asks, as the kernel says. Borrowed for the operation's life. */
struct ops_who {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	const gid_t *groups; /* further ones */
	size_t n_groups;
};

/* The tree and the rules of its mount. Borrowed for the operation's life. */
struct ops_tree {
	struct bk *root;	/* the backend that owns the root directory */
	const char *mountpoint; /* absolute, no links; "" where nothing is mounted */
	uid_t owner;		/* of the mount */
	bool allow_other;	/* others than the owner may use it */
	bool readonly;		/* changes are EROFS */
	bool nosymfollow;	/* links are never followed: ELOOP */
	uint64_t deadline_ms;	/* without progress; 0: none */
	unsigned threads;	/* of one grep; 0: as many as the machine has cores */

	/* NAME of DIR is another file now: before the operation's end is told. May be NULL. */
	void (*replaced)(void *ctx, struct bk_node *dir, const char *name);
	void *ctx;
};

/* Where bytes go and come from. Both may block, and end with -EINTR or -EPIPE once the caller is
 * gone. */
struct ops_io {
	void *ctx;
	/* STREAM 1: results, 2: messages. 0 or -errno. */
	int (*write)(void *ctx, int stream, const void *data, size_t len);
	/* The content of a write: bytes, 0 at its end, -errno (-EPIPE where it ended too early). */
	ssize_t (*read)(void *ctx, void *data, size_t size);
};

struct ops;

/* Whether NAME is an operation. */
bool ops_known(const char *name);
/*
 * REQUEST is {"op": "grep", "at": an absolute path of the host below the mount point, "path": the
 * same as the caller gave it, for output, …}; its other keys are in the tables of ops.c. It is only
 * read here. Returns 0, -EINVAL with text, -ENOMEM.
 */
int ops_new(const struct ops_tree *tree, const struct ops_who *who, const struct ops_io *io,
	    const cJSON *request, struct ops **ret, struct err *err);
/* Run it to its end; blocks. Returns the exit status: 0; 1 failed (grep: nothing found); 2 grep
 * failed.
 */
int ops_run(struct ops *o);
/* Let ops_run end soon. Any thread. */
void ops_cancel(struct ops *o);
void ops_free(struct ops *o); /* takes NULL */
DEFINE_CLEANUP(struct ops *, ops_free)

#endif
