/*
 * The text of an error, for people: what failed, on what, why, and what to do. It belongs to the
 * caller, who passes NULL where nobody will read it. Only configuration, command lines and
 * sandboxes carry text; file operations have an errno and nothing else.
 */
#ifndef AIB_BASE_ERR_H
#define AIB_BASE_ERR_H

#include "macros.h"

struct err {
	char text[1024];
};

/*
 * Set ERR's text (truncated to its size) and return CODE, a negative errno, so that a caller can
 * write `return err_set(err, -EINVAL, "...")`. ERR may be NULL.
 */
int err_set(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

/* Put "PREFIX: " before ERR's text. Returns CODE. ERR may be NULL. */
int err_prefix(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

#endif
