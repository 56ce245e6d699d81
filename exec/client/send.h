/* A request on its way to the daemon. */
#ifndef AIB_EXEC_CLIENT_SEND_H
#define AIB_EXEC_CLIENT_SEND_H

#include "base/err.h"

/*
 * Send REQUEST, JSON, over FD, a connection of registry_connect that blocks. 0 or -errno with text.
 * A daemon that hung up is no failure: it may have said why, which is for the reader to find.
 */
int send_request(int fd, const char *request, struct err *err);

#endif
