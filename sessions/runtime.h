/*
 * A runtime: a named recipe for a sandbox's image, as the configuration or the table of those that
 * are built in has it. What is here is checked when it is parsed, so that a Dockerfile can be made
 * of it without a further look. Nothing here talks to an engine.
 */
#ifndef AIB_SESSIONS_RUNTIME_H
#define AIB_SESSIONS_RUNTIME_H

#include "base/options.h"

#include <stdbool.h>

struct runtime {
	char *name;
	bool builtin;
	char *image;	  /* used as it is; or NULL */
	char *base_image; /* to build on; set where `image` is not */
	cJSON *packages;  /* array of strings, of the grammar of: */
	char *package_manager;
	cJSON *setup_commands; /* array of strings, each a line for a shell */
	cJSON *env;	       /* object of strings */
	char *workdir;	       /* absolute */
	bool cache_image;      /* false: built anew at each use */
};

extern const struct option runtime_options[]; /* the keys in a configuration */

/*
 * Fill *RET (the caller's, to be ended with runtime_done) from OBJ, a value of "runtimes". -EINVAL
 * with text: an unknown key, a value that is none, one that no Dockerfile may have in it.
 */
int runtime_parse(const char *name, const cJSON *obj, struct runtime *ret, struct err *err);
void runtime_done(struct runtime *rt);

/* Whether an image of its own has to be built: there are packages or commands. */
bool runtime_is_built(const struct runtime *rt);
/* The image that it is, or is built on. */
const char *runtime_base(const struct runtime *rt);

/* The definition as an object for people, with the values of `env` masked; NULL for no memory. */
cJSON *runtime_json(const struct runtime *rt);

/* The definition of the built-in one with index I as JSON text, NULL past the last one. */
const char *runtime_builtin(size_t i, const char **ret_name);

/* 0, or -EINVAL with text: names are parts of images' names. */
int runtime_check_name(const char *name, struct err *err);

#endif
