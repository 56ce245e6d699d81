/* See change.h. */
#include "change.h"

#include "base/procfd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int change_owner(int fd, const struct bk_setattr *a)
{
	uid_t uid = a->mask & BK_SET_UID ? a->uid : (uid_t)-1;
	gid_t gid = a->mask & BK_SET_GID ? a->gid : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int bk_change_mode(int fd, mode_t mode)
{
	return PROCFD_CALL(fd, fchmod(fd, mode & 07777), chmod(path, mode & 07777));
}

static struct timespec time_arg(unsigned mask, unsigned set, unsigned now, struct timespec t)
{
	if (mask & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return mask & set ? t : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int change_times(int fd, const struct bk_setattr *a)
{
	const struct timespec ts[2] = {
	    time_arg(a->mask, BK_SET_ATIME, BK_SET_ATIME_NOW, a->atime),
	    time_arg(a->mask, BK_SET_MTIME, BK_SET_MTIME_NOW, a->mtime),
	};

	return PROCFD_CALL(fd, futimens(fd, ts), utimensat(AT_FDCWD, path, ts, 0));
}

/* The owner before the mode, since chown(2) clears setuid. */
int bk_change_fd(int fd, const struct bk_setattr *a)
{
	int r = 0;

	/* An empty change is a chown(2) of nothing, which touches the file. */
	if (a->mask & (BK_SET_UID | BK_SET_GID) || !a->mask)
		r = change_owner(fd, a);
	if (r == 0 && a->mask & BK_SET_MODE)
		r = bk_change_mode(fd, a->mode);
	if (r == 0 && a->mask & BK_SET_TIMES)
		r = change_times(fd, a);
	return r;
}
