/*
 * The verbs of aib-guest, and what they share. It is a static program for any container: the C
 * library, the kernel and nothing else; no allocation that grows with what it is sent (serve: up to
 * the bounds of remote/server.h).
 */
#ifndef AIB_EXEC_GUEST_H
#define AIB_EXEC_GUEST_H

#define GUEST_USAGE 125 /* the exit status for a wrong command line */

/* Each takes the arguments after its own name and returns the exit status of the program. */
int guest_init(int argc, char **argv);
int guest_run(int argc, char **argv);
int guest_next(int argc, char **argv);
int guest_attach(int argc, char **argv);
int guest_fs(int argc, char **argv);
int guest_serve(int argc, char **argv);

#endif
