/*
 * One builder of an image on this machine: a locked file in the user's runtime directory, whose
 * lock ends with its holder, however that ends. Threads of one process exclude each other too.
 */
#ifndef AIB_SESSIONS_BUILD_LOCK_H
#define AIB_SESSIONS_BUILD_LOCK_H

#include "backend.h"

struct build_lock {
	char *path;
	int fd; /* -1: not held */
};
#define BUILD_LOCK_INIT ((struct build_lock){.fd = -1})

/*
 * Take the lock of KEY (of letters and digits). While another one has it, WAITING is called a few
 * times a second, and this waits for as long as REQ lasts. 0, -EINTR, -ETIMEDOUT, or -errno of the
 * directory; errors have text.
 */
int build_lock(struct bk_req *req, const char *key, void (*waiting)(void *ctx), void *ctx,
	       struct build_lock *ret, struct err *err);
void build_unlock(struct build_lock *lock); /* takes one that is not held */

#endif
