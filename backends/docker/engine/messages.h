/*
 * The answers that come piece by piece while a pull or a build runs: JSON objects, one after
 * another.
 */
#ifndef AIB_DOCKER_MESSAGES_H
#define AIB_DOCKER_MESSAGES_H

#include "client.h"

#define MESSAGES_MAX_LINE (1 << 20) /* one message, bytes */

/*
 * Read X to its end and give each object to TAKE, whose error (-errno, with its text set) ends the
 * reading. Blocks; errors have text.
 */
int engine_messages(struct bk_req *req, struct engine *e, struct http_reply *x,
		    int (*take)(void *ctx, const cJSON *message, struct err *err), void *ctx,
		    struct err *err);

#endif
