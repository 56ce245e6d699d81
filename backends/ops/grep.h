/*
 * The inside of grep: the walk (grep.c), the line of batches (line.c), the search of one (search.c)
 * and how results look (print.c).
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
struct scan_dir;
struct search;

enum grep_mode { GREP_CONTENT, GREP_FILES, GREP_COUNT };

/* Some files of a directory, or what is found below it at its far end. Its searcher's, then its
 * emitter's. */
struct batch {
	struct grep *grep;
	uint64_t number;
	struct ops_place *dir; /* a reference; NULL: only an error is in it */
	char *shown;
	struct bk_results *far; /* owned; NULL: the files are searched here */
	unsigned n;
	size_t used;
	char names[GREP_NAMES]; /* each with its NUL */

	struct buf out;
	struct buf ends;      /* size_t: where each result ends in `out`; only with a maximum */
	struct buf errors_at; /* uint64_t: results before each error; only with a maximum */
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
	enum grep_mode mode;
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

enum grep_mode grep_mode(const struct ops_args *a);
/* At the far end: what is below D, as records. 0 or -errno. */
int ops_grep_far(struct ops *o, struct scan_dir *d);

/* ---- line.c ---- */

struct batch *batch_new(struct grep *g, struct ops_place *dir, const char *shown);
void batch_free(struct batch *b); /* takes NULL */
/* The batch that gathers goes into the line. 0, or -ECANCELED once nothing more is wanted. */
int grep_push(struct grep *g);
/* B, of the line, is searched: let it out, and those after it that wait for it only. */
void grep_finish(struct grep *g, struct batch *b);
/* What B holds is a lot: let it out, once it is B's turn. */
void grep_drain(struct batch *b);
/* Search what is left here too, and wait until all is out. */
void grep_end_line(struct grep *g);
/* R happened with PATH: it is counted, and the first one told; some end the whole search. */
void grep_error(struct batch *b, const char *path, int r);
/* The same of what ends nothing but itself. */
void grep_tell(struct batch *b, const char *path, int r);

/* ---- print.c: results into a batch ---- */

int grep_put_line(struct batch *b, const char *path, uint64_t line, const char *text, size_t len);
/* What is known at a file's end: MATCHES lines matched. */
int grep_put_file(struct batch *b, const char *path, uint64_t matches);
int grep_put_error(struct batch *b, const char *path, int r);
/* What errno R means here, or NULL for what it means anywhere. */
const char *grep_words(int r);

/* ---- search.c: what one thread needs, and does ---- */

int search_new(struct grep *g, struct search **ret);
void search_free(struct search *s); /* takes NULL */
void search_batch(struct search *s, struct batch *b);
void search_one(struct search *s, struct batch *b, struct bk_node *node, const struct stat *st,
		const char *path);

#endif
