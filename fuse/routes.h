/*
 * The routes of the configuration made into backends: made, bound to their sandboxes, prepared.
 * No type is known here; what a route can do, its backend's operations say.
 */
#ifndef AIB_FUSE_ROUTES_H
#define AIB_FUSE_ROUTES_H

#include "config.h"
#include "progress.h"
#include "route.h"

struct routes {
	struct route *list; /* in the configuration's order */
	size_t n;
};

/*
 * Make and prepare all. C and MOUNT are borrowed for the life of the routes; images of
 * RUNTIMES are built where a route names one that is missing. A route that fails is
 * an error with its name, but where it is `nofail`: then it stays in the list without a backend and
 * is told of on standard error. The deadline of REQ starts anew for each route.
 */
int routes_new(const struct config *c, const struct bk_mount *mount, struct runtimes *runtimes,
	       struct bk_req *req, struct progress *progress, struct routes *ret, struct err *err);
/* One of which a request may have to wait for a machine, a process or a command; NULL: none. */
const struct route *routes_waiting(const struct routes *r);
/* Destroy the backends, the last made first, those that may wait all at once; SAY gets a line for
 * each of these. */
void routes_stop(struct routes *r, void (*say)(void *ctx, const char *text), void *ctx);
/* routes_stop where that was not done, and the list. */
void routes_free(struct routes *r);

/*
 * One more route that the program makes itself, hidden or not. It takes BK; LIST may move, so call
 * it before anything borrows it.
 */
int routes_add(struct routes *r, struct bk_spaces *spaces, const char *path, const char *type,
	       struct bk *bk, bool hidden);

#endif
