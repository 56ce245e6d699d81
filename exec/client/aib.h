/*
 * The commands of `aib`. Each gets its own arguments (argv[0] is its name) and returns the exit
 * status: 0, 1 for what failed, 2 for a wrong command line; `job wait` the job's.
 */
#ifndef AIB_CLIENT_AIB_H
#define AIB_CLIENT_AIB_H

#include "base/err.h"

int cmd_job(int argc, char **argv);
int cmd_session(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_umount(int argc, char **argv);
/* read, write, edit, ls, glob, grep: argv[0] says which. */
int cmd_operation(int argc, char **argv);

/* What `aib help` says of them. */
extern const char ops_help_read[], ops_help_write[], ops_help_edit[], ops_help_ls[],
    ops_help_glob[], ops_help_grep[];

/* After what getopt(3) said: where COMMAND's options are told of. Returns 2. */
int aib_see_help(const char *command);

/* Print "aib: TEXT" and return 1. */
int aib_fail(const struct err *err);

#endif
