/*
 * Options of a route: a JSON object parsed into a struct by a table, so that every backend checks
 * its keys the same way. Values may be JSON of the right type or, as a command line gives them,
 * strings ("1G", "30s", "true"). A key that no table names is an error that names it.
 */
#ifndef AIB_BASE_OPTIONS_H
#define AIB_BASE_OPTIONS_H

#include "err.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum option_type {
	OPTION_STRING,	 /* char *, replaced (the old value is freed) */
	OPTION_BOOL,	 /* bool; the empty string, as of a bare key, is true */
	OPTION_UINT,	 /* uint64_t */
	OPTION_SIZE,	 /* uint64_t, bytes; K M G T are powers of 1024 */
	OPTION_DURATION, /* uint64_t, milliseconds; ms s m h d; a bare number is seconds */
	OPTION_DOUBLE,	 /* double */
	OPTION_JSON,	 /* cJSON *, a duplicate of the value whatever its type */
};

struct option {
	const char *key;
	enum option_type type;
	size_t offset;	     /* of the field in the struct that options_parse fills */
	const char *choices; /* for strings: "a|b|c", NULL for any */
	const char *help;    /* one line for `--help` and messages */
	/* The value names directories of this machine: a path, or as JSON {"/dir": …}, "/dir:/…" or
	 * a list of these. */
	bool dirs;
};

/*
 * Fill CONF (a struct whose defaults the caller has set) from OBJ by TABLE, which a NULL key ends.
 * OBJ may be NULL. Returns 0, -EINVAL with text (the key and what is expected), or -ENOMEM.
 * On failure CONF holds what was set before, to be released by options_free.
 */
int options_parse(const struct option *table, const cJSON *obj, void *conf, struct err *err);

/* Free the strings and JSON values in CONF that TABLE names. */
void options_free(const struct option *table, void *conf);

#endif
