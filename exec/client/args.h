/* The command line of aib-exec. */
#ifndef AIB_EXEC_CLIENT_ARGS_H
#define AIB_EXEC_CLIENT_ARGS_H

#include "base/err.h"

#include <stdbool.h>

struct exec_args {
	const char **argv; /* the command, NULL-terminated; the array is ours */
	const char **env;  /* K=V, NULL-terminated; the strings are ours too */
	const char *workdir, *user, *sandbox, *mount, *timeout, *name; /* NULL: not given */
	int status_fd;						       /* -1: none */
	bool tty, no_stdin, detach;
	bool help, version; /* nothing else is filled */
};

/* 0 or -EINVAL with text. */
int args_parse(int argc, char **argv, struct exec_args *ret, struct err *err);
/* The same by a link whose name is a program's: all arguments are that program's. */
int args_parse_link(int argc, char **argv, struct exec_args *ret, struct err *err);
/* Whether ARGV0 is such a link's. */
bool args_by_link(const char *argv0);
void args_done(struct exec_args *args);

extern const char args_help[];

#endif
