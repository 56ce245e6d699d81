/*
 * Numbers for pointers: what the server gives the client to name its nodes and open files by. An id
 * is never given twice, so that one which the client should have forgotten finds nothing. Not
 * thread-safe.
 */
#ifndef AIB_REMOTE_IDS_H
#define AIB_REMOTE_IDS_H

#include <stddef.h>
#include <stdint.h>

struct ids_entry {
	void *ptr;	/* NULL: free */
	uint64_t count; /* the owner's */
	uint32_t generation, next_free;
};

/* Zeroed at first but for `max`. */
struct ids {
	struct ids_entry *entries; /* by index - 1 */
	uint32_t size, used, first_free, max;
};

/* An id for PTR, with count 1. Returns 0, -ENOMEM, or -ENFILE where there are `max`. */
int ids_add(struct ids *t, void *ptr, uint64_t *ret_id);
/* NULL where there is no such id. Valid until the next ids_add. */
struct ids_entry *ids_find(const struct ids *t, uint64_t id);
/* The id of the entry with INDEX, the low half of an id that was given and lives. */
uint64_t ids_at(const struct ids *t, uint32_t index);
/* Give ID up; it lives. */
void ids_remove(struct ids *t, uint64_t id);
/* Any pointer that is still there, given up; NULL for none. */
void *ids_take_any(struct ids *t);
void ids_done(struct ids *t);

#endif
