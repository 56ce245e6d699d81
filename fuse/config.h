/*
 * The configuration of a mount: what `-c FILE`, the environment, `-o` and `-r` say, in one struct.
 * Layers are added from the weakest to the strongest (file, environment, flags) and then finished;
 * a later layer's route replaces an earlier one's of the same path. Every key is checked against a
 * table at once, so that an error names the key and its place; nothing is opened or connected.
 *
 * The environment's layer is one variable an option, AIB_ and the option's name in capitals:
 * AIB_CONTROL=visible, AIB_DEADLINE=10s. An empty one counts as not set.
 *
 * It must not know libfuse, nor what a type's own options mean.
 */
#ifndef AIB_FUSE_CONFIG_H
#define AIB_FUSE_CONFIG_H

#include "backend.h"
#include "base/options.h"
#include "runtimes.h"

/* The mount's own options: `-o`, "options" of the file, the environment. */
struct config_options {
	char *control;	     /* hidden, visible, none */
	char *control_users; /* "NAME:UID…", or NULL */
	bool noexec, nosymfollow, ro, nonempty;
	bool allow_other;
	bool debug, supervise;
	uint64_t watchdog_ms, restarts; /* of supervise */
	char *passthrough;		/* auto, no */
	char *follow_caller;		/* auto, no */
	char *io_uring;			/* auto, yes, no */
	uint64_t deadline_ms;		/* of an operation without progress */
	uint64_t prepare_timeout_ms;
	uint64_t threads, pool_threads, pool_queue, pool_idle_ms, max_open, max_nodes;
	uint64_t linger_ms;	   /* of files in passthrough */
	uint64_t busy_poll_us;	   /* base/spin.h */
	uint64_t max_operations;   /* of aib read, grep…, at once on one route */
	char *pull;		   /* missing, always, never: for routes that do not say */
	char *build_network;	   /* of the builds of runtimes; NULL: the engine's default */
	uint64_t build_timeout_ms; /* without a line of output */
	char *log_level;	   /* error, warning, info, debug */
	char *spool;		   /* directory of temporary files */
	char *guest;		   /* path of aib-guest; NULL: beside the daemon */
	char *job_dir;		   /* directory of jobs' state; NULL: the user's own */
	uint64_t max_jobs, keep_jobs, job_output, job_wait_ms; /* 0: the server's defaults */
};

struct config_route {
	char *path;	/* normalised: "/", "/a/b" */
	char *place;	/* where it was said, for messages: "config.json: routes: /py" */
	unsigned layer; /* the stronger replaces the weaker */
	const struct bk_type *type;
	cJSON *options; /* for type->make */
	char *exec;	/* path of the route in whose sandbox its commands run, or NULL */
	bool readonly, nofail, host_exec;
	cJSON *rules; /* resolved, for rules_parse; or NULL */
};

struct config {
	struct config_options opt;
	struct config_route *routes; /* once finished: sorted by path */
	size_t n_routes;
	cJSON *engines, *runtimes; /* objects, or NULL */
	uid_t *control_users;	   /* once finished */
	size_t n_control_users;
};

DEFINE_CLEANUP(cJSON *, cJSON_Delete)

#define CONFIG_MAX_FILE (1 << 20)
#define CONFIG_MAX_ROUTES 1024

extern const struct option config_option_table[]; /* of struct config_options */
extern const struct option config_route_table[];  /* of struct config_route: keys of every route */

/* The defaults. Returns 0 or -ENOMEM. */
int config_init(struct config *c);
void config_done(struct config *c);

/* The layers. Each returns 0, -EINVAL with text, -ENOMEM, or for the file what open(2) says. */
int config_add_file(struct config *c, const char *path, struct err *err);
int config_add_env(struct config *c, struct err *err);
/* `-o TEXT`: KEY[=VALUE],… Words that mount(8) and fstab(5) use for themselves are accepted. */
int config_add_options(struct config *c, const char *text, struct err *err);
/* `-r TEXT`: PATH=TYPE[:SOURCE][,KEY=VALUE]… */
int config_add_route(struct config *c, const char *text, struct err *err);

/* Add what nothing said (memory at "/"), and check what concerns more than one route. */
int config_finish(struct config *c, struct err *err);

/* The runtimes of it, built-in ones included; C is borrowed. */
int config_runtimes(const struct config *c, struct runtimes **ret, struct err *err);
/* The runtime that a route names, or NULL. Borrowed. */
const char *config_runtime_of(const struct config_route *route);

/* What is resolved, as JSON that config_add_file takes; values of `env` are masked. */
int config_show(const struct config *c, struct buf *out);

/* ---- Parts, for each other and for tests ---- */

/* A JSON text of LEN bytes, named NAME in messages, as the layer LAYER. */
int config_add_json(struct config *c, const char *name, const char *text, size_t len,
		    struct err *err);
/* A route that says OBJ; consumes nothing. */
int config_add_route_json(struct config *c, const char *path, const cJSON *obj, const char *place,
			  unsigned layer, struct err *err);
/* `-r` to a path (still as written) and the object that the file would have. Both are the caller's.
 */
int config_parse_route(const char *text, char **ret_path, cJSON **ret_obj, struct err *err);
/* Absolute, no "." or "..", no control characters; "//" and a "/" at the end go. */
int config_normalise(const char *path, char **ret, struct err *err);
/* -EINVAL with a suggestion where OBJ has a key that neither table has; either may be NULL. */
int config_check_keys(const cJSON *obj, const struct option *table, const struct option *more,
		      struct err *err);

/* Let presets of the route's rules be what they stand for. */
int config_resolve_rules(struct config_route *route, struct err *err);
/* -EINVAL where there is another way to files of a route with rules. */
int config_check_rules(const struct config *c, struct err *err);

enum { CONFIG_LAYER_DEFAULT, CONFIG_LAYER_FILE, CONFIG_LAYER_FLAG };

#endif
