/*
 * The runtimes of a configuration, and the images that are built of them. A struct runtimes may be
 * used by any number of threads, and several processes of a user may build at once: an image is
 * built once for each recipe and engine, and who comes while that is going on waits.
 */
#ifndef AIB_SESSIONS_RUNTIMES_H
#define AIB_SESSIONS_RUNTIMES_H

#include "backend.h"
#include "docker/engine.h"
#include "recipe.h"

struct runtimes;

struct runtimes_conf {
	const cJSON *runtimes;	   /* "runtimes" of the configuration, or NULL */
	const cJSON *engines;	   /* "engines", or NULL */
	const char *build_network; /* of a build's commands; NULL: the engine's default */
	uint64_t build_timeout_ms; /* the end of a build without a line of output */
};

/* CONF's members are borrowed for the life of it. -EINVAL with text that names key and place. */
int runtimes_new(const struct runtimes_conf *conf, struct runtimes **ret, struct err *err);
void runtimes_free(struct runtimes *rs); /* no call may be running; takes NULL */
DEFINE_CLEANUP(struct runtimes *, runtimes_free)

/* By name: -EINVAL with text (and a suggestion) where there is none. *ret is borrowed. */
int runtimes_find(const struct runtimes *rs, const char *name, const struct runtime **ret,
		  struct err *err);
/* The one with index I in the order of names, NULL past the last. */
const struct runtime *runtimes_at(const struct runtimes *rs, size_t i);

/* The engine NAME: one of "engines", a URL, or the default one (NULL). Not asked. */
int runtimes_engine(const struct runtimes *rs, const char *name, struct engine **ret,
		    struct err *err);

/* ---- Images ---- */

struct runtime_want {
	const char *name;
	const char *engine; /* a name of "engines", or a URL; NULL: the default one */
	const char *pull;   /* of its base: missing, always, never. NULL: missing */
};

struct runtime_image {
	const struct runtime *runtime; /* borrowed */
	char *image;		       /* what to make a container of */
	bool built;		       /* by us: it is on the engine, and nowhere else */
};
void runtime_image_done(struct runtime_image *image);

/*
 * The image of a runtime, which is built where it is not there yet, or `cache_image` is false, or
 * `pull` is always. One that has nothing to build is not looked for: it is what its definition
 * says. Blocks for as long as a pull and a build take; PROGRESS gets their lines (may be NULL) and
 * each moves REQ's deadline on. -EINTR once REQ is cancelled, which aborts the build. Errors have
 * text that names the runtime, and a failed build's last lines.
 */
int runtimes_image(struct bk_req *req, struct runtimes *rs, const struct runtime_want *want,
		   void (*progress)(void *ctx, const char *text), void *ctx,
		   struct runtime_image *ret, struct err *err);

/*
 * Options of a docker route (or session) that says `runtime`, as the docker backend takes them: a
 * copy of OPTIONS with the image in the runtime's place, and the runtime's workdir and env below
 * what is said there. *ret is the caller's.
 */
int runtimes_options(const struct runtime_image *image, const cJSON *options, cJSON **ret);

/* ---- The control tree ---- */

struct control_dir;
/* .aib/runtimes with a file for each. RS has to outlive CONTROL. */
int runtimes_add_control(struct runtimes *rs, struct bk *control);

#endif
