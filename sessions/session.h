/*
 * One session: its workspace, always; its container, from the first command on; and the sandbox
 * that they are for the exec server and the control tree (its `bk`, which has no tree of its own).
 *
 * `gate` admits one change of the container's life at a time and is held across calls of the
 * engine; `lock` is short. Order: sessions.lock or the gate, then lock.
 */
#ifndef AIB_SESSIONS_SESSION_H
#define AIB_SESSIONS_SESSION_H

#include "../backends/docker/wait.h"
#include "store.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct sessions;

struct session {
	struct bk bk;
	struct sessions *all;
	char name[STORE_NAME_MAX + 1], id[STORE_ID_SIZE];
	char *workdir; /* where the workspace is in the sandbox */
	char *engine;  /* that it is on, or NULL: the default one */
	struct bk *workspace;
	unsigned spaces[2]; /* of the workspace and the container */
	struct gate gate;
	void *shown; /* the control tree's; guarded by its maker's lock */

	/* guarded by sessions.lock */
	UT_hash_handle hh;
	struct session *next_dead;
	unsigned refs; /* beside the table's */
	bool dead;     /* not in the table any more */
	struct store_stamp stamp;

	pthread_mutex_t lock;
	/* guarded by lock */
	cJSON *json;
	uint64_t idle_timeout, remove_after; /* ms */
	char *idle_action;
	unsigned uses;
	int hold_fd;	       /* the shared lock, while there are uses that had to wake it */
	struct bk_mount mount; /* as the container's maker sees it: of the owner. Constant while
				* there is a `box` */
	struct bk *box;	       /* NULL while no command was run */
	bool box_seen;	       /* its tree was looked at: it stays as long as the session */
	bool runs;	       /* as the reaper saw it last, where there is no `box` */
	uint64_t touched_ms;   /* when activity was last told to others, as bk.used_ms */
	struct err error;
};

/* Of JSON, which it takes, also on failure. */
int session_new(struct sessions *all, const char *name, cJSON *json, struct session **ret,
		struct err *err);
/* Nothing may use it. Takes NULL. */
void session_free(struct session *s);
/* What can change in session.json has. Takes JSON. */
int session_update(struct session *s, cJSON *json);

/* It is in use until session_leave. Does not block. */
void session_enter(struct session *s);
void session_leave(struct session *s);
bool session_in_use(struct session *s);
/* It is in use here, or was since the last call: others are to know. */
void session_tell_files(struct session *s);

/* Its container's tree, made where there is none; it does not start. Borrowed. Blocks. */
int session_box(struct bk_req *req, struct session *s, struct bk **ret, struct err *err);
/* The same where it was looked at before, else NULL. */
struct bk *session_seen_box(struct session *s);
/* The container goes to sleep: what is known of it is dropped where nobody looks at it. The gate is
 * the caller's. */
void session_drop_box(struct session *s);

/* box.c: its container as a docker backend, made or found. Blocks. */
int session_make_box(struct bk_req *req, struct session *s, struct bk **ret, struct err *err);

/* What an engine said of its container. */
void session_saw(struct session *s, bool runs);
uid_t session_uid(struct session *s);
/* Whether its workspace is a volume of its engine. */
bool session_has_volume(const struct session *s);
/* Where its workspace is, for people: a directory, or "volume NAME on ENGINE". */
int session_workspace(const struct session *s, struct buf *out);
/* What its container is made of; with `lock` held. */
const char *session_image_locked(const struct session *s);
/* ERR's text is its newest error, where R is one; else it has none. Returns R. */
int session_keep_error(struct session *s, int r, const struct err *err);
/* Whether anything above still knows the session. */
bool session_is_known(struct session *s);

#endif
