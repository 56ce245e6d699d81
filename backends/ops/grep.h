/*
 * The inside of grep: the line of batches (grep.c) and the search of one (search.c).
 */
#ifndef AIB_OPS_GREP_H
#define AIB_OPS_GREP_H

#include "base/pattern.h"
#include "internal.h"
#include "match.h"

#include <limits.h>

#define GREP_LINE 256		/* batches between the walk and the output */
#define GREP_BATCH 32		/* files of a batch */
#define GREP_NAMES 4096		/* bytes of their names */
#define GREP_HOLD (64 * 1024)	/* of results of a batch that waits */
#define GREP_MAX_LINE (8 << 20) /* of a line that is searched */
#define GREP_SHOWN 2000		/* of a line that is shown */
#define GREP_BINARY 8192	/* where a NUL makes a file a binary one */

struct grep;
struct search;

/* Some files of a directory. Its searcher's, then its emitter's. */
struct batch {
	struct grep *grep;
	uint64_t number;
	struct ops_place *dir; /* a reference; NULL: only an error is in it */
	char *shown;
	unsigned n;
	size_t used;
	char names[GREP_NAMES]; /* each with its NUL */

	struct buf out;
	struct buf ends; /* size_t: where each result ends in `out`; only with a maximum */
	uint64_t results;
	struct err error; /* the first */
	uint64_t errors, denied;
	int fatal;
	bool done; /* guarded by the lock */
};

struct grep {
	struct ops *o;
	struct match *match;
	struct pattern *glob;
	bool glob_paths;
	enum { GREP_CONTENT, GREP_FILES, GREP_COUNT } mode;
	uint64_t max;
	struct search *own;	 /* the walking thread's */
	struct batch *gathering; /* the walking thread's */
	pthread_t threads[64];
	unsigned n_threads, max_threads;
	atomic_bool stop; /* nothing more is wanted */

	pthread_mutex_t lock; /* guards all below but what the holder of the head writes */
	pthread_cond_t more, moved;
	struct batch *line[GREP_LINE];
	uint64_t head, next, tail;
	bool closed, putting;

	/* The holder of the head's. */
	uint64_t results, errors;
	uint64_t denied; /* files that a rule of their route kept from being searched */
	struct err error;
	bool truncated;
	int fatal;
};

/* ---- grep.c ---- */

/* R happened with PATH, in words TEXT or as errno says. */
void grep_error(struct batch *b, const char *path, int r, const char *text);
/* What B holds is a lot: let it out, once it is B's turn. */
void grep_drain(struct batch *b);

/* ---- search.c: what one thread needs, and does ---- */

int search_new(struct grep *g, struct search **ret);
void search_free(struct search *s); /* takes NULL */
void search_batch(struct search *s, struct batch *b);
void search_one(struct search *s, struct batch *b, struct bk_node *node, const struct stat *st,
		const char *path);

#endif
