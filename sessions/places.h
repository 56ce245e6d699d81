/*
 * The engines that sessions of a route are on: those that the route names, and those that a session
 * of the disk says. Which one a new session goes to, and whether its workspace can be a directory
 * of this machine there.
 */
#ifndef AIB_SESSIONS_PLACES_H
#define AIB_SESSIONS_PLACES_H

#include "../backends/docker/engine.h"
#include "../backends/docker/wait.h"
#include "conf.h"

#define PLACES_MAX 64

struct place {
	char *name; /* of the configuration, or NULL: the default engine */
	struct engine *engine;
	bool of_pool;	       /* new sessions may go there */
	atomic_bool failing;   /* it did not answer last */
	atomic_uint running;   /* containers of the root, as seen last, and started since */
	atomic_uint placed;    /* new sessions so far */
	atomic_bool looked_at; /* the reaper is at it */
	struct gate looking;   /* one looks at a time */
};

struct places {
	const struct bk_mount *mount;
	uint64_t timeout_ms;
	pthread_mutex_t lock; /* guards the count; a place that is there stays as it is */
	struct place list[PLACES_MAX];
	size_t n;
};

/* TIMEOUT_MS: how long an operation of an engine may go without progress. */
void places_init(struct places *p, const struct bk_mount *mount, uint64_t timeout_ms);
void places_done(struct places *p);
size_t places_count(struct places *p);

/* The place of the engine NAME (NULL: the default one), added where it is new. -EINVAL … with text
 * for an engine that cannot be. Does not block. */
int places_get(struct places *p, const char *name, bool of_pool, struct place **ret,
	       struct err *err);
/* Those of the route: its pool, or its one engine. What cannot be is logged. */
void places_add_route(struct places *p, const struct sessions_conf *c);
/* Of the pool the least loaded that answered last: with the fewest running containers of the root,
 * then with the fewest sessions placed. NULL where there is no pool. Does not block. */
struct place *places_pick(struct places *p);
/* "engine two", for messages: into BUF. */
const char *place_text(const struct place *p, char *buf, size_t size);

/* Whether a workspace there is a volume of the engine's: 1 or 0; -EOPNOTSUPP with text where the
 * route wants directories, which another machine's engine does not have. */
int place_has_volumes(const struct place *p, const struct sessions_conf *c, struct err *err);

/* See that the engines and the image are there: of a pool, one at least. Blocks. */
int places_prepare(struct bk_req *req, struct places *p, const struct sessions_conf *c,
		   void (*progress)(void *ctx, const char *text), void *ctx, struct err *err);

#endif
