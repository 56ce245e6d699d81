/*
 * One change to one file of the container. A path is walked one component at a time from `/`, no
 * symlink is followed, no component may be "..": whatever the container does meanwhile, the file
 * that is changed is below directories that were seen to be directories. The daemon names files
 * by the places where it found them, so a link in the way is an error and never a detour.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_STATUS 125 /* what an exit status can say; other errnos become EIO */

/* A file by its directory and its name there. The root is "." in itself. */
struct place {
	int dir;
	char name[NAME_MAX + 1];
};

/* Copy the next component of *PATH to OUT. 1, 0 at the end, or -errno. */
static int next_component(const char **path, char out[NAME_MAX + 1])
{
	size_t n;

	do {
		*path += strspn(*path, "/");
		n = strcspn(*path, "/");
		if (n == 0)
			return 0;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(out, *path, n);
		out[n] = '\0';
		*path += n;
	} while (strcmp(out, ".") == 0);
	return strcmp(out, "..") == 0 ? -EINVAL : 1;
}

static int enter(int dir, const char *name)
{
	int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0)
		return fd;
	if (errno == ENOTDIR && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISLNK(st.st_mode))
		return -ELOOP;
	return -errno;
}

static int walk(const char *path, struct place *ret)
{
	char next[NAME_MAX + 1];
	int r, fd;

	if (*path != '/')
		return -EINVAL;
	ret->dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->dir < 0)
		return -errno;
	strcpy(ret->name, ".");
	r = next_component(&path, ret->name);
	while (r > 0 && (r = next_component(&path, next)) > 0) {
		fd = enter(ret->dir, ret->name);
		if (fd < 0)
			return fd;
		close(ret->dir);
		ret->dir = fd;
		strcpy(ret->name, next);
	}
	return r;
}

static int number(const char *s, int base, intmax_t min, intmax_t max, intmax_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoimax(s, &end, base);
	if (errno || end == s || *end || *ret < min || *ret > max)
		return -EINVAL;
	return 0;
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

static int do_unlink(char **a)
{
	struct place p;
	int r = walk(a[0], &p);

	return r < 0 ? r : result(unlinkat(p.dir, p.name, 0));
}

static int do_rmdir(char **a)
{
	struct place p;
	int r = walk(a[0], &p);

	return r < 0 ? r : result(unlinkat(p.dir, p.name, AT_REMOVEDIR));
}

static int do_rename(char **a)
{
	struct place from, to;
	intmax_t flags;
	int r = number(a[0], 10, 0, 3, &flags);

	if (r == 0)
		r = walk(a[1], &from);
	if (r == 0)
		r = walk(a[2], &to);
	if (r < 0)
		return r;
	return result(
	    syscall(SYS_renameat2, from.dir, from.name, to.dir, to.name, (unsigned)flags));
}

static int do_link(char **a)
{
	struct place from, to;
	int r = walk(a[0], &from);

	if (r == 0)
		r = walk(a[1], &to);
	return r < 0 ? r : result(linkat(from.dir, from.name, to.dir, to.name, 0));
}

static int do_chmod(char **a)
{
	char self[64];
	struct place p;
	struct stat st;
	intmax_t mode;
	int fd, r = number(a[0], 8, 0, 07777, &mode);

	if (r == 0)
		r = walk(a[1], &p);
	if (r < 0)
		return r;
	/* The kernel's call that does not follow is newer than kernels that we run on. */
	fd = openat(p.dir, p.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return result(chmod(self, mode));
}

static int do_chown(char **a)
{
	struct place p;
	intmax_t uid, gid;
	int r = number(a[0], 10, -1, UINT32_MAX - 1, &uid);

	if (r == 0)
		r = number(a[1], 10, -1, UINT32_MAX - 1, &gid);
	if (r == 0)
		r = walk(a[2], &p);
	return r < 0 ? r : result(fchownat(p.dir, p.name, uid, gid, AT_SYMLINK_NOFOLLOW));
}

/* "SEC.NSEC" (the point and nine digits are optional), "now" or "omit". */
static int parse_time(const char *s, struct timespec *ret)
{
	intmax_t sec, nsec = 0;
	char copy[64], *point;

	*ret = (struct timespec){0};
	if (strcmp(s, "now") == 0 || strcmp(s, "omit") == 0) {
		ret->tv_nsec = *s == 'n' ? UTIME_NOW : UTIME_OMIT;
		return 0;
	}
	if (strlen(s) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, s);
	point = strchr(copy, '.');
	if (point) {
		*point++ = '\0';
		if (strlen(point) != 9 || strspn(point, "0123456789") != 9)
			return -EINVAL;
		nsec = strtoimax(point, NULL, 10);
	}
	if (number(copy, 10, INT64_MIN, INT64_MAX, &sec) < 0)
		return -EINVAL;
	ret->tv_sec = sec;
	ret->tv_nsec = nsec;
	return 0;
}

static int do_utimens(char **a)
{
	struct timespec ts[2];
	struct place p;
	int r = parse_time(a[0], &ts[0]);

	if (r == 0)
		r = parse_time(a[1], &ts[1]);
	if (r == 0)
		r = walk(a[2], &p);
	return r < 0 ? r : result(utimensat(p.dir, p.name, ts, AT_SYMLINK_NOFOLLOW));
}

static int do_truncate(char **a)
{
	struct place p;
	struct stat st;
	intmax_t size;
	int fd, r = number(a[0], 10, 0, INT64_MAX, &size);

	if (r == 0)
		r = walk(a[1], &p);
	if (r < 0)
		return r;
	/* Opening a device would act on it; a FIFO could wait. */
	if (fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	fd = openat(p.dir, p.name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : result(ftruncate(fd, size));
}

static int do_mknod(char **a)
{
	struct place p;
	intmax_t mode, rdev;
	int r = number(a[0], 8, 0, 0177777, &mode);

	if (r == 0)
		r = number(a[1], 10, 0, INT64_MAX, &rdev);
	if (r == 0)
		r = walk(a[2], &p);
	umask(0);
	return r < 0 ? r : result(mknodat(p.dir, p.name, mode, rdev));
}

static int do_mounts(char **a)
{
	int fd = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
	char data[8192];
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, data, sizeof(data))) > 0)
		for (ssize_t done = 0, w; done < n; done += w)
			if ((w = write(STDOUT_FILENO, data + done, n - done)) < 0)
				return -errno;
	return result(n);
}

static const struct verb {
	const char *name;
	int (*run)(char **args);
	int args;
	const char *help;
} verbs[] = {
    {"unlink", do_unlink, 1, "PATH"},
    {"rmdir", do_rmdir, 1, "PATH"},
    {"rename", do_rename, 3, "FLAGS OLD NEW"},
    {"link", do_link, 2, "OLD NEW"},
    {"chmod", do_chmod, 2, "MODE PATH"},
    {"chown", do_chown, 3, "UID GID PATH"},
    {"utimens", do_utimens, 3, "ATIME MTIME PATH"},
    {"truncate", do_truncate, 2, "SIZE PATH"},
    {"mknod", do_mknod, 3, "MODE RDEV PATH"},
    {"mounts", do_mounts, 0, ""},
};

static int usage(FILE *to, int status)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "%s aib-guest fs %s %s\n", i ? "      " : "usage:", verbs[i].name,
			verbs[i].help);
	return status;
}

int guest_fs(int argc, char **argv)
{
	int r;

	if (argc == 1 && strcmp(argv[0], "--help") == 0)
		return usage(stdout, 0);
	for (size_t i = 0; argc > 0 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[0], verbs[i].name) != 0)
			continue;
		if (argc - 1 != verbs[i].args)
			break;
		r = -verbs[i].run(argv + 1);
		if (r)
			fprintf(stderr, "aib-guest: %s %s: %s\n", argv[0], argv[argc - 1],
				strerror(r));
		return r < MAX_STATUS ? r : EIO;
	}
	return usage(stderr, GUEST_USAGE);
}
