/*
 * Images on an engine that were built of runtimes, by whatever process: what `aib runtime` lists
 * and removes. An image is one of ours where its labels and its name say the same; what others have
 * built on one has our labels too, and is theirs.
 */
#ifndef AIB_SESSIONS_RUNTIME_IMAGES_H
#define AIB_SESSIONS_RUNTIME_IMAGES_H

#include "runtimes.h"

struct built_image {
	char *name;    /* aib-runtime-NAME:HASH12 */
	char *runtime; /* of that name */
	bool current;  /* the recipe is what the configuration says now */
};

struct built_images {
	struct built_image *list; /* in the order of names */
	size_t n;
};

/* Those of the runtime NAME, or of all where it is NULL. *RET is the caller's. Blocks. */
int built_images_find(struct bk_req *req, const struct runtimes *rs, struct engine *e,
		      const char *name, struct built_images *ret, struct err *err);
void built_images_done(struct built_images *images);

/* Whether there is a current one of RUNTIME. */
bool built_images_have(const struct built_images *images, const char *runtime);

#endif
