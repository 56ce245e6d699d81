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

/* Print "aib: TEXT" and return 1. */
int aib_fail(const struct err *err);

#endif
