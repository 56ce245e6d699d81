/*
 * The client's end of the exec protocol: aib-exec as a function, for the programs `aib-exec` and
 * `aib exec`, and plain questions to a daemon. Knows the protocol and the registry of mounts, and
 * nothing of the daemon's inside.
 */
#ifndef AIB_EXEC_CLIENT_H
#define AIB_EXEC_CLIENT_H

#include "base/err.h"

#include <cjson/cJSON.h>

#define CLIENT_FAILED 125 /* the exit status for failures of ours */

/* The whole of aib-exec; argv[0] is a name for messages. Returns the exit status. */
int aib_exec_main(int argc, char **argv);

/* Send REQUEST over FD, a connection of registry_connect that blocks. 0 or -errno with text. */
int client_send(int fd, const cJSON *request, struct err *err);
/*
 * Send REQUEST and wait for the REPLY, which the caller owns. PROGRESS (may be NULL) gets a line
 * for each PROGRESS frame. -EREMOTEIO where the daemon answered with an error: its text.
 */
int client_call(int fd, const cJSON *request, void (*progress)(void *ctx, const char *text),
		void *ctx, cJSON **ret, struct err *err);

#endif
