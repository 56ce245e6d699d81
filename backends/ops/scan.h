/*
 * A walk over a tree, depth first, in the order of sorted paths. Links are not followed; nested
 * routes are gone into as any directory. With gitignore, what git ignores is left out, and `.git`
 * itself.
 */
#ifndef AIB_OPS_SCAN_H
#define AIB_OPS_SCAN_H

#include "far_wire.h"
#include "ignore.h"
#include "internal.h"

/* A directory of the walk, while it is gone through. */
struct scan_dir {
	const struct scan_dir *parent;
	struct ops_place *place;
	const char *shown; /* its path as results show it; "" where they begin with names */
	void *state;	   /* the visitor's, as `enter` gave it */

	char *path; /* from where paths of gitignore begin */
	unsigned depth;
	const struct ignore *ignore;
};

struct scan_visitor {
	void *ctx;
	/* An entry that is no directory. 0, or -errno that ends the walk. */
	int (*file)(void *ctx, const struct scan_dir *dir, const struct ops_entry *entry);
	/* A directory: 1 to go into it, with what `state` will be there; 0; -errno. NULL: into all.
	 */
	int (*enter)(void *ctx, const struct scan_dir *dir, const char *name, void **ret_state);
	/* What was made by enter; may be NULL. */
	void (*leave)(void *state);
	/*
	 * The directory is searched where it is, for KIND: what RESULTS (taken) tell takes the
	 * place of its walk. 0 or -errno. NULL: all is walked here.
	 */
	int (*far)(void *ctx, const struct scan_dir *dir, struct bk_results *results);
	enum far_kind kind;
	/* A directory that cannot be read, and why. 0 to go on. */
	int (*failed)(void *ctx, const char *shown, int r);
};

/* Of BASE, shown as SHOWN. 0 or -errno. */
int scan_tree(struct ops *o, struct ops_place *base, const char *shown, void *state, bool gitignore,
	      const struct scan_visitor *visitor);

/* The same from D on, which knows its place, paths, depth, rules and state. */
int scan_from(struct ops *o, struct scan_dir *d, bool gitignore,
	      const struct scan_visitor *visitor);

#endif
