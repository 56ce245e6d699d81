/*
 * The parts of `differ`, which makes the same system calls in two directories and says where the
 * kernel answers otherwise:
 *
 *   differ.c    runs sequences on both sides, compares, and shrinks what differs
 *   generate.c  calls from a seed; nothing in them depends on what an earlier one answered
 *   act.c       one call, in one of the processes that make them; act_names.c those of names
 *   snapshot.c  everything that can be seen of a tree, as text
 *
 * An answer is text, so that comparing is strcmp and a difference prints itself.
 */
#ifndef DIFFER_H
#define DIFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ACTORS 5
#define SLOTS 6
#define OUT_SIZE 4096
#define MAX_STEPS 400

enum kind {
	OP_OPEN,
	OP_CLOSE,
	OP_DUP,
	OP_READ,
	OP_WRITE,
	OP_WRITEV,
	OP_LSEEK,
	OP_FTRUNCATE,
	OP_TRUNCATE,
	OP_FALLOCATE,
	OP_COPY,
	OP_SENDFILE,
	OP_SYNC,
	OP_ADVISE,
	OP_MMAP,
	OP_MSTORE,
	OP_MLOAD,
	OP_MUNMAP,
	OP_LINK,
	OP_FLINK,
	OP_RENAME,
	OP_UNLINK,
	OP_RMDIR,
	OP_MKDIR,
	OP_MKNOD,
	OP_SOCKET,
	OP_SYMLINK,
	OP_READLINK,
	OP_CHMOD,
	OP_FCHMOD,
	OP_CHOWN,
	OP_FCHOWN,
	OP_UTIMENS,
	OP_FUTIMENS,
	OP_SETXATTR,
	OP_GETXATTR,
	OP_LISTXATTR,
	OP_REMOVEXATTR,
	OP_FSETXATTR,
	OP_FLOCK,
	OP_LOCK,
	OP_STAT,
	OP_FSTAT,
	OP_LIST,
	OP_FLIST,
	OP_ACCESS,
	OP_STATFS,
	OP_UMASK,
	OP_KINDS,
};

/* At most three names of the pool, and what may stand around them. */
struct path {
	uint8_t count, names[3], shape;
};

struct op {
	uint8_t kind, actor, slot, slot2;
	struct path a, b;
	uint32_t flags, mode, choice;
	int64_t off, off2, len;
};

/* What a run takes for granted of both sides. */
struct setup {
	bool users;  /* actors of other users than the caller's (root) */
	bool xattrs; /* user.* of plain files */
	bool times;  /* access times of what was read */
	bool direct; /* O_DIRECT */
	bool suid;   /* setuid and setgid bits by chmod of files that may be open */
	bool holes;  /* where they are */
};

/* Who the actors are; the first is the caller. */
struct actor {
	uint32_t uid, gid, groups[2];
	int n_groups;
};
extern const struct actor actors[ACTORS];

/* ---- generate.c ---- */

uint64_t random_next(uint64_t *state);
void op_make(uint64_t *state, const struct setup *setup, struct op *ret);
/* The path as a string into BUF of PATH_SIZE; NULL where the call gets a bad pointer. */
#define PATH_SIZE 8192
const char *path_string(const struct path *p, char *buf);
void op_print(FILE *f, const struct op *op);

/* ---- act.c ---- */

/* Be actor WHO in DIR: make each call that comes from FD and answer it there, until it ends. */
void act(int fd, unsigned who, const char *dir, const struct setup *setup);
/* A value or "-ENAME". */
void say(char *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_result(char *out, long r);
uint64_t digest(const void *data, size_t size);
/* Of the calls of names, those that this is one; false: it is none. */
bool act_names(const struct op *op, const int *fds, char *out);
void say_stat(char *out, int dirfd, const char *path, int flags);

/* ---- snapshot.c ---- */

struct snapshot {
	char *text;
	size_t size;
	struct seen *seen; /* by inode number: what the times were */
	size_t n_seen;
};
/* All that can be seen in DIR, beside what BEFORE saw of its times. */
void snapshot_take(const char *dir, const struct setup *setup, const struct snapshot *before,
		   bool content, struct snapshot *ret);
void snapshot_done(struct snapshot *s);

#endif
