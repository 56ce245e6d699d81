/*
 * Places: the paths that routes and their parents take in the mount, as a fixed tree of names. It
 * is built once and never changes, so it needs no lock; what a place looks like at the moment (its
 * node) is composite.c's.
 */
#ifndef AIB_COMPOSITE_PLACE_H
#define AIB_COMPOSITE_PLACE_H

#include "../backend.h"

struct place {
	char *name;		    /* one component; "" for the root */
	uint64_t number;	    /* in order of making, from 1: the synthesised inode number */
	struct bk *route;	    /* NULL for a parent that is no route's */
	struct bk_node *route_root; /* a reference, where there is a route */
	bool hidden;		    /* not listed */
	struct place *parent;
	struct place *children, *next; /* first child, next sibling */
};

/* A place without route or children. NULL where memory is out. */
struct place *place_new(struct place *parent, const char *name, size_t len);
void place_free(struct place *p); /* with all below it; takes NULL */

struct place *place_child(const struct place *p, const char *name, size_t len);
/* The place of PATH below ROOT, made with its parents where it is missing. -EINVAL, -ENOMEM. */
int place_make(struct place *root, const char *path, uint64_t *number, struct place **ret);

#endif
