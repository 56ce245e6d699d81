/*
 * What is built of a runtime: its Dockerfile, and the image's name, which has the hash of that.
 * Whatever is in a definition, the Dockerfile has the instructions that are said here and no
 * others: commands are in exec form (JSON), other values quoted.
 */
#ifndef AIB_SESSIONS_RECIPE_H
#define AIB_SESSIONS_RECIPE_H

#include "base/buf.h"
#include "runtime.h"

#define RECIPE_LABEL_RUNTIME "aib.runtime" /* its name */
#define RECIPE_LABEL_HASH "aib.recipe"

#define RECIPE_MAX_TAG 96

struct recipe {
	char *dockerfile;
	char hash[65];		  /* SHA-256 of the Dockerfile, hex */
	char tag[RECIPE_MAX_TAG]; /* aib-runtime-NAME:HASH12 */
};

/* 0, -ENOMEM, or -E2BIG. RT has to be one that is built. *RET is the caller's. */
int recipe_make(const struct runtime *rt, struct recipe *ret);
void recipe_done(struct recipe *r);

void recipe_tag(const char *name, const char *hash, char ret[RECIPE_MAX_TAG]);

/* SHA-256 of TEXT in hex. 0 or -errno. */
int recipe_hash(const char *text, char ret[65]);

#endif
