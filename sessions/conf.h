/*
 * The options of the types `sessions` and `session`: those of ours, and those that its container
 * gets as they are. Nothing here touches a disk or an engine.
 */
#ifndef AIB_SESSIONS_CONF_H
#define AIB_SESSIONS_CONF_H

#include "../backends/backend.h"
#include "../backends/base/options.h"

struct sessions_conf {
	char *workspace_root, *owner, *create, *name, *idle_action, *runtime, *engines, *workspace;
	uint64_t idle_timeout, remove_after, cleanup_interval; /* ms; remove_after 0: never */
	uint64_t max_sessions;
	bool host_paths;
	uint64_t start_timeout; /* ms, for waiting for another's start */
	uint64_t timeout;	/* ms, of a question to an engine */

	cJSON *given[18]; /* options of type docker, until they are in: */
	cJSON *pool;	  /* names of `engines`, or NULL */
	cJSON *box;
	uid_t uid; /* of `owner` */
	gid_t gid;
	bool anyone; /* create=anyone */
};

extern const struct option sessions_options[], session_options[];

/* Fill *CONF. On failure it is empty again. ONE: of type session. */
int sessions_conf_parse(struct sessions_conf *conf, const struct bk_mount *mount, bool one,
			const cJSON *options, struct err *err);
void sessions_conf_done(struct sessions_conf *conf);

/* Whether BOX are options that a session of the route may have of its own: 0, -EINVAL with text. */
int sessions_conf_check(const struct sessions_conf *conf, const struct bk_mount *mount,
			const cJSON *box, struct err *err);

/* A user by name or number, with the primary group (a number without an entry has the same).
 * -EINVAL with text. */
int sessions_find_user(const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err);

#endif
