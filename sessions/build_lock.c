#include "build_lock.h"

#include "registry.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define POLL_MS 200

/* 1 and the lock, 0 where another one has it, or -errno. */
static int try(const char *path, int *ret)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* The one before removed it between our open and our lock. */
	if (st.st_nlink == 0)
		return 0;
	*ret = TAKE_FD(fd);
	return 1;
}

int build_lock(struct bk_req *req, const char *key, void (*waiting)(void *ctx), void *ctx,
	       struct build_lock *ret, struct err *err)
{
	_cleanup_free_ char *dir = NULL, *path = NULL;
	int fd = -1, r = registry_dir(&dir, err);

	if (r < 0)
		return r;
	if (asprintf(&path, "%s/build-%s.lock", dir, key) < 0)
		return -ENOMEM;
	while ((r = try(path, &fd)) == 0) {
		waiting(ctx);
		r = bk_req_check(req);
		if (r < 0)
			return err_set(err, r, "waiting for another build: %s", strerror(-r));
		poll(NULL, 0, POLL_MS);
	}
	if (r < 0)
		return err_set(err, r, "%s: %s", path, strerror(-r));
	*ret = (struct build_lock){.path = TAKE(path), .fd = fd};
	return 0;
}

void build_unlock(struct build_lock *lock)
{
	if (lock->fd < 0)
		return;
	/* While it is held: who opened it before finds that it is gone, and makes another. */
	unlink(lock->path);
	close(TAKE_FD(lock->fd));
	free(TAKE(lock->path));
}
