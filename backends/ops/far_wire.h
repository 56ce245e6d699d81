/*
 * What a search at its far end is asked, and what it answers: both ends use it. All numbers are
 * little-endian; a string is its length, its bytes and a NUL that does not count.
 *
 * The answer is a stream of records. Paths in it are relative to the directory that is searched, in
 * the order of the walk: ascending bytewise, a directory as if a slash followed.
 */
#ifndef AIB_OPS_FAR_WIRE_H
#define AIB_OPS_FAR_WIRE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* ---- The request ---- */

enum far_kind { FAR_GREP = 1, FAR_GLOB };

enum {
	FAR_IGNORE_CASE = 1 << 0,
	FAR_HIDDEN = 1 << 1, /* wildcards take a dot at the beginning of a name too */
	FAR_GITIGNORE = 1 << 2,
	FAR_STATS = 1 << 3,	  /* glob: attributes are wanted */
	FAR_WHOLE_LINES = 1 << 4, /* grep: else what is shown of them */
};

/* Rules of a directory above, as a .gitignore has them. */
struct far_rules {
	uint32_t depth; /* directories below the beginning of `path` */
	const char *text;
	size_t len;
};

#define FAR_MAX_RULES 1024 /* directories with rules above one another */

struct far_request {
	uint32_t kind, mode, flags; /* mode: enum grep_mode */
	uint64_t max;		    /* results; 0: all */
	const char *pattern, *glob; /* glob: "" for none */
	const char *below;	    /* the directory, from where the search began */
	const char *path;	    /* the directory, from where rules begin */
	uint32_t depth;		    /* of `path` */
	uint32_t n_rules;	    /* from the top down */
	struct far_rules *rules;
};

/* The head; then each of its n_rules. 0, -E2BIG, -ENOMEM. */
int far_put_request(struct buf *out, const struct far_request *r);
int far_put_rules(struct buf *out, const struct far_rules *rules);
/* Strings point into DATA; `rules` is the caller's to free. -EINVAL for what is none, -ENOMEM. */
int far_get_request(const void *data, size_t len, struct far_request *ret);

/* ---- Records ---- */

enum far_record_kind {
	FAR_LINE = 1, /* grep: number and text of a line */
	FAR_COUNT,    /* grep: number of lines that match */
	FAR_FILE,     /* glob: a regular file, with attributes where they are wanted */
	FAR_LINK,     /* glob: a link, which leads who knows where */
	FAR_ERROR,    /* number: errno of a file or directory that could not be searched */
	FAR_TICK,     /* nothing yet, but there is progress */
	FAR_END,      /* number: errno of all, 0 for a good end. Nothing follows */
};

struct far_record {
	uint32_t kind;
	uint64_t number; /* of FAR_FILE its size */
	uint32_t mode;
	struct timespec mtime;
	const char *path;
	size_t path_len;
	const char *text;
	size_t text_len;
};

/* The most that one takes. */
#define FAR_MAX_RECORD (20 << 20)

int far_put_record(struct buf *out, const struct far_record *r);
/*
 * The record at DATA, whose strings point into it: its size; 0 where more of it has to come; or
 * -EPROTO: numbers out of bounds, a path that is absolute, or has an empty component, `.` or `..`.
 */
ssize_t far_get_record(const void *data, size_t len, struct far_record *ret);

#endif
