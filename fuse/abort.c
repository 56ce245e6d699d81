#include "abort.h"

#include "base/macros.h"
#include "mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CONNECTIONS "/sys/fs/fuse/connections"
#define FUSECTL_MAGIC 0x65735543

/* The kernel's number of the mount there, without asking its daemon for attributes. */
static int connection_of(const char *mountpoint, unsigned *ret)
{
	int r = mounted_look(mountpoint);
	struct statx st;

	if (r != MOUNTED_LIVING)
		return r < 0 ? r : -ENOENT;
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW, 0, &st) < 0)
		return -errno;
	*ret = st.stx_dev_minor;
	return 0;
}

/* A fusectl that no path leads to. */
static int mount_fusectl(void)
{
	_cleanup_close_ int fs = fsopen("fusectl", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static int open_fusectl(void)
{
	_cleanup_close_ int fd = open(CONNECTIONS, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs st;

	if (fd >= 0 && fstatfs(fd, &st) == 0 && st.f_type == FUSECTL_MAGIC)
		return TAKE_FD(fd);
	return mount_fusectl();
}

int abort_connection(const char *mountpoint)
{
	_cleanup_close_ int ctl = -1, fd = -1;
	unsigned number = 0;
	char path[32];
	int r = connection_of(mountpoint, &number);

	if (r < 0)
		return r;
	ctl = open_fusectl();
	if (ctl < 0)
		return ctl;
	snprintf(path, sizeof(path), "%u/abort", number);
	fd = openat(ctl, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 || write(fd, "1", 1) < 0 ? -errno : 0;
}
