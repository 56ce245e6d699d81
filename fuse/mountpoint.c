#include "mountpoint.h"

#include "abort.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/procpid.h"
#include "mounted.h"
#include "registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As many mounts may lie over one another as daemons were killed; more is not ours to clean. */
#define MAX_DEAD 16

/* A daemon that was killed is seen for a moment yet: it still has its files, but no memory any
 * more. */
#define DYING_MS 2000

enum daemon_state { DAEMON_NONE, DAEMON_RUNS, DAEMON_DYING };

static enum daemon_state daemon_at(const char *mountpoint)
{
	enum daemon_state state = DAEMON_NONE;
	struct registry_mount *list;
	size_t n;

	if (registry_list(&list, &n) < 0)
		return DAEMON_NONE;
	for (size_t i = 0; i < n; i++) {
		char c;
		_cleanup_close_ int fd = -1;

		if (strcmp(list[i].mountpoint, mountpoint) != 0)
			continue;
		fd = procpid_open(list[i].pid, "cmdline");
		state = fd >= 0 && read(fd, &c, 1) == 1 ? DAEMON_RUNS : DAEMON_DYING;
	}
	registry_list_free(list, n);
	return state;
}

static void wait_while_dying(const char *mountpoint)
{
	uint64_t until = clock_ms() + DYING_MS;

	for (; clock_ms() < until; usleep(20000)) {
		enum daemon_state state = daemon_at(mountpoint);

		if (state == DAEMON_RUNS ||
		    (state == DAEMON_NONE && mounted_state(mountpoint) != MOUNTED_LIVING))
			return;
	}
}

static int clean_dead(const char *mountpoint, struct err *err)
{
	for (int i = 0; i < MAX_DEAD; i++) {
		int r = mounted_state(mountpoint);

		if (r < 0)
			return err_set(err, r, "cannot read the mount table: %s", strerror(-r));
		if (r == MOUNTED_LIVING)
			return err_set(err, -EBUSY, "%s is mounted already; aib umount %s first",
				       mountpoint, mountpoint);
		if (r != MOUNTED_DEAD)
			return 0;
		log_info("%s: a daemon that was killed left its mount: taking it away", mountpoint);
		r = mounted_detach(mountpoint, true, err);
		if (r < 0)
			return r;
	}
	return err_set(err, -EBUSY, "%s: too many dead mounts over one another", mountpoint);
}

int mountpoint_clear(const char *mountpoint, struct err *err)
{
	int r = 0;

	for (int i = 0; r == 0 && mounted_look(mountpoint) == MOUNTED_LIVING && i < MAX_DEAD; i++) {
		(void)abort_connection(mountpoint);
		r = mounted_detach(mountpoint, true, err);
	}
	return r;
}

static int check_empty(const char *mountpoint, int fd, struct err *err)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = err_set(err, -ENOTEMPTY,
				    "mount point %s is not empty (-o nonempty mounts over it)",
				    mountpoint);
	closedir(dir);
	return r;
}

int mountpoint_check(const char *mountpoint, bool nonempty, struct err *err)
{
	struct stat st;
	int r, fd;

	wait_while_dying(mountpoint);
	r = clean_dead(mountpoint, err);
	if (r < 0)
		return r;
	fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "mount point %s: %m", mountpoint);
	if (geteuid() != 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
			       faccessat(AT_FDCWD, mountpoint, W_OK, AT_EACCESS) < 0)) {
		close(fd);
		return err_set(err, -EPERM,
			       "mount point %s must be a directory of yours that you can write to",
			       mountpoint);
	}
	if (nonempty) {
		close(fd);
		return 0;
	}
	return check_empty(mountpoint, fd, err);
}

bool mountpoint_find_program(const char *name)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *dirs = NULL;
	char *save = NULL;

	if (asprintf(&dirs, "%s:/usr/bin:/bin:/usr/sbin:/sbin", path ? path : "") < 0) {
		dirs = NULL;
		return false;
	}
	for (char *d = strtok_r(dirs, ":", &save); d; d = strtok_r(NULL, ":", &save)) {
		char file[PATH_MAX];

		if ((size_t)snprintf(file, sizeof(file), "%s/%s", d, name) < sizeof(file) &&
		    access(file, X_OK) == 0)
			return true;
	}
	return false;
}

bool mountpoint_user_allow_other(void)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/fuse.conf", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		char word[64] = "";

		if (sscanf(line, " %63[a-z_]", word) == 1 && strcmp(word, "user_allow_other") == 0)
			return true;
	}
	return false;
}

int mountpoint_check_fuse(bool allow_other, struct err *err)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return err_set(
		    err, -errno,
		    "/dev/fuse: %m; load the kernel's module (modprobe fuse), or give it to "
		    "this container (--device /dev/fuse --cap-add SYS_ADMIN)");
	if (fd < 0)
		return err_set(err, -errno, "/dev/fuse: %m; this user may not use FUSE here");
	if (geteuid() == 0)
		return 0;
	if (!mountpoint_find_program("fusermount3"))
		return err_set(err, -ENOENT,
			       "fusermount3 is missing, without which only root can mount; install "
			       "the package fuse3");
	if (allow_other && !mountpoint_user_allow_other())
		return err_set(
		    err, -EPERM,
		    "allow_other: users may do that only where /etc/fuse.conf has a line "
		    "\"user_allow_other\"");
	return 0;
}
