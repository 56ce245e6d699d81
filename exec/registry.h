/*
 * The mounts of this machine: a directory where each running daemon leaves its socket and a line
 * about itself, and where every client command finds its mount. One leaf for both sides; it knows
 * nothing of what is said over the socket.
 *
 *      RUNTIME/ID/info     {"mountpoint", "pid", "uid"}; locked while the daemon lives
 *      RUNTIME/ID/socket
 *
 * RUNTIME is $AIB_RUNTIME_DIR, else /run/aib for root, $XDG_RUNTIME_DIR/aib, /tmp/aib-UID. It
 * belongs to its user and nobody else may write there; root's can be read by all, since root's
 * mounts serve all. Clients look into /run/aib as well, unless AIB_RUNTIME_DIR says where to look.
 * ID is made from the mount point. The lock ends with the daemon, however it ends, so an entry is
 * never believed for longer.
 */
#ifndef AIB_EXEC_REGISTRY_H
#define AIB_EXEC_REGISTRY_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

#define REGISTRY_ID_SIZE 17

/* 16 hex digits of MOUNTPOINT (absolute, no links) and a NUL. */
void registry_id(const char *mountpoint, char ret[REGISTRY_ID_SIZE]);

/* RUNTIME of this user, made where it is missing; *ret is the caller's. Errors have text. */
int registry_dir(char **ret, struct err *err);

/* ---- Daemons ---- */

/* One daemon's entry. */
struct registry_entry {
	char *dir; /* RUNTIME/ID, 0700, or 0755 of root; the socket is to be made there */
	char *info; /* the file in it that is locked */
	int info_fd;
};

/*
 * Make the entry of MOUNTPOINT, taking over what a dead daemon left. -EBUSY where a living one has
 * it. Errors have text. Call it after daemonizing: it records the pid (the lock survives fork).
 */
int registry_add(const char *mountpoint, struct registry_entry *ret, struct err *err);
/* Remove the socket and the entry. */
void registry_remove(struct registry_entry *entry);

/*
 * Remove the entries of this user that dead daemons have left, or with DRY only hand them to EACH. 0
 * or the first -errno.
 */
int registry_prune(bool dry, void (*each)(void *ctx, const char *dir), void *ctx);

/* ---- Clients ---- */

struct registry_mount {
	char *mountpoint;
	char *socket_dir; /* of a file named "socket" */
	pid_t pid;	  /* 0: not known */
	uid_t uid;
};

void registry_mount_done(struct registry_mount *m);
#define _cleanup_registry_mount_ _cleanup_(registry_mount_done)

/* All living mounts that this user can reach; sorted by mount point. */
int registry_list(struct registry_mount **ret, size_t *ret_n);
void registry_list_free(struct registry_mount *list, size_t n);

/*
 * The mount that a client command means: of the path NAMED (--mount; NULL: not given), of
 * $AIB_MOUNT, of the working directory, or the only one of this user. -ENOENT or, with several,
 * -ENOTUNIQ, with text that lists them.
 */
int registry_choose(const char *named, struct registry_mount *ret, struct err *err);
/* The mount of exactly this mount point or of a path below it; -ENOENT without text. */
int registry_find(const char *path, struct registry_mount *ret);

/* A connection, whose other end was seen to be root's or the mount owner's; or -errno with text. */
int registry_connect(const struct registry_mount *m, struct err *err);

#endif
