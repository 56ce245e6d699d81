/*
 * Attributes: stat, changes of them, links' targets, extended attributes. What an O_PATH descriptor
 * does not let do is done through /proc/self/fd, whose link is the file itself and is never
 * followed further.
 */
#include "host.h"

#include "change.h"

#include "base/link.h"
#include "base/procfd.h"

#include <limits.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

/* A descriptor of NODE for attributes: FILE's own, or a pinned one. */
static int attr_fd(struct bk_node *node, struct bk_file *file, struct host_pin *pin, int *ret_fd)
{
	int r = 0;

	*ret_fd = file ? atomic_load(&FILE_OF(file)->fd) : -1;
	if (*ret_fd >= 0)
		return 0;
	r = host_pin(node, pin);
	if (r == 0)
		*ret_fd = pin->fd;
	return r;
}

int host_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		 struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	int fd = -1, r = attr_fd(node, file, &pin, &fd);

	return r < 0 ? r : host_fstat(fd, ret_st);
}

int host_born(struct bk_req *req, struct bk_node *node, struct bk_file *file, struct timespec *ret)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	int fd = -1, r = attr_fd(node, file, &pin, &fd);

	return r < 0 ? r : host_birth(fd, ret);
}

/* ---- setattr ---- */

/* truncate(2) of the file of FD. A writer who is let in is there when nobody has a lease, and
 * nobody gets one as long as he is. */
static int truncate_path(struct bk_req *req, int fd, uint64_t size)
{
	_cleanup_close_ int writer = -1;
	int r = 0;

	do
		writer = open(procfd(fd).path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	while (writer < 0 && errno == EAGAIN && (r = host_bide(req)) == 0);
	if (r < 0)
		return r;
	return truncate(procfd(fd).path, size) < 0 ? -errno : 0;
}

static int set_size(struct bk_req *req, const struct host_node *n, const struct bk_file *file,
		    int fd, uint64_t size)
{
	if (n->type == S_IFDIR)
		return -EISDIR;
	if (n->type != S_IFREG || size > INT64_MAX)
		return -EINVAL;
	if (!file || (file->flags & O_ACCMODE) == O_RDONLY)
		return truncate_path(req, fd, size);
	return ftruncate(fd, size) < 0 ? -errno : 0;
}

/* As write(2) by another than root would. Where the kernel did it already, nothing is left. */
static int kill_suidgid(struct bk_req *req, int fd)
{
	struct stat st;
	mode_t left;

	if (fstat(fd, &st) < 0)
		return -errno;
	left = bk_mode_written(req, st.st_mode, st.st_gid);
	if (left == st.st_mode)
		return 0;
	return bk_change_mode(fd, left);
}

static int change(struct bk_req *req, const struct host_node *n, const struct bk_file *file, int fd,
		  const struct bk_setattr *a)
{
	int r = 0;

	if (a->mask & BK_SET_SIZE)
		r = set_size(req, n, file, fd, a->size);
	if (r == 0 && a->mask & BK_SET_KILL_SUIDGID)
		r = kill_suidgid(req, fd);
	if (r == 0 && a->mask & BK_SET_MODE && n->type == S_IFLNK)
		r = -EOPNOTSUPP;
	return r < 0 ? r : bk_change_fd(fd, a);
}

/* Who may make change A, with the setuid and setgid bits that are left by it. */
static int become(const struct host *h, struct bk_req *req, int fd, const struct bk_setattr *a,
		  struct host_as *ret)
{
	if (a->mask & BK_SET_MODE)
		return a->mode & S_ISGID ? host_as_owner(h, ret) : 0;
	return a->mask && !(a->mask & ~BK_SET_TIMES) ? 0 : host_as_writer(h, req, fd, ret);
}

int host_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		 const struct bk_setattr *attr, struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_as_ struct host_as as = {.host = NULL};
	int fd = -1, r = attr_fd(node, file, &pin, &fd);

	if (r == 0)
		r = become(HOST_OF(node), req, fd, attr, &as);
	if (r == 0)
		r = change(req, NODE_OF(node), file, fd, attr);
	return r < 0 ? r : host_fstat(fd, ret_st);
}

/* ---- readlink ---- */

/* How many levels the directory FD is below the root; -EPERM where it is not below it. */
static int depth_of(const struct host *h, int fd)
{
	_cleanup_close_ int held = -1;
	struct stat st, below = {.st_ino = 0};

	for (int depth = 0; depth < HOST_MAX_DEPTH; depth++) {
		int up;

		if (fstat(fd, &st) < 0)
			return -errno;
		if (st.st_dev == h->root_dev && st.st_ino == h->bk.root_ino)
			return depth;
		if (st.st_dev == below.st_dev && st.st_ino == below.st_ino)
			return -EPERM; /* the machine's root is its own parent */
		below = st;
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (up < 0)
			return -errno;
		closep(&held);
		fd = held = up;
	}
	return -EPERM;
}

/* Whether each name before the last ".." of TARGET is a real directory. */
static int walk_target(const struct host *h, int fd, const char *target, size_t len)
{
	_cleanup_close_ int held = -1;
	const char *name;
	char copy[NAME_MAX + 1];
	size_t pos = 0, n, left = 0;

	while ((n = link_next(target, len, &pos, &name)) > 0)
		left += n == 2 && memcmp(name, "..", 2) == 0;
	for (pos = 0; left > 0; fd = held) {
		bool up;
		int next;

		n = link_next(target, len, &pos, &name);
		if (n > NAME_MAX)
			return -EPERM;
		memcpy(copy, name, n);
		copy[n] = '\0';
		up = strcmp(copy, "..") == 0;
		left -= up;
		next = up ? openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC)
			  : host_openat(h, fd, copy, O_PATH | O_DIRECTORY, 0);
		if (next < 0)
			return -EPERM;
		closep(&held);
		held = next;
	}
	return 0;
}

/* The length of what is shown of TARGET, which may change: a name that is a directory now, but a
 * link when the kernel goes that way, must not be able to lead out. */
static int contain(struct host *h, struct host_node *n, char *target, size_t len)
{
	_cleanup_(host_node_unrefp) struct host_node *dir = NULL;
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_free_ char *name = NULL;
	enum link_class class;
	int r;

	if (link_classify(target, len, 0) == LINK_INSIDE)
		return len; /* wherever the link is */
	if (link_classify(target, len, HOST_MAX_DEPTH) == LINK_OUTSIDE)
		return host_show_outside(h, target, len, 0);
	r = host_node_place(h, n, &dir, &name);
	if (r == 0)
		r = host_pin(&dir->base, &pin);
	if (r == 0)
		r = depth_of(h, pin.fd);
	if (r < 0)
		return r;
	class = link_classify(target, len, r);
	if (class == LINK_INSIDE)
		return len;
	if (class == LINK_OUTSIDE)
		return host_show_outside(h, target, len, r);
	r = walk_target(h, pin.fd, target, len);
	return r < 0 ? r : (int)link_straighten(target, len);
}

int host_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	struct host *h = HOST_OF(node);
	int r = host_pin(node, &pin);
	ssize_t n;

	if (r < 0)
		return r;
	if (NODE_OF(node)->type != S_IFLNK)
		return -EINVAL;
	n = readlinkat(pin.fd, "", buf, PATH_MAX);
	if (n < 0)
		return -errno;
	if (n == PATH_MAX)
		return -ENAMETOOLONG;
	return h->contain ? contain(h, NODE_OF(node), buf, n) : n;
}

/* ---- statfs and extended attributes ---- */

int host_statfs(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	int r = host_pin(node, &pin);

	if (r < 0)
		return r;
	return fstatvfs(pin.fd, ret) < 0 ? -errno : 0;
}

ssize_t host_getxattr(struct bk_req *req, struct bk_node *node, const char *name, void *value,
		      size_t size)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	ssize_t r = host_pin(node, &pin);

	if (r < 0)
		return r;
	return PROCFD_CALL(pin.fd, fgetxattr(pin.fd, name, value, size),
			   getxattr(path, name, value, size));
}

/* Drop the names from LIST that only the administrator sees; returns what is left. */
static size_t drop_trusted(char *list, size_t len)
{
	size_t left = 0, n;

	for (size_t at = 0; at < len; at += n) {
		n = strnlen(list + at, len - at - 1) + 1;
		if (strncmp(list + at, XATTR_TRUSTED_PREFIX, XATTR_TRUSTED_PREFIX_LEN) == 0)
			continue;
		memmove(list + left, list + at, n);
		left += n;
	}
	return left;
}

static ssize_t list(int fd, char *ret, size_t size)
{
	return PROCFD_CALL(fd, flistxattr(fd, ret, size), listxattr(path, ret, size));
}

/* As the caller would see it: the daemon sees more. */
static ssize_t list_for_other(int fd, char *ret, size_t size)
{
	_cleanup_free_ char *all = malloc(XATTR_LIST_MAX);
	ssize_t n;

	if (!all)
		return -ENOMEM;
	n = list(fd, all, XATTR_LIST_MAX);
	if (n < 0)
		return n;
	n = drop_trusted(all, n);
	if (size == 0)
		return n;
	if ((size_t)n > size)
		return -ERANGE;
	memcpy(ret, all, n);
	return n;
}

ssize_t host_listxattr(struct bk_req *req, struct bk_node *node, char *ret, size_t size)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	ssize_t r = host_pin(node, &pin);

	if (r < 0)
		return r;
	if (HOST_OF(node)->switch_user && req && req->uid != 0)
		return list_for_other(pin.fd, ret, size);
	return list(pin.fd, ret, size);
}

int host_setxattr(struct bk_req *req, struct bk_node *node, const char *name, const void *value,
		  size_t size, int flags)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_as_ struct host_as as = {.host = NULL};
	int r = host_pin(node, &pin);

	if (r == 0)
		r = host_as_writer(HOST_OF(node), req, pin.fd, &as);
	if (r < 0)
		return r;
	return PROCFD_CALL(pin.fd, fsetxattr(pin.fd, name, value, size, flags),
			   setxattr(path, name, value, size, flags));
}

int host_removexattr(struct bk_req *req, struct bk_node *node, const char *name)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	int r = host_pin(node, &pin);

	if (r < 0)
		return r;
	return PROCFD_CALL(pin.fd, fremovexattr(pin.fd, name), removexattr(path, name));
}
