/*
 * The routes of a mount, as the configuration made them: which backend serves which path prefix,
 * and which sandbox commands from there run in. The array is built once before the mount and does
 * not change, so it needs no lock.
 */
#ifndef AIB_ROUTE_H
#define AIB_ROUTE_H

#include "backend.h"

struct route {
	const char *path;    /* "/" or "/a/b": absolute, no empty, "." or ".." component */
	const char *type;    /* "docker" */
	const char *source;  /* "python:3.12-slim"; "" where the type has none */
	const char *name;    /* of its sandbox: "py", unique; NULL where it has none */
	struct bk *bk;	     /* NULL: could not be made, and was `nofail` */
	const char *failure; /* why, or NULL */
	bool hidden;	     /* reached by name, but not listed: the control tree */
	const struct route
	    *exec; /* whose sandbox runs commands of this route; NULL: its own or none */
};

/*
 * The route with the longest prefix of PATH, an absolute path below the mount's root, by whole
 * components and by its spelling alone. Failed routes do not count. *ret_rest points into PATH
 * after the prefix: "" or "/src". NULL where none matches.
 */
const struct route *route_find(const struct route *routes, size_t n, const char *path,
			       const char **ret_rest);

/* The route whose sandbox has this name, or NULL. */
const struct route *route_by_name(const struct route *routes, size_t n, const char *name);

/* Whether programs can run in the route's own backend. */
static inline bool route_has_sandbox(const struct route *r)
{
	return r->bk && r->bk->ops->sandbox;
}

#endif
