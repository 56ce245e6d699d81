/*
 * A daemon of our own, without a mount: it ends with us, however we end, and has a session of its
 * own so that who kills our process group leaves it the time to clean up.
 */
#ifndef AIB_MCP_OWN_H
#define AIB_MCP_OWN_H

#include "base/err.h"

#include <sys/types.h>

struct own {
	pid_t pid; /* 0: there is none */
	int fd;	   /* its standard output: where its socket is, then nothing until its end */
};

/* Start it with ARGS, of aibfs, which a NULL ends. 0 or -errno with text. */
int own_start(char *const *args, struct own *ret, struct err *err);
/* FD is ready: *RET is the directory of the socket, the caller's. -errno with text where it has
 * ended. */
int own_ready(struct own *o, char **ret, struct err *err);
/* Tell it to end, and wait. A signal to us ends the wait with us. */
void own_end(struct own *o);

#endif
