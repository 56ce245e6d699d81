/*
 * All sessions of a workspace root as one route serves them, and the route's tree (tree.c):
 * embedded at its head. Sessions are read from the disk when they are looked for, and each time
 * that is done it is seen whether they are still what they were.
 */
#ifndef AIB_SESSIONS_SESSIONS_H
#define AIB_SESSIONS_SESSIONS_H

#include "conf.h"
#include "places.h"
#include "session.h"

#define SESSION_FD_CACHE 16 /* descriptors kept for files of one workspace that are not open */

struct reaper;

/* Who wants to know of sessions: the control tree. Called without a lock. */
struct sessions_watcher {
	void (*added)(void *ctx, struct session *s);
	void (*removed)(void *ctx, struct session *s);
	void *ctx;
};

struct sessions {
	struct bk bk;
	struct sessions_conf conf;
	const struct bk_mount *mount;
	struct store store;
	char mount_id[24]; /* label of its containers */
	struct timespec made;
	struct bk_node node;  /* its root; of type `session` the session's own is */
	struct session *only; /* of type `session` */
	struct places places; /* engines */
	struct reaper *reaper;
	struct pool *works; /* what takes time and nobody waits for */
	struct sessions_watcher watcher;

	pthread_mutex_t lock; /* guards all below, and what session.h says */
	struct session *table;
	struct session *dead; /* not in the table any more, but perhaps known above */
};

int sessions_init(struct sessions *all, const struct bk_mount *mount, bool one,
		  const struct bk_ops *ops, const char *route, const cJSON *options,
		  struct err *err);
/* Open the root and start the reaper. */
int sessions_start(struct bk_req *req, struct sessions *all,
		   void (*progress)(void *ctx, const char *text), void *ctx, struct err *err);
/* Blocks a few seconds at most. */
void sessions_done(struct sessions *all);

/* The session of NAME with a reference (sessions_unref). -ENOENT, -EINVAL; with text. */
int sessions_find(struct sessions *all, const char *name, struct session **ret, struct err *err);
void sessions_unref(struct session *s); /* takes NULL */
DEFINE_CLEANUP(struct session *, sessions_unref)

/* What a new one is to be; NULL or 0: as the route says. */
struct sessions_wish {
	uid_t maker; /* who asks, for whom it is where nothing else is said */
	gid_t maker_gid;
	const char *owner;
	uint64_t idle_timeout; /* ms */
	const cJSON *box;      /* options of type docker that win over the route's, or NULL */
};
/* describe.c: the session.json of a new one, the caller's, and whether its workspace is a volume.
 * With text. Does not block. */
int sessions_describe(struct sessions *all, const char *name, const struct sessions_wish *wish,
		      cJSON **ret, bool *ret_volume, struct err *err);
/* The session of NAME, made where there is none. Does not block. */
int sessions_get(struct sessions *all, const char *name, const struct sessions_wish *wish,
		 struct session **ret, struct err *err);
/* Give it and its files to OWNER: by a worker, since it may take time; `error` says how it ended.
 * Its container is made anew. -EBUSY while it is in use. Does not block. */
int sessions_give(struct session *s, const char *owner, struct err *err);
/* Another reference. */
struct session *sessions_ref(struct session *s);
/* Its session.json says another idle timeout. */
int sessions_set_idle(struct session *s, uint64_t ms, struct err *err);
/* It is no session any more; its container will be removed, its workspace stays. -EBUSY while it is
 * in use. Does not block. */
int sessions_release(struct sessions *all, const char *name, struct err *err);
/* The same where there is one, and the workspace goes too. Blocks. */
int sessions_destroy(struct bk_req *req, struct sessions *all, const char *name, struct err *err);

/* Read all from the disk; hand each to EACH, which must not call back. */
int sessions_each(struct sessions *all, void (*each)(void *ctx, struct session *s), void *ctx);

/* Tell W of sessions from now on; NULL: no more, and the reaper ends, which would. */
void sessions_watch(struct sessions *all, const struct sessions_watcher *w);

/* bk_ops.enter and leave of both types. */
int sessions_enter(struct bk *bk, uid_t uid, const char *path, const char *name, struct bk_use *ret,
		   char **ret_dir, struct err *err);
void sessions_leave(void *keeper);

/* Whether BK is one of ours: then it, else NULL. */
struct sessions *sessions_of(struct bk *bk);

/* ---- reaper.c ---- */

/* See that the engine and the image are there, look for the first time, and go on doing so. On
 * failure too it is to be ended. */
int reaper_start(struct bk_req *req, struct sessions *all,
		 void (*progress)(void *ctx, const char *text), void *ctx, struct err *err);
/* Look now. */
void reaper_poke(struct reaper *r);
/* Put everything to sleep that is idle now, and remove what nobody owns: how many containers. */
int reaper_clean(struct bk_req *req, struct sessions *all, struct err *err);
/* The same on one engine (NULL: the default one). */
int reaper_clean_at(struct bk_req *req, struct sessions *all, const char *engine, struct err *err);
/* The same of all that are not in use, idle or not. */
int reaper_sleep_all(struct bk_req *req, struct sessions *all, struct err *err);
/* End its thread; idempotent. */
void reaper_stop(struct sessions *all);
/* Free it. LAST: no other daemon is left on the root, and what runs is stopped. */
void reaper_end(struct sessions *all, bool last);

#endif
