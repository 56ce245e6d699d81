/*
 * The composite: one tree out of many, each route's backend at its path prefix. Longest prefix by
 * whole components, nested routes, and parents that exist even where the backend above has none.
 * After a lookup has reached a route, its nodes are the route's own and cost nothing here.
 */
#ifndef AIB_COMPOSITE_H
#define AIB_COMPOSITE_H

#include "../backend.h"

struct composite_route {
	const char *path; /* "/" or "/a/b": absolute, no empty, "." or ".." component */
	struct bk *bk;
};

/*
 * ROUTES must hold one with the path "/". The backends are prepared already, stay the caller's
 * and must outlive the composite. Returns 0, -EINVAL with text (a path twice, none for "/", a path
 * that is not as above), -ENOMEM.
 */
int composite_new(const struct composite_route *routes, size_t n, struct bk **ret, struct err *err);

/*
 * The route that serves PATH, an absolute path below the mount's root ("/project/src"), by its
 * spelling alone. *ret_rest points into PATH after the prefix: "" or "/src". Never NULL.
 */
struct bk *composite_route_of(struct bk *composite, const char *path, const char **ret_rest);

#endif
