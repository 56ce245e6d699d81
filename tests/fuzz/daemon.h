/*
 * The exec server and the control tree of a mount at /usr with a tree in memory and one sandbox,
 * `py`, in which no command starts; its state is in a directory that goes with the program.
 */
#ifndef AIB_FUZZ_DAEMON_H
#define AIB_FUZZ_DAEMON_H

#include "backend.h"

struct daemon {
	struct bk *control;
	const char *socket_path;
};

/* For the program's life. */
void daemon_start(struct daemon *ret);

#endif
