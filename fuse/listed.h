/*
 * Directories whose whole listing the kernel has lately been given with attributes. The next
 * listing of such a one gives names alone, which is most of its cost: what the kernel holds is
 * used, and what it does not hold it asks for.
 *
 * "Lately" is as long as it may hold them, less an eighth, and less half of what the listing took,
 * which is about what it takes to ask for all of them: who comes at any pace finds what he was told
 * valid still, or is told anew. Not where the directory has changed since, names were recalled, or
 * the kernel has forgotten files.
 *
 * Of a backend that is not `recall`: containers' answers come in one piece anyway.
 */
#ifndef AIB_FUSE_LISTED_H
#define AIB_FUSE_LISTED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* A directory is noted in one of the ways of its set, where it takes the oldest one's place. */
#define LISTED_SET_BITS 12
#define LISTED_WAYS 4

/* What has to be as it was. */
struct listed_state {
	struct timespec mtime; /* of the directory */
	unsigned recalls;      /* fs->recall.count */
	uint32_t nodes;	       /* that the kernel knows: no fewer */
};

struct listed {
	pthread_mutex_t lock; /* guards all below and each listed_handle; a leaf */
	struct listed_dir {
		uint64_t number, begun_ms, took_ms;
		struct listed_state state;
	} sets[1 << LISTED_SET_BITS][LISTED_WAYS];
};

/* One reading of a directory, from its beginning on. Zeroed, it has not begun. */
struct listed_handle {
	struct listed_dir dir; /* number 0: not read from the beginning in one go */
	off_t next;	       /* where it goes on */
	bool names;
};

void listed_init(struct listed *l);
void listed_done(struct listed *l);

/* Whether directory NUMBER, as it is now, was lately given in full: the kernel's own listing of it,
 * if it keeps one, is as good. */
bool listed_lately(struct listed *l, uint64_t number, const struct listed_state *state,
		   uint32_t hold_ms);
/* Directory NUMBER is read from its beginning; the kernel may hold what it is told for HOLD_MS. */
void listed_begin(struct listed *l, struct listed_handle *h, uint64_t number,
		  const struct listed_state *state, uint32_t hold_ms);
/* It is read from OFF. Whether names are enough. */
bool listed_names(struct listed *l, struct listed_handle *h, off_t off);
/* The kernel was told all up to NEXT, which is the END. NODES are known now. */
void listed_told(struct listed *l, struct listed_handle *h, off_t next, bool end, uint32_t nodes);

#endif
