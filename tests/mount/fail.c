/*
 * Loaded into aibfs (LD_PRELOAD) by test_faults.py: the N-th allocation, or the N-th system call of
 * a write path, fails once. AIB_FAIL names a file of a struct fail, which the test writes: nothing
 * fails until it says so. Answers to the kernel, over /dev/fuse, are let through, and so is what
 * libarchive allocates: it ends the process where it has no memory for a string.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL_ALLOCATION = 1, FAIL_CALL = 2 };

struct fail {
	_Atomic int32_t kind;  /* 0: none */
	_Atomic int32_t left;  /* it fails when this becomes 0 */
	_Atomic int32_t error; /* of calls */
	_Atomic int32_t fired;
};

static struct fail *fail;

__attribute__((constructor)) static void init(void)
{
	const char *path = getenv("AIB_FAIL");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED
			  : mmap(NULL, sizeof(*fail), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (at != MAP_FAILED)
		fail = at;
}

static int its_turn(int kind)
{
	if (!fail || fail->kind != kind || atomic_fetch_sub(&fail->left, 1) != 1)
		return 0;
	fail->fired = 1;
	return 1;
}

static int due(int kind)
{
	if (!its_turn(kind))
		return 0;
	errno = fail->error;
	return 1;
}

/* CALLER is the return address. */
static int no_memory(void *caller)
{
	Dl_info from;

	if (!its_turn(FAIL_ALLOCATION) ||
	    (dladdr(caller, &from) && strstr(from.dli_fname, "libarchive")))
		return 0;
	errno = ENOMEM;
	return 1;
}

#define NO_MEMORY no_memory(__builtin_return_address(0))

/* ---- Allocations ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
	return NO_MEMORY ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return NO_MEMORY ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return NO_MEMORY ? NULL : __libc_realloc(p, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	void *p = NO_MEMORY ? NULL : __libc_memalign(align, size);

	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}

char *strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *p = NO_MEMORY ? NULL : __libc_malloc(size);

	return p ? memcpy(p, s, size) : NULL;
}

/* ---- System calls ---- */

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CALL(type, name, params, ...)                                                              \
	type name params                                                                           \
	{                                                                                          \
		static __typeof__(&name) next;                                                     \
                                                                                                   \
		if (!next)                                                                         \
			next = NEXT(name);                                                         \
		return due(FAIL_CALL) ? -1 : next(__VA_ARGS__);                                    \
	}

CALL(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t at), fd, b, n, at)
CALL(ssize_t, pwrite64, (int fd, const void *b, size_t n, off_t at), fd, b, n, at)
CALL(ssize_t, pwritev2, (int fd, const struct iovec *v, int n, off_t at, int f), fd, v, n, at, f)
CALL(ssize_t, pwritev64v2, (int fd, const struct iovec *v, int n, off_t at, int f), fd, v, n, at, f)
CALL(int, ftruncate, (int fd, off_t size), fd, size)
CALL(int, ftruncate64, (int fd, off_t size), fd, size)
CALL(int, fallocate, (int fd, int mode, off_t at, off_t size), fd, mode, at, size)
CALL(int, fallocate64, (int fd, int mode, off_t at, off_t size), fd, mode, at, size)
CALL(int, fsync, (int fd), fd)
CALL(int, fdatasync, (int fd), fd)
CALL(int, renameat2, (int a, const char *b, int c, const char *d, unsigned f), a, b, c, d, f)
CALL(int, linkat, (int a, const char *b, int c, const char *d, int f), a, b, c, d, f)
CALL(int, unlinkat, (int a, const char *b, int f), a, b, f)
CALL(int, fstatat, (int a, const char *b, struct stat *st, int f), a, b, st, f)
CALL(int, fstatat64, (int a, const char *b, struct stat64 *st, int f), a, b, st, f)
CALL(int, fstat, (int fd, struct stat *st), fd, st)
CALL(int, fstat64, (int fd, struct stat64 *st), fd, st)
CALL(int, fchmod, (int fd, mode_t mode), fd, mode)
CALL(ssize_t, send, (int fd, const void *b, size_t n, int f), fd, b, n, f)
CALL(ssize_t, recv, (int fd, void *b, size_t n, int f), fd, b, n, f)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), fd, m, f)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int f), fd, m, f)
CALL(int, fchown, (int fd, uid_t u, gid_t g), fd, u, g)

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

static int open_next(int dir, const char *path, int flags, mode_t mode)
{
	static __typeof__(&openat) next;

	if (!next)
		next = NEXT(openat);
	return next(dir, path, flags, mode);
}

#define OPENAT(name)                                                                               \
	int name(int dir, const char *path, int flags, ...)                                        \
	{                                                                                          \
		mode_t mode;                                                                       \
		va_list ap;                                                                        \
                                                                                                   \
		va_start(ap, flags);                                                               \
		mode = mode_of(flags, ap);                                                         \
		va_end(ap);                                                                        \
		return due(FAIL_CALL) ? -1 : open_next(dir, path, flags, mode);                    \
	}
OPENAT(openat)
OPENAT(openat64)

/* setfsuid tells who it was, never a failure; a futex is no write. */
static int may_fail(long nr)
{
	return nr != SYS_setfsuid && nr != SYS_setfsgid && nr != SYS_futex && nr != SYS_gettid;
}

long syscall(long nr, ...)
{
	static __typeof__(&syscall) next;
	long a[6];
	va_list ap;

	if (!next)
		next = NEXT(syscall);
	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (may_fail(nr) && due(FAIL_CALL))
		return -1;
	return next(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
