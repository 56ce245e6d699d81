/*
 * One request to a daemon that is answered with JSON (../protocol.h): `status`, `umount`. Commands,
 * whose streams go both ways, are aib-exec's own.
 */
#ifndef AIB_CLIENT_ASK_H
#define AIB_CLIENT_ASK_H

#include "base/err.h"

#include <cjson/cJSON.h>

DEFINE_CLEANUP(cJSON *, cJSON_Delete)

/*
 * Send REQUEST on FD and wait for the answer, TIMEOUT_MS at most between two frames (-1: for ever).
 * PROGRESS (may be NULL) gets each PROGRESS frame's text. Returns 0 and *ret (the caller's), or
 * -errno with text: -EPIPE where the daemon ended without an answer, -EREMOTEIO where it answered
 * with an error.
 */
int ask(int fd, const cJSON *request, unsigned timeout_ms,
	void (*progress)(void *ctx, const char *text), void *ctx, cJSON **ret, struct err *err);

#endif
