/*
 * System calls that need a fallback or a raw form: openat2, what small C libraries have no function
 * for, file handles, and the identity of a thread. None of them resolves more than one name.
 */
#include "host.h"

#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>

static int openat2_once(int dirfd, const char *name, int flags, mode_t mode)
{
	bool makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
	struct open_how how = {
	    .flags = (unsigned)flags,
	    .mode = makes ? mode : 0,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	int fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

int host_openat(const struct host *h, int dirfd, const char *name, int flags, mode_t mode)
{
	int fd;

	flags |= O_NOFOLLOW | O_CLOEXEC;
	if (!h->no_openat2) {
		/* A rename meanwhile: EAGAIN of anything, EXDEV of what was found and then moved to
		 * another directory (of a single name nothing else gives that). */
		for (int i = 0; i < 16; i++) {
			fd = openat2_once(dirfd, name, flags, mode);
			if (fd != -EAGAIN && fd != -EXDEV)
				return fd;
		}
	}
	fd = openat(dirfd, name, flags, mode);
	return fd < 0 ? -errno : fd;
}

void host_probe(struct host *h, int dirfd)
{
	_cleanup_close_ int fd = openat2_once(dirfd, ".", O_PATH | O_CLOEXEC, 0);

	h->no_openat2 = fd < 0;
}

ssize_t host_pwritev2(int fd, const struct iovec *iov, off_t off, int flags)
{
	/* The offset is in two halves, of which a machine of 64 bits only looks at the low one. */
	return syscall(SYS_pwritev2, fd, iov, 1L, (long)off, (long)(off >> 16 >> 16), flags);
}

int host_sync(int fd, bool data)
{
	return (data ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

int host_renameat2(int dirfd, const char *name, int new_dirfd, const char *new_name, unsigned flags)
{
	return syscall(SYS_renameat2, dirfd, name, new_dirfd, new_name, flags) < 0 ? -errno : 0;
}

int host_fstat(int fd, struct stat *ret)
{
	return fstat(fd, ret) < 0 ? -errno : 0;
}

static struct timespec time_of(const struct statx_timestamp *t)
{
	return (struct timespec){t->tv_sec, t->tv_nsec};
}

int host_birth(int fd, struct timespec *ret)
{
	struct statx stx;

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) < 0)
		return -errno;
	if (!(stx.stx_mask & STATX_BTIME))
		return -EOPNOTSUPP;
	*ret = time_of(&stx.stx_btime);
	return 0;
}

static bool is_of(uint32_t type, const uint32_t *types, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (type == types[i])
			return true;
	return false;
}

bool host_is_remote(int fd)
{
	static const uint32_t types[] = {
	    NFS_SUPER_MAGIC,	     SMB_SUPER_MAGIC,	     CIFS_SUPER_MAGIC,
	    SMB2_SUPER_MAGIC,	     FUSE_SUPER_MAGIC,	     V9FS_MAGIC,
	    CEPH_SUPER_MAGIC,	     AFS_SUPER_MAGIC,	     AFS_FS_MAGIC,
	    CODA_SUPER_MAGIC,	     0x7461636f /* ocfs2 */, 0x01161970 /* gfs2 */,
	    0x0bd00bd0 /* lustre */, 0x47504653 /* gpfs */,  0x786f4256 /* vboxsf */,
	};
	struct statfs st;

	return fstatfs(fd, &st) < 0 || is_of(st.f_type, types, ARRAY_SIZE(types));
}

bool host_keeps_births(int fd)
{
	static const uint32_t types[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
					 TMPFS_MAGIC};
	struct statfs st;

	return fstatfs(fd, &st) == 0 && is_of(st.f_type, types, ARRAY_SIZE(types));
}

#define BIDE_MS 10

int host_bide(struct bk_req *req)
{
	int r = req && req->hurried ? -EAGAIN : bk_req_check(req);

	if (r == 0)
		(void)poll(NULL, 0, BIDE_MS);
	return r;
}

/* ---- Identity ---- */

/*
 * Whether a file keeps its handle for life; else false and errno. On FUSE it is only the number
 * that the kernel's inode has at the moment, and is another one after a while.
 */
static bool has_handles(int fd)
{
	struct statfs st;

	if (fstatfs(fd, &st) == 0 && (uint32_t)st.f_type != FUSE_SUPER_MAGIC)
		return true;
	errno = EOPNOTSUPP;
	return false;
}

union handle {
	struct file_handle fh;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static void id_add(struct host_id *id, const void *data, size_t n)
{
	memcpy(id->bytes + id->len, data, n);
	id->len += n;
}

static void id_begin(struct host_id *id, char tag, dev_t dev)
{
	*id = (struct host_id){.len = 1, .mount_id = -1};
	id->bytes[0] = tag;
	id_add(id, &dev, sizeof(dev));
}

static void id_add_handle(struct host_id *id, const union handle *u)
{
	id_add(id, &u->fh.handle_type, sizeof(u->fh.handle_type));
	id_add(id, u->fh.f_handle, u->fh.handle_bytes);
}

static struct host_sight sight_of(dev_t dev, const struct statx *stx)
{
	struct host_sight s = {.dev = dev, .ino = stx->stx_ino};

	if (stx->stx_mask & STATX_BTIME)
		s.born_ns = host_ns(stx->stx_btime.tv_sec, stx->stx_btime.tv_nsec);
	return s;
}

static void id_by_number(struct host_id *id, const struct host_sight *s)
{
	id_begin(id, 'i', s->dev);
	id_add(id, &s->ino, sizeof(s->ino));
	id_add(id, &s->born_ns, sizeof(s->born_ns));
}

static int identify_by_number(int fd, dev_t dev, struct host_id *id)
{
	struct host_sight s;
	struct statx stx;

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) < 0)
		return -errno;
	s = sight_of(dev, &stx);
	id_by_number(id, &s);
	return 0;
}

static bool is_handleless(struct host *h, dev_t dev)
{
	for (size_t i = 0; i < HOST_HANDLELESS; i++)
		if (atomic_load(&h->handleless[i]) == dev)
			return true;
	return false;
}

static void remember_handleless(struct host *h, dev_t dev)
{
	unsigned at = atomic_fetch_add(&h->next_handleless, 1) % HOST_HANDLELESS;

	atomic_store(&h->handleless[at], dev);
}

/* -EOPNOTSUPP where the file has none, -ENOMEM. */
static int identify_by_handle(struct host *h, int fd, dev_t dev, struct host_id *id)
{
	union handle u = {.fh.handle_bytes = MAX_HANDLE_SZ};
	int mount_id;

	if (is_handleless(h, dev))
		return -EOPNOTSUPP;
	if (name_to_handle_at(fd, "", &u.fh, &mount_id, AT_EMPTY_PATH) < 0 ||
	    !(host_opens_handles(h, mount_id) || has_handles(fd))) {
		if (errno == ENOMEM)
			return -ENOMEM;
		/* EPERM: a seccomp filter, such as a container's. */
		if (errno == EOPNOTSUPP || errno == EPERM || errno == ENOSYS)
			remember_handleless(h, dev);
		return -EOPNOTSUPP;
	}
	if (u.fh.handle_bytes > MAX_HANDLE_SZ)
		return -EOPNOTSUPP;
	id->mount_id = mount_id;
	id_add_handle(id, &u);
	return 0;
}

int host_identify(struct host *h, int fd, const struct stat *st, struct host_id *ret)
{
	struct host_id id;
	int r;

	id_begin(&id, 'h', st->st_dev);
	r = identify_by_handle(h, fd, st->st_dev, &id);
	if (r == -EOPNOTSUPP)
		r = identify_by_number(fd, st->st_dev, &id);
	if (r == 0)
		*ret = id;
	return r;
}

static struct stat stat_of(const struct statx *stx)
{
	return (struct stat){
	    .st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
	    .st_ino = stx->stx_ino,
	    .st_nlink = stx->stx_nlink,
	    .st_mode = stx->stx_mode,
	    .st_uid = stx->stx_uid,
	    .st_gid = stx->stx_gid,
	    .st_rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
	    .st_size = stx->stx_size,
	    .st_blksize = stx->stx_blksize,
	    .st_blocks = stx->stx_blocks,
	    .st_atim = time_of(&stx->stx_atime),
	    .st_mtim = time_of(&stx->stx_mtime),
	    .st_ctim = time_of(&stx->stx_ctime),
	};
}

/* -EOPNOTSUPP where only a descriptor tells. */
static int handle_at(struct host *h, int dirfd, const char *name, union handle *ret, int *ret_mount)
{
	if (!atomic_load(&h->opens_handles))
		return -EOPNOTSUPP;
	ret->fh.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(dirfd, name, &ret->fh, ret_mount, 0) < 0)
		return errno == ENOENT ? -ENOENT : -EOPNOTSUPP;
	return host_opens_handles(h, *ret_mount) ? 0 : -EOPNOTSUPP;
}

int host_see(int dirfd, const char *name, struct stat *ret_st, struct host_sight *ret)
{
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	struct statx stx;

	if (syscall(SYS_statx, dirfd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &stx) < 0)
		return errno == ENOENT ? -ENOENT : -EOPNOTSUPP;
	if ((stx.stx_mask & STATX_BASIC_STATS) != STATX_BASIC_STATS)
		return -EOPNOTSUPP;
	*ret_st = stat_of(&stx);
	*ret = sight_of(ret_st->st_dev, &stx);
	return 0;
}

int host_number_of(struct host *h, const struct host_sight *s, struct host_id *ret)
{
	if (!is_handleless(h, s->dev))
		return -EOPNOTSUPP;
	id_by_number(ret, s);
	return 0;
}

int host_handle_at(struct host *h, int dirfd, const char *name, dev_t dev, struct host_id *ret)
{
	union handle u;
	int mount_id, r = handle_at(h, dirfd, name, &u, &mount_id);

	if (r < 0)
		return r;
	id_begin(ret, 'h', dev);
	ret->mount_id = mount_id;
	id_add_handle(ret, &u);
	return 0;
}

bool host_is_handle_at(struct host *h, int dirfd, const char *name, const struct host_id *id)
{
	const unsigned head = 1 + sizeof(dev_t);
	struct host_id now = {.len = 0};
	union handle u;
	int mount_id;

	if (handle_at(h, dirfd, name, &u, &mount_id) < 0)
		return false;
	id_add_handle(&now, &u);
	return mount_id == id->mount_id && now.len == id->len - head &&
	       memcmp(now.bytes, id->bytes + head, now.len) == 0;
}

/* The kernel has ENOMEM also for a file that is gone while its number is being given to a new one
 * (iget_locked() of an inode with I_CREATING): seen for a millisecond. */
#define CREATING_TRIES 50
#define CREATING_STEP_NS 100000

int host_open_handle(int mount_fd, const unsigned char *id, unsigned len, int flags)
{
	const unsigned head = 1 + sizeof(dev_t);
	union handle u;
	int fd = -1;

	u.fh.handle_bytes = len - head - sizeof(u.fh.handle_type);
	memcpy(&u.fh.handle_type, id + head, sizeof(u.fh.handle_type));
	memcpy(u.fh.f_handle, id + head + sizeof(u.fh.handle_type), u.fh.handle_bytes);
	for (int i = 0; i < CREATING_TRIES; i++) {
		fd = open_by_handle_at(mount_fd, &u.fh, flags | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 || errno != ENOMEM)
			break;
		nanosleep(&(struct timespec){.tv_nsec = CREATING_STEP_NS}, NULL);
	}
	return fd < 0 ? -errno : fd;
}

/* ---- Who this thread is: raw calls, since libc's change every thread ---- */

#define FSETID (1U << CAP_FSETID)

static int set_caps(const struct host *h, uint32_t fsetid)
{
	struct __user_cap_data_struct caps[2] = {h->caps[0], h->caps[1]};

	caps[0].effective = (caps[0].effective & ~FSETID) | fsetid;
	return caps_set(caps);
}

/* What of CAP_FSETID the daemon's threads have. */
static uint32_t usual(const struct host *h)
{
	return h->caps[0].effective & FSETID;
}

/* Keep setuid bits, and setgid ones of other groups, or not. */
static int keep_bits(const struct host *h, bool keep, struct host_as *as)
{
	uint32_t fsetid = keep ? h->caps[0].permitted & FSETID : 0;

	as->caps = fsetid != usual(h);
	return as->caps ? set_caps(h, fsetid) : 0;
}

static bool is_other(const struct host *h, const struct bk_req *req)
{
	return h->switch_user && req && req->uid != 0;
}

/* Be of the group of the file of ST exactly where the caller is, so that the bit which marks the
 * file for locks stays when it would for him. */
static void join_group(const struct bk_req *req, const struct stat *st, struct host_as *as)
{
	if ((st->st_mode & (S_ISGID | S_IXGRP)) != S_ISGID)
		return;
	as->ids = true;
	syscall(SYS_setfsgid, bk_req_in_group(req, st->st_gid) ? st->st_gid : req->gid);
}

int host_as_writer(const struct host *h, const struct bk_req *req, int fd, struct host_as *ret)
{
	struct stat st;

	*ret = (struct host_as){.host = h};
	if (!h->switch_user)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!(st.st_mode & (S_ISUID | S_ISGID)))
		return 0;
	if (is_other(h, req))
		join_group(req, &st, ret);
	return keep_bits(h, !is_other(h, req), ret);
}

int host_as_owner(const struct host *h, struct host_as *ret)
{
	*ret = (struct host_as){.host = h};
	return h->switch_user ? keep_bits(h, true, ret) : 0;
}

static bool may_lose_setgid(mode_t mode)
{
	return !S_ISDIR(mode) && (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
}

/* In a directory that gives its group away, a program may be setgid whose maker is of that group,
 * be it only by a further one. */
static void join_directory(const struct bk_req *req, int dirfd, mode_t mode)
{
	struct stat st;

	if (!may_lose_setgid(mode))
		return;
	if (fstat(dirfd, &st) == 0 && st.st_mode & S_ISGID && bk_req_in_group(req, st.st_gid))
		syscall(SYS_setfsgid, st.st_gid);
}

int host_as_maker(const struct host *h, const struct bk_req *req, int dirfd, mode_t mode,
		  struct host_as *ret)
{
	*ret = (struct host_as){.host = h};
	if (!h->switch_user)
		return 0;
	if (!is_other(h, req) && may_lose_setgid(mode)) {
		int r = keep_bits(h, true, ret);

		if (r < 0)
			return r;
	}
	if (!req || (req->uid == 0 && req->gid == 0))
		return 0;
	ret->ids = true;
	/* These two return the old id whether they worked or not (an id that the user namespace
	 * does not know): ask again. */
	syscall(SYS_setfsgid, req->gid);
	syscall(SYS_setfsuid, req->uid);
	if ((gid_t)syscall(SYS_setfsgid, -1) != req->gid ||
	    (uid_t)syscall(SYS_setfsuid, -1) != req->uid)
		return -EOVERFLOW;
	if (req->uid == 0)
		return 0;
	join_directory(req, dirfd, mode);
	ret->caps = true;
	return set_caps(h, 0); /* setfsuid has dropped the file system ones */
}

void host_as_done(struct host_as *as)
{
	int saved = errno;

	if (as->ids) {
		syscall(SYS_setfsuid, 0);
		syscall(SYS_setfsgid, 0);
	}
	if (as->ids || as->caps)
		set_caps(as->host, usual(as->host));
	errno = saved;
}
