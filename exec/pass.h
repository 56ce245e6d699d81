/* A descriptor along with bytes of a Unix stream socket. Knows the C library only. */
#ifndef AIB_EXEC_PASS_H
#define AIB_EXEC_PASS_H

#include <sys/types.h>

/*
 * Send LEN bytes over FD with a copy of PASSED, which stays the caller's. Does not block: 0, or
 * -errno and nothing was sent (-EMSGSIZE: a part of the bytes was).
 */
int pass_send(int fd, const void *data, size_t len, int passed);
/*
 * As recv(2), without blocking. A descriptor that comes along takes the place of *passed (-1: none
 * yet), is the caller's and closes at exec; what was in *passed is closed, and so are more than
 * one.
 */
ssize_t pass_recv(int fd, void *data, size_t len, int *passed);

#endif
