/*
 * Sessions on disk: a workspace root (README.md has the layout). Every name is checked and resolved
 * from the root's descriptor, one component at a time and through no link. Nothing here knows of
 * containers. Calls are short file operations; only store_hold and store_destroy may take longer.
 */
#ifndef AIB_SESSIONS_STORE_H
#define AIB_SESSIONS_STORE_H

#include "../backends/backend.h"
#include "../backends/base/names.h"

#include <cjson/cJSON.h>

#define STORE_ID_SIZE 17
#define STORE_NAME_MAX NAME_PLAIN_MAX

struct store {
	char *path; /* absolute, no links */
	int fd;
	int daemons_fd; /* with a shared flock while this daemon lives */
	char id[STORE_ID_SIZE];
};

/* What a session is made with. */
struct store_session {
	uid_t uid;
	gid_t gid;
	bool volume;	   /* its workspace is one: there is no directory for it */
	const cJSON *json; /* "id", "uid" and "gid" are added */
};

/* Open or make the root at PATH, absolute. Errors have text. */
int store_open(const char *path, struct store *ret, struct err *err);
/* Whether no other daemon uses the root: for good, so only at this one's end. */
bool store_last(struct store *s);
void store_close(struct store *s);

/* NAME's session.json: *ret is the caller's. -ENOENT where there is no such session, -EINVAL for
 * one that cannot be read. */
int store_read(const struct store *s, const char *name, cJSON **ret);
/* Another value for each content of NAME's session.json; -ENOENT where there is none. */
struct store_stamp {
	ino_t ino;
	struct timespec ctime;
};
int store_stamp(const struct store *s, const char *name, struct store_stamp *ret);
/* Make the session, or leave the one that is there: 1 or 0. -EDQUOT where there are MAX already (0:
 * no limit). As root the workspace is given to the owner. */
int store_create(const struct store *s, const char *name, const struct store_session *from,
		 uint64_t max, struct err *err);
/* Replace NAME's session.json, where its id is still ID; else -ESTALE. With another id in JSON it
 * is another session, of the same workspace. */
int store_write(const struct store *s, const char *name, const char *id, const cJSON *json);
void store_new_id(char ret[STORE_ID_SIZE]);
/* The session is no more; its workspace stays. -ENOENT where its id is another. */
int store_forget(const struct store *s, const char *name, const char *id);
/* Remove NAME with its workspace, of which there is no session. Blocks. */
int store_destroy(struct bk_req *req, const struct store *s, const char *name);
/*
 * NAME's workspace is VOLUME on ENGINE (NULL: the default one), whatever becomes of the session,
 * until store_destroy. store_volume tells: *ret_engine is the caller's, or NULL. -ENOENT where
 * there is none.
 */
int store_keep_volume(const struct store *s, const char *name, const char *volume,
		      const char *engine);
int store_volume(const struct store *s, const char *name, char **ret_engine);
/* Give every file below the workspace that is FROM's to TO. Blocks. */
int store_chown(struct bk_req *req, const struct store *s, const char *name, uid_t from, uid_t to,
		gid_t gid);
/* Hand every session's name to EACH until that answers false. */
int store_list(const struct store *s, bool (*each)(void *ctx, const char *name), void *ctx);
int store_count(const struct store *s);

/* A descriptor of NAME's workspace (O_PATH), or -errno. */
int store_workspace(const struct store *s, const char *name);
/* Whether NAME's workspace has no entries: 1 or 0. Of a volume that is so until there is one. */
int store_workspace_empty(const struct store *s, const char *name);

/*
 * Hold NAME's lock with flock, ALONE or shared, until the descriptor that is returned is closed.
 * With REQ it is waited for until its deadline or cancel (-ETIMEDOUT, -EINTR); without it -EBUSY at
 * once. -ENOENT where NAME is gone.
 */
int store_hold(struct bk_req *req, const struct store *s, const char *name, bool alone);
/* The same for the right to make a container, with another lock. */
int store_hold_making(struct bk_req *req, const struct store *s, const char *name);
/* Activity was at AT, CLOCK_REALTIME; 0: now. Never moves it back. */
void store_touch(const struct store *s, const char *name, time_t at);
/* When the last activity was, or -errno. */
int64_t store_touched(const struct store *s, const char *name);

#endif
