/*
 * `aib runtime`: the runtimes of a configuration, and their images on an engine. It needs no mount.
 */
#ifndef AIB_FUSE_RUNTIME_COMMAND_H
#define AIB_FUSE_RUNTIME_COMMAND_H

#include "args.h"
#include "config.h"
#include "runtime_images.h"

/* Returns the status to exit with, or -errno with text. */
int runtime_command(const struct args *a, const struct config *c, struct err *err);

/* ---- runtime_print.c ---- */

/* The definition of RT as an object, with "built": true or false as IMAGES say, null where these
 * are NULL (not known) or nothing is built of it. NULL for no memory. */
cJSON *runtime_about(const struct runtime *rt, const struct built_images *images);
/* Print such an object, or an array of them, for people or as JSON; consumes it. */
int runtime_print_one(cJSON *about, bool json);
int runtime_print_list(cJSON *list, bool json);

#endif
