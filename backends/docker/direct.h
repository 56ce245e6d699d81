/*
 * The socket that a process in a container offers (remote/offer.h), taken from it without any path:
 * its pid from the engine, a pidfd, pidfd_getfd(2). Needs an engine of this machine and root. What
 * a pid means is checked while the pidfd holds it.
 */
#ifndef AIB_DOCKER_DIRECT_H
#define AIB_DOCKER_DIRECT_H

#include "../base/err.h"
#include "../remote/offer.h"

#include <stdbool.h>
#include <sys/stat.h>

struct direct;

/*
 * Take the socket of OFFER from process PID, which must be one of the container whose whole id is
 * ID. *RET_FD is the caller's. Does not block. Returns 0 or -errno; ERR says in a few words what
 * was refused.
 */
int direct_take(pid_t pid, const char *id, const struct remote_offer *offer, struct direct **ret,
		int *ret_fd, struct err *err);
void direct_free(struct direct *d); /* takes NULL */

/* Whether the process was root, of this machine's user namespace and with the capabilities that
 * change files, when it was taken. */
bool direct_is_root(const struct direct *d);

/* Whether ST is of a file system that the process sees (devices.h); for remote_conf.fd_ok, CTX is a
 * struct direct. Any thread. A mount that is new to us counts after a second at most. */
bool direct_has_file(void *ctx, const struct stat *st);

#endif
