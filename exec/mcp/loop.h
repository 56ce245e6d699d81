/* The one thread: input, output, calls, the daemon's start, signals and the end. */
#ifndef AIB_MCP_LOOP_H
#define AIB_MCP_LOOP_H

#include "mcp.h"
#include "own.h"

/*
 * Serve standard input and output until the input ends, the reader of the output is gone, a signal
 * says so, or OWN (pid 0: there is none) ends. Calls that run are ended with it; at the end of the
 * input they have a second. 0, or -errno with text.
 */
int loop_run(struct mcp *m, struct own *own, struct err *err);

#endif
