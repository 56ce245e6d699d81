/* aib-exec as a function: the programs `aib-exec` and `aib exec` are the same. */
#ifndef AIB_EXEC_CLIENT_H
#define AIB_EXEC_CLIENT_H

#define CLIENT_FAILED 125 /* the exit status for failures of ours */

/* The whole of aib-exec; argv[0] is not looked at. Returns the exit status. */
int aib_exec_main(int argc, char **argv);
/* As a link to it, called ARGV[0]: that program of the sandbox. */
int aib_exec_link(int argc, char **argv);

#endif
