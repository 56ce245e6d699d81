/*
 * The composite: one tree out of many, each route's backend at its path prefix. Longest prefix by
 * whole components, nested routes, and parents that exist even where the backend above has none.
 * After a lookup has reached a route, its nodes are the route's own and cost nothing here.
 */
#ifndef AIB_COMPOSITE_H
#define AIB_COMPOSITE_H

#include "../route.h"

/*
 * ROUTES must hold one with the path "/"; those that failed are left out. The backends are
 * prepared already, stay the caller's and must outlive the composite. Returns 0, -ENOMEM, or
 * -EINVAL with text (a path twice, none for "/", a path that is not as struct route says).
 */
int composite_new(const struct route *routes, size_t n, struct bk **ret, struct err *err);

#endif
