/*
 * One container that a route uses: created by it or attached to, with its life (prepare, lazy
 * start, stop, remove), its limits of reach (what the archive API cannot see) and the text of what
 * last went wrong. It knows engines and containers, and nothing of nodes.
 *
 * `ref` names the container in every call of the Engine: constant after prepare. `gate` admits one
 * change of its life at a time; `lock` is short and guards what is marked. Order: gate, lock.
 */
#ifndef AIB_DOCKER_SANDBOX_H
#define AIB_DOCKER_SANDBOX_H

#include "conf.h"
#include "engine.h"
#include "wait.h"

#include <limits.h>

enum sandbox_state {
	SANDBOX_NONE, /* not there (yet, or any more) */
	SANDBOX_CREATED,
	SANDBOX_STARTING,
	SANDBOX_RUNNING,
	SANDBOX_PAUSED,
	SANDBOX_STOPPED,
};

/* What the archive API meets below a place of the container. */
enum reach {
	REACH_ALL,
	REACH_READ,   /* read-only: EROFS */
	REACH_HIDDEN, /* it would see the layer beneath (tmpfs, proc…): EOPNOTSUPP */
};

struct place {
	char *path;
	enum reach reach;
	const char *what; /* "a tmpfs", for messages */
};

struct sandbox {
	const struct docker_conf *conf;
	const struct bk_mount *mount;
	const char *route;
	bool attached;
	bool owned;	       /* the container that `ref` names was created or taken over by us */
	struct engine *engine; /* for operations: `timeout` without progress */
	struct engine *slow;   /* for starts and pulls: `start_timeout` */
	char *ref;
	char *user; /* of commands, as the engine takes it; "": root. Constant after prepare, as: */
	uid_t uid;
	gid_t gid;
	double cpus;
	/* As the container's configuration has them, or "": "HOME=…", and where commands start. */
	char home[256], workdir[PATH_MAX];
	bool foreign;	/* the engine's machine cannot run our guest */
	char *data_dir; /* where the engine keeps its data, if that is on this machine */
	struct gate gate;
	/* The engine was asked for the container, and it is not known to be there whole. Written
	 * with the gate held. */
	atomic_bool unfinished;

	/* Raised when anything in the container may have changed: what is cached of before is void.
	 */
	atomic_uint_fast64_t generation;
	atomic_uint_fast64_t alive_ms; /* when the container was last seen to exist */

	pthread_mutex_t lock;
	/* guarded by lock */
	enum sandbox_state state;
	bool guest_checked; /* the guest was put since the container was made or found */
	bool guest_put;	    /* by us, where it was not */
	uint64_t changes;   /* how often the state has changed, or the container was started */
	uint64_t starts;    /* how often it has */
	bool opening;	    /* a start was asked for, and is not over before files can be reached */
	bool learned;	    /* the mounts of the running container are in `places` */
	char id[72], image[256];
	pid_t init; /* its first process on the engine's machine; 0: not known */
	time_t started;
	struct err error;
	struct place *places;
	size_t n_places;
};

int sandbox_init(struct sandbox *sb, const struct docker_conf *conf, const struct bk_mount *mount,
		 const char *route, bool attached, struct err *err);
void sandbox_done(struct sandbox *sb);

/* Take the guest out of an attached container again, if it was put there by us and can be. */
void sandbox_leave(struct bk_req *req, struct sandbox *sb);

/* bk_ops.prepare */
int sandbox_prepare(struct bk_req *req, struct sandbox *sb,
		    void (*progress)(void *ctx, const char *text), void *ctx, struct err *err);
/* At umount: stop and remove what is ours and not to be kept. A few seconds at most. */
void sandbox_end(struct sandbox *sb);

/* Make the container anew, and furnish it. The gate is the caller's. */
int sandbox_create(struct bk_req *req, struct sandbox *sb, struct err *err);

/* Where making it was not finished (an engine that did not answer): make it now. 0 where there is
 * nothing to do. Blocks; the caller holds no gate. */
int sandbox_finish(struct bk_req *req, struct sandbox *sb);

/* Remove the container, where its image is there to make it anew, and do. The gate is the caller's.
 */
int sandbox_renew(struct bk_req *req, struct sandbox *sb, struct err *err);

/* Make sure that commands can run: start it where it sleeps, put the guest, learn its mounts.
 * -EOPNOTSUPP where nothing can run in it. Blocks for up to start_timeout. */
int sandbox_running(struct bk_req *req, struct sandbox *sb, struct err *err);
const char *sandbox_state_name(enum sandbox_state state);

/* What is believed of it. Does not block. */
struct sandbox_look {
	enum sandbox_state state;
	uint64_t changes, starts;
};
void sandbox_look(struct sandbox *sb, struct sandbox_look *ret);
/* Ask the engine: 0 where it runs, -ENOTCONN (with text) where it does not, or why that is not
 * known. Blocks; starts nothing. */
int sandbox_see_running(struct bk_req *req, struct sandbox *sb, struct err *err);
/* sandbox_running, and start a command: once more where the container had ended since we last
 * looked. *ret is the caller's, and the exec's id in *ret_id, which may be NULL. Blocks. */
int sandbox_exec(struct bk_req *req, struct sandbox *sb, const struct engine_exec *x,
		 struct bk_stream **ret, char **ret_id, struct err *err);
/* Whether an exec's failure says that the container is not what we believed. */
bool sandbox_is_lost(int r);
/* A command found the container or the guest gone: look again at the next sandbox_running. */
void sandbox_forget_ready(struct sandbox *sb);
/* Something said that it does not run (any more): ask the engine. The gate is the caller's. */
int sandbox_refresh(struct bk_req *req, struct sandbox *sb, struct err *err);
/* The engine has nothing at MISSING: -EIO (with text) where that is so since the container itself
 * is gone. */
int sandbox_check_alive(struct bk_req *req, struct sandbox *sb, const char *missing);

/* `aib-guest fs ARGS` as root in the container: 0 or the guest's -errno. Its failures leave their
 * text in the sandbox. ARGS ends with NULL, at most 6 before it. */
int sandbox_fs(struct bk_req *req, struct sandbox *sb, const char *const *args);
/* The same, and what it prints goes to OUT. */
int sandbox_fs_output(struct bk_req *req, struct sandbox *sb, const char *const *args,
		      struct buf *out, struct err *err);

/* Between the two a sandbox that runs is still "starting" for who asks. */
void sandbox_set_opening(struct sandbox *sb, bool opening);
int sandbox_ctl(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err);
int sandbox_status(struct sandbox *sb, struct buf *out);
int sandbox_limits(struct sandbox *sb, struct buf *out);
int sandbox_error(struct sandbox *sb, struct buf *out);
int sandbox_bound_at(struct sandbox *sb, const char *host_dir, char **ret);

/* The container's name as people know it: of an attached one `ref` is its id. */
const char *sandbox_name(const struct sandbox *sb);

/* It started, or a command did: what went wrong before is over. */
void sandbox_works(struct sandbox *sb);
/* Keep the text of a failure for the control tree, log it, return CODE. */
int sandbox_fail(struct sandbox *sb, int code, const char *fmt, ...) _printf_(3, 4);

/* ---- reach.c: what the archive API sees ---- */

/* 0, or -EROFS or -EOPNOTSUPP with the reason kept as the newest error. */
int sandbox_reach(struct sandbox *sb, const char *path, bool change);
/* Whether PATH is hidden or on the way below something hidden; no text. */
bool sandbox_hidden(struct sandbox *sb, const char *path);
/* Before the first change of a container that runs: learn its mounts. */
int sandbox_before_change(struct bk_req *req, struct sandbox *sb);
/* From the engine's inspection, and from the container's /proc/self/mounts. */
int reach_inspect(struct sandbox *sb, const cJSON *inspect);
int reach_mounts(struct sandbox *sb, const char *text);

/* ---- check.c: what the engine would refuse only at the first start or command ---- */

/* -ENOENT where the engine has no such network, before a container is made. */
int check_network(struct bk_req *req, struct sandbox *sb, struct err *err);
/* Whom commands run as, in numbers: `uid` and `gid`. -ENOENT where the container has no user or
 * group of the name that was given. */
int find_user(struct bk_req *req, struct sandbox *sb, struct err *err);

/* ---- furnish.c: what a container of ours needs in it before it starts ---- */

/* Put the guest, the workdir, HOME and the links of host_paths. */
int furnish(struct bk_req *req, struct sandbox *sb, struct err *err);
/* Put the guest where it is missing or another one. */
int furnish_guest(struct bk_req *req, struct sandbox *sb, struct err *err);

#endif
