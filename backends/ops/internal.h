/*
 * What the files of this folder share: the running operation, output, permissions, paths, listings.
 */
#ifndef AIB_OPS_INTERNAL_H
#define AIB_OPS_INTERNAL_H

#include "ops.h"

#define OPS_BUFFER (64 * 1024)	 /* of output, before it goes on */
#define OPS_CHUNK (256 * 1024)	 /* of files that are read from end to end */
#define OPS_MAX_DEPTH 1024	 /* directories below one another, of a walk */
#define OPS_MAX_LINKS 40	 /* symlinks on the way of one path, as the kernel's */
#define OPS_MAX_PATH (64 * 1024) /* of one path, in output */

/* ---- The running operation: running.c ---- */

struct ops_args {
	char *at, *path;
	char *pattern, *glob, *mode, *sort;
	char *old, *new, *expect;
	uint64_t offset, limit, max, umask; /* limit: UINT64_MAX where it was not given */
	bool json, raw, ignore_case, hidden, gitignore, replace_all;
	bool missing_ok; /* the path is of the pattern: where it is not there, nothing matches */
};

/* A contract request of one thread of the operation. */
struct ops_req {
	struct bk_req req; /* first */
	struct ops *ops;
	struct ops_req *prev, *next; /* guarded by ops.lock */
};

/* A search at its far end: results are records (far_wire.h), and paths begin at its directory. */
struct ops_far {
	const char *below;  /* that directory, from where paths of `glob` begin; "" or "a/b" */
	const char *hidden; /* struct bk_search's */
	bool stats;	    /* attributes are wanted */
	bool whole_lines;   /* else what is shown of them */
};

struct ops {
	const struct ops_tree *tree;
	const struct ops_who *who;
	const struct ops_io *io;
	bool root; /* the caller may all */
	const struct operation *operation;
	struct ops_args args;
	const struct ops_far *far;  /* NULL: at this end */
	struct ops_req req;	    /* of the thread that runs it */
	struct buf out;		    /* results that have not gone on yet */
	atomic_uint_fast64_t steps; /* done so far: it grows while there is progress */

	pthread_mutex_t lock; /* guards both below */
	bool cancelled;
	struct ops_req *reqs;
};

/* What is not given is zeroed, or the caller's to set. */
void ops_init(struct ops *o, const struct ops_tree *tree, const struct ops_who *who,
	      const struct ops_io *io);
void ops_done(struct ops *o);

void ops_req_init(struct ops *o, struct ops_req *r);
void ops_req_done(struct ops_req *r);
/* Between steps: 0, or -EINTR or -ETIMEDOUT; the deadline runs anew. */
int ops_step(struct ops_req *r);

/* Results, in order. 0 or -errno. */
int ops_put(struct ops *o, const void *data, size_t len);
int ops_puts(struct ops *o, const char *s);
int ops_flush(struct ops *o);
/* A message for people, one line. */
void ops_say(struct ops *o, const char *text);
/* The end of an operation with an error: as {"error": TEXT} or on the messages' stream. Returns 1.
 */
int ops_fail(struct ops *o, const char *fmt, ...) _printf_(2, 3);
/* The same with what errno R of the named path means. */
int ops_fail_errno(struct ops *o, int r);

/* ---- Text: text.c ---- */

/* DATA as the inside of a JSON string; what is not UTF-8 is U+FFFD. Unless LAST, a character that
 * is not complete at the end is left: returns the bytes that were taken, or -errno. */
ssize_t ops_json_bytes(struct buf *out, const void *data, size_t len, bool last);
/* A whole JSON string. */
int ops_json_string(struct buf *out, const void *data, size_t len);
/* DIR and NAME in one; an empty DIR is nothing. */
int ops_join(struct buf *out, const char *dir, const char *name, size_t len);
/* "2026-11-24T22:33:38.123456789Z" */
void ops_time(const struct timespec *t, char ret[40]);

/* ---- Permissions: access.c ---- */

struct ops_place;

/* Whether the caller may do WANT (R_OK, W_OK, X_OK) with a file of ST: 0 or -EACCES, as the kernel
 * with default_permissions. */
int ops_may(const struct ops *o, const struct stat *st, int want);
/* Whether it may use the mount at all, and reach it: 0 or -EACCES. */
int ops_may_enter(const struct ops *o);
/* Whether it may put another file in the place of FILE (NULL: none is there) in a directory of DIR.
 */
int ops_may_replace(const struct ops *o, const struct stat *dir, const struct stat *file);

/* ---- Paths: path.c ---- */

/* A directory on the way, with those above it. */
struct ops_place {
	atomic_uint refs;
	struct ops_place *parent;
	struct bk_node *node;
	struct stat st;
	char name[];
};

struct ops_place *ops_place_ref(struct ops_place *p);
void ops_place_unref(struct ops_place *p); /* takes NULL */
DEFINE_CLEANUP(struct ops_place *, ops_place_unref)
/* Takes NODE, a directory's; NULL where memory is out. PARENT gets a reference. */
struct ops_place *ops_place_new(struct ops_place *parent, const char *name, struct bk_node *node,
				const struct stat *st);

/* What a path leads to. */
struct ops_found {
	struct ops_place *dir;	/* that holds it; NULL for the root */
	char *name;		/* in it */
	struct bk_node *node;	/* NULL: nothing is there, but in an existing directory */
	struct ops_place *self; /* where it is a directory */
	char *missing;		/* where `dir` is as far as it went: "b/c/d"; else NULL */
	struct stat st;
};

void ops_found_done(struct ops_found *f);
#define _cleanup_found_ _cleanup_(ops_found_done)

/*
 * Resolve PATH from FROM (NULL: the root of the tree), following links that stay in their route. A
 * last name that is not there is a result with a NULL node; directories that are not there too only
 * with PARENTS, and then in `missing`. Search permission is checked on the way. -errno as open(2);
 * -EPERM where a link leads out of its route, -EXDEV where the path does out of the mount.
 */
int ops_resolve(struct ops *o, struct ops_req *req, struct ops_place *from, const char *path,
		bool parents, struct ops_found *ret);
/* The operation's own path. */
int ops_resolve_arg(struct ops *o, bool parents, struct ops_found *ret);

/* ---- Listings: list.c ---- */

struct ops_entry {
	const char *name;
	unsigned type; /* DT_… */
};

struct ops_list {
	struct ops_entry *entries;
	size_t n, size;
	struct ops_chunk *chunks; /* the names */
};

/* All names of a directory that the caller may list, sorted as paths are: bytewise, a directory as
 * if a slash followed. 0 or -errno. */
int ops_list(struct ops *o, struct ops_req *req, const struct ops_place *dir, struct ops_list *ret);
void ops_list_done(struct ops_list *l);

/* ---- Files: file.c ---- */

/* Open NODE, a regular file of ST, for reading, if the caller may. */
int ops_open(struct ops *o, struct ops_req *req, struct bk_node *node, const struct stat *st,
	     struct bk_file **ret);

/* ---- Entries of listings: look.c ---- */

/* One entry as a line, or as an object of a list in JSON (FIRST: no comma before it). PATH is
 * shown; OWN are the attributes of the name, ST of what it leads to. */
int ops_put_entry(struct ops *o, bool first, const char *path, const char *name,
		  const struct stat *own, const struct stat *st);
/* What NAME of DIR is, and where it leads to in its route: both are the same for what is no link,
 * and for one that leads nowhere. */
int ops_look(struct ops *o, struct ops_req *req, struct ops_place *dir, const char *name,
	     struct stat *ret_own, struct stat *ret_st);

/* ---- The operations ---- */

int ops_read(struct ops *o);
int ops_write(struct ops *o);
int ops_edit(struct ops *o);
int ops_ls(struct ops *o);
int ops_glob(struct ops *o);
struct scan_dir;
/* At the far end: what matches below D, as records. 0 or -errno. */
int ops_glob_far(struct ops *o, struct scan_dir *d);
/* Whether files come by time. */
bool ops_by_time(const struct ops_args *a);
int ops_grep(struct ops *o);

#endif
