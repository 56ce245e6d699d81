/*
 * The command line of aibfs as it was given; nothing of it is interpreted here. It stays apart from
 * the configuration because getopt_long(3) has a `struct option` too.
 */
#ifndef AIB_FUSE_ARGS_H
#define AIB_FUSE_ARGS_H

#include <stdbool.h>
#include <stddef.h>

enum args_what {
	ARGS_MOUNT,
	ARGS_SHOW_CONFIG,
	ARGS_CHECK_CONFIG,
	ARGS_DOCTOR,
	ARGS_PRUNE,
	ARGS_RUNTIME, /* the last one that wants a configuration */
	ARGS_ROUTE_HELP,
	ARGS_HELP,
	ARGS_VERSION
};

struct args {
	enum args_what what;
	const char *config, *mountpoint; /* NULL: not given */
	char **routes, **options;	 /* the values of each -r and -o; the arrays are ours */
	size_t n_routes, n_options;
	char **words; /* of --runtime: what to do, and with which; NULL ends them */
	size_t n_words;
	const char *engine;
	bool foreground, no_mount, json, dry_run;
};

extern const char args_usage[];

/* 0, or -1 after a message. Strings are ARGV's. */
int args_parse(int argc, char **argv, struct args *ret);
void args_done(struct args *a);

#endif
