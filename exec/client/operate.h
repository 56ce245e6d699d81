/* An operation, from its request to its exit status: what the daemon sends is our output. */
#ifndef AIB_CLIENT_OPERATE_H
#define AIB_CLIENT_OPERATE_H

#include "base/err.h"

#include <cjson/cJSON.h>

/*
 * Over the connected FD. Where the operation asks for input it gets CONTENT, or standard input
 * where that is NULL. Returns the status, or -errno with text.
 */
int operate(int fd, const cJSON *request, const char *content, struct err *err);

#endif
