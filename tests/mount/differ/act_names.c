/* The calls of names and attributes. */
#include "differ.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

void say_stat(char *out, int dirfd, const char *path, int flags)
{
	struct statx st;

	if (statx(dirfd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &st) < 0) {
		say_result(out, -1);
		return;
	}
	say(out, "%06o n=%u %u:%u blksize=%u birth=%d ", st.stx_mode, st.stx_nlink, st.stx_uid,
	    st.stx_gid, st.stx_blksize, st.stx_mask & STATX_BTIME && st.stx_btime.tv_sec > 0);
	if (!S_ISDIR(st.stx_mode))
		say(out, "size=%llu ", (unsigned long long)st.stx_size);
}

static long listed_fd(int fd, char *out)
{
	struct dirent64 *e;
	char buf[8192];
	uint64_t sum = 0;
	ssize_t n;
	int count = 0;

	while ((n = getdents64(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n; at += e->d_reclen, count++) {
			e = (void *)(buf + at);
			sum += digest(e->d_name, strlen(e->d_name)) + e->d_type;
		}
	say(out, "%d %llx ", count, (unsigned long long)sum);
	return n;
}

static long listed(const char *path, char *out)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long r;

	if (fd < 0)
		return fd;
	r = listed_fd(fd, out);
	close(fd);
	return r;
}

/* ---- Times ---- */

static struct timespec make_time(uint32_t choice)
{
	switch (choice % 8) {
	case 0:
		return (struct timespec){.tv_nsec = UTIME_NOW};
	case 1:
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	case 2:
		return (struct timespec){.tv_nsec = 1000000000 + choice % 7 / 6};
	case 3:
		return (struct timespec){.tv_sec = -(int)(choice % 1000),
					 .tv_nsec = choice % 999999999};
	default:
		return (struct timespec){.tv_sec = 1000000000 + choice % 100000,
					 .tv_nsec = choice % 999999999};
	}
}

static long set_times(const struct op *op, int fd, const char *path)
{
	struct timespec ts[2] = {make_time(op->choice), make_time(op->choice >> 8)};
	bool null = op->choice % 5 == 0;

	if (op->kind == OP_FUTIMENS)
		return futimens(fd, null ? NULL : ts);
	return utimensat(AT_FDCWD, path, null ? NULL : ts, op->flags % 3 ? 0 : AT_SYMLINK_NOFOLLOW);
}

/* ---- Extended attributes ---- */

static const char *xattr_name(uint32_t choice, char *buf)
{
	static const char *const names[] = {
	    "user.a",	  "user.b", "user.a", "user.b",	  "user.long", "trusted.a",
	    "security.x", "user.",  "a",      "nosuch.x", "",	       "security.capability"};
	const char *name = names[choice % 12];

	if (strcmp(name, "user.long") != 0)
		return name;
	memset(buf, 'x', 256);
	memcpy(buf, "user.", 5);
	buf[choice % 3 ? 255 : 256] = '\0';
	return buf;
}

static void xattrs(const struct op *op, int fd, const char *path, char *out)
{
	static const size_t sizes[] = {0, 1, 10, 100, 100, 1000};
	static char value[70000];
	bool follow = op->choice / 12 % 3 != 0;
	size_t size = op->choice % 90 == 0 ? 65537 : sizes[op->choice / 12 % 6];
	int flags = op->choice / 100 % 6 < 3 ? op->choice / 100 % 6 : 0;
	char buf[300];
	const char *name = xattr_name(op->choice, buf);
	long r;

	memset(value, op->choice % 251, size);
	switch (op->kind) {
	case OP_SETXATTR:
		r = follow ? setxattr(path, name, value, size, flags)
			   : lsetxattr(path, name, value, size, flags);
		break;
	case OP_FSETXATTR:
		r = fsetxattr(fd, name, value, size, flags);
		break;
	case OP_GETXATTR:
		r = follow ? getxattr(path, name, value, size) : lgetxattr(path, name, value, size);
		if (r > 0 && size > 0)
			say(out, "%llx ", (unsigned long long)digest(value, r));
		break;
	case OP_REMOVEXATTR:
		r = follow ? removexattr(path, name) : lremovexattr(path, name);
		break;
	default:
		r = follow ? listxattr(path, value, size) : llistxattr(path, value, size);
	}
	say_result(out, r);
}

/* ---- Making ---- */

static long bound(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long r = -1;

	if (!path || strlen(path) >= sizeof(at.sun_path) || !*path)
		errno = EINVAL;
	else
		r = bind(fd, (void *)&at,
			 offsetof(struct sockaddr_un, sun_path) +
			     strlen(strcpy(at.sun_path, path)) + 1);
	close(fd);
	return r;
}

static long made_link(const struct op *op, const char *a, const char *b)
{
	static char far[PATH_MAX + 10];

	if (op->choice % 40 < 2) {
		memset(far, 't', sizeof(far));
		far[op->choice % 40 ? PATH_MAX - 1 : PATH_MAX] = '\0';
		return symlink(far, b);
	}
	return symlink(a, b);
}

static long linked_fd(const struct op *op, int fd, const char *b)
{
	char path[64];

	if (op->choice % 3 == 0)
		return linkat(fd, "", AT_FDCWD, b, AT_EMPTY_PATH);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, AT_FDCWD, b, op->choice % 3 == 1 ? AT_SYMLINK_FOLLOW : 0);
}

static dev_t device_of(const struct op *op)
{
	return op->choice % 2 ? makedev(1, 3) : makedev(7777 % 4096, op->choice % 70000);
}

static uint32_t id_of(uint32_t choice)
{
	static const uint32_t ids[] = {0,    1001,	  1002,	       1003, 2000,
				       2000, 4294967295U, 4294967295U, 70000};

	return ids[choice % 9];
}

/* Never with no user beside no group: a chown of nothing (test_differ.py says why). */
static gid_t group_of(const struct op *op)
{
	gid_t gid = id_of(op->choice / 9);

	return gid == (gid_t)-1 && id_of(op->choice) == (uid_t)-1 ? 0 : gid;
}

static void statfs_at(const char *path, char *out)
{
	struct statfs st;
	long r = statfs(path, &st);

	say_result(out, r);
	if (r == 0)
		say(out, "namelen=%ld bsize=%ld", st.f_namelen, st.f_bsize);
}

static long accessible(const struct op *op, const char *a)
{
	static const int flags[] = {0, 0, AT_EACCESS, AT_SYMLINK_NOFOLLOW};

	return faccessat(AT_FDCWD, a, op->flags % 9 == 8 ? F_OK : op->flags % 8,
			 flags[op->choice % 4]);
}

bool act_names(const struct op *op, const int *fds, char *out)
{
	char abuf[PATH_SIZE], bbuf[PATH_SIZE];
	const char *a = path_string(&op->a, abuf), *b = path_string(&op->b, bbuf);
	int fd = fds[op->slot];
	char target[PATH_MAX + 1];
	long r;

	switch (op->kind) {
	case OP_LINK:
		r = linkat(AT_FDCWD, a, AT_FDCWD, b, op->choice % 3 ? 0 : AT_SYMLINK_FOLLOW);
		break;
	case OP_FLINK:
		r = linked_fd(op, fd, b);
		break;
	case OP_RENAME:
		r = renameat2(AT_FDCWD, a, AT_FDCWD, b, op->flags);
		break;
	case OP_UNLINK:
		r = unlink(a);
		break;
	case OP_RMDIR:
		r = rmdir(a);
		break;
	case OP_MKDIR:
		r = mkdir(a, op->mode);
		break;
	case OP_MKNOD:
		r = mknod(a, op->flags | op->mode, device_of(op));
		break;
	case OP_SOCKET:
		r = bound(a);
		break;
	case OP_SYMLINK:
		r = made_link(op, a, b);
		break;
	case OP_READLINK:
		r = readlink(a, target, op->choice % 4 ? sizeof(target) : op->choice % 7);
		if (r > 0)
			say(out, "%llx ", (unsigned long long)digest(target, r));
		break;
	case OP_TRUNCATE:
		r = truncate(a, op->off);
		break;
	case OP_CHMOD:
		r = fchmodat(AT_FDCWD, a, op->mode, 0);
		break;
	case OP_FCHMOD:
		r = fchmod(fd, op->mode);
		break;
	case OP_CHOWN:
		r = fchownat(AT_FDCWD, a, id_of(op->choice), group_of(op),
			     op->flags % 2 ? AT_SYMLINK_NOFOLLOW : 0);
		break;
	case OP_FCHOWN:
		r = fchown(fd, id_of(op->choice), group_of(op));
		break;
	case OP_UTIMENS:
	case OP_FUTIMENS:
		r = set_times(op, fd, a);
		break;
	case OP_SETXATTR:
	case OP_FSETXATTR:
	case OP_GETXATTR:
	case OP_REMOVEXATTR:
	case OP_LISTXATTR:
		xattrs(op, fd, a, out);
		return true;
	case OP_STAT:
		say_stat(out, AT_FDCWD, a, op->flags % 2 ? AT_SYMLINK_NOFOLLOW : 0);
		return true;
	case OP_FSTAT:
		say_stat(out, fd, "", AT_EMPTY_PATH);
		return true;
	case OP_LIST:
		r = listed(a, out);
		break;
	case OP_FLIST:
		r = lseek(fd, 0, SEEK_SET);
		if (r == 0)
			r = listed_fd(fd, out);
		break;
	case OP_ACCESS:
		r = accessible(op, a);
		break;
	case OP_STATFS:
		statfs_at(a, out);
		return true;
	case OP_UMASK:
		umask(op->mode & 0777);
		return true;
	default:
		return false;
	}
	say_result(out, r);
	return true;
}
