/*
 * Races of names: one exchanges directories and files with links that lead out, another makes every
 * call of a file system on them and looks whether anything of the outside came in.
 *
 *   racer make DIR OUT           d0… and f0…, and beside them l0… and g0…, links to OUT and OUT/file
 *   racer swap DIR               exchanges dN with lN and fN with gN until TERM; prints how often
 *   racer call DIR OUT ROUNDS SEED THREADS follow|nofollow
 *
 * `call` prints JSON: for each call how often it went well and how often not, and the leaks. What is
 * outside holds OUTSIDE in its contents and names, and SIZE_OUT is the size of its files. With
 * nofollow no call of its own follows a link: what leads out then was led by who serves DIR.
 *
 * Static, since it runs in containers too.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAIRS 8
#define NAMES 4
#define SIZE_OUT 4711
#define OUTSIDE "OUTSIDE"
#define INSIDE "inside\n"
#define EXCHANGE 2 /* RENAME_EXCHANGE; musl's headers may lack it */

static const char *top, *out;
static bool follow;
static atomic_long left;
static volatile sig_atomic_t told_to_end;

static void text(char *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(buf, 4096, format, args);
	va_end(args);
}

static int rename_with(const char *from, const char *to, unsigned flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

/* ---- make ---- */

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	perror(what);
	exit(2);
}

static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);

	must(fd, path);
	must(write(fd, INSIDE, strlen(INSIDE)), path);
	close(fd);
}

/* Every other link climbs to the root instead of beginning there. */
static void make_link(char kind, int i, const char *suffix)
{
	char path[4096], target[4096] = "";

	for (int n = 0; i % 2 && n < 24; n++)
		strcat(target, "../");
	strcat(strcat(target, out + i % 2), suffix);
	text(path, "%s/%c%d", top, kind, i);
	must(symlink(target, path), path);
}

static int make(void)
{
	char path[4096];

	for (int i = 0; i < PAIRS; i++) {
		text(path, "%s/d%d", top, i);
		must(mkdir(path, 0777), path);
		strcat(path, "/file");
		make_file(path);
		text(path, "%s/f%d", top, i);
		make_file(path);
		make_link('l', i, "");
		make_link('g', i, "/file");
	}
	return 0;
}

/* ---- swap ---- */

static void end(int sig)
{
	told_to_end = 1;
}

static int swap(void)
{
	static const char kinds[] = "dlfg";
	char a[4096], b[4096];
	long n = 0;

	signal(SIGTERM, end);
	for (long at = 0; !told_to_end; at++)
		for (int k = 0; k < 4; k += 2) {
			text(a, "%s/%c%ld", top, kinds[k], at % PAIRS);
			text(b, "%s/%c%ld", top, kinds[k + 1], at % PAIRS);
			n += rename_with(a, b, EXCHANGE) == 0;
		}
	printf("%ld\n", n);
	return 0;
}

/* ---- call ---- */

struct caller {
	uint64_t random;
	int dir; /* held, or -1 */
	char path[4096];
	char other[4096];
	char leaks[4096];
};

static unsigned pick(struct caller *c, unsigned n)
{
	c->random = c->random * 6364136223846793005u + 1442695040888963407u;
	return (c->random >> 33) % n;
}

static void leak(struct caller *c, const char *what)
{
	size_t n = strlen(c->leaks);

	snprintf(c->leaks + n, sizeof(c->leaks) - n, "%s\"%s %s\"", n ? ", " : "", what, c->path);
}

static int no_follow(void)
{
	return follow ? 0 : O_NOFOLLOW;
}

static int at_flags(void)
{
	return follow ? 0 : AT_SYMLINK_NOFOLLOW;
}

static int open_with(struct caller *c, int flags)
{
	return open(c->path, flags | no_follow() | O_NONBLOCK | O_CLOEXEC, 0666);
}

static void look_at(struct caller *c, const struct stat *st)
{
	if (st->st_size == SIZE_OUT || st->st_uid == SIZE_OUT)
		leak(c, "stat");
}

static int done(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd;
}

static int do_read(struct caller *c)
{
	char data[256];
	struct stat st;
	int fd = open_with(c, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, data, sizeof(data));
	if (n > 0 && memmem(data, n, OUTSIDE, strlen(OUTSIDE)))
		leak(c, "read");
	if (fstat(fd, &st) == 0)
		look_at(c, &st);
	return done(fd);
}

static int write_flags(struct caller *c, int flags)
{
	int fd = open_with(c, O_WRONLY | flags);

	if (fd >= 0 && pwrite(fd, INSIDE, strlen(INSIDE), 0) < 0)
		errno = EIO;
	return done(fd);
}

static int do_write(struct caller *c)
{
	return write_flags(c, 0);
}

static int do_create(struct caller *c)
{
	return write_flags(c, O_CREAT | (pick(c, 2) ? O_EXCL : O_TRUNC));
}

static int do_truncate(struct caller *c)
{
	int fd;

	if (follow && pick(c, 2))
		return truncate(c->path, pick(c, 64));
	fd = open_with(c, O_WRONLY | O_TRUNC);
	return done(fd);
}

static int do_mkdir(struct caller *c)
{
	return mkdir(c->path, 0777);
}

static int do_mknod(struct caller *c)
{
	return mknod(c->path, pick(c, 2) ? S_IFIFO | 0666 : S_IFREG | 0666, 0);
}

static int do_symlink(struct caller *c)
{
	return symlink(pick(c, 2) ? out : "file", c->path);
}

static int do_link(struct caller *c)
{
	return linkat(AT_FDCWD, c->path, AT_FDCWD, c->other, follow ? AT_SYMLINK_FOLLOW : 0);
}

static int do_unlink(struct caller *c)
{
	return unlink(c->path);
}

static int do_rmdir(struct caller *c)
{
	return rmdir(c->path);
}

static int do_rename(struct caller *c)
{
	return rename_with(c->path, c->other, pick(c, 2) ? EXCHANGE : 0);
}

static int do_stat(struct caller *c)
{
	struct stat st;
	int r = fstatat(AT_FDCWD, c->path, &st, at_flags());

	if (r == 0 && !S_ISLNK(st.st_mode))
		look_at(c, &st);
	return r;
}

static int do_readlink(struct caller *c)
{
	char target[4096];
	ssize_t n = readlink(c->path, target, sizeof(target) - 1);

	if (n < 0 || !follow)
		return n;
	target[n] = '\0';
	if (strstr(target, "..") || strncmp(target, out, strlen(out)) == 0)
		leak(c, "readlink");
	return n;
}

static int do_xattr(struct caller *c)
{
	static int (*const set[])(const char *, const char *, const void *, size_t, int) = {
	    lsetxattr, setxattr};
	char value[64];

	switch (pick(c, 4)) {
	case 0:
		return set[follow](c->path, "user.mark", "inside", 6, 0);
	case 1:
		return (follow ? removexattr : lremovexattr)(c->path, "user.mark");
	case 2:
		return (follow ? listxattr : llistxattr)(c->path, value, sizeof(value));
	}
	if ((follow ? getxattr : lgetxattr)(c->path, "user.mark", value, sizeof(value)) < 0)
		return -1;
	if (memcmp(value, "inside", 6) != 0)
		leak(c, "getxattr");
	return 0;
}

static int do_chmod(struct caller *c)
{
	int fd;

	if (follow && pick(c, 2))
		return chmod(c->path, 0600 | pick(c, 0200));
	fd = open_with(c, O_RDONLY);
	if (fd >= 0 && fchmod(fd, 0700 | pick(c, 0100)) < 0)
		errno = EIO;
	return done(fd);
}

static int do_chown(struct caller *c)
{
	return fchownat(AT_FDCWD, c->path, pick(c, 3), pick(c, 3), at_flags());
}

static int do_utimens(struct caller *c)
{
	const struct timespec times[2] = {{.tv_sec = pick(c, 1000)}, {.tv_sec = pick(c, 1000)}};

	return utimensat(AT_FDCWD, c->path, times, at_flags());
}

/* ---- Of the directory or file itself ---- */

static int do_readdir(struct caller *c)
{
	int fd = open_with(c, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return -1;
	while ((e = readdir(dir)))
		if (strstr(e->d_name, OUTSIDE))
			leak(c, "readdir");
	return closedir(dir);
}

static int do_exchange(struct caller *c)
{
	return rename_with(c->path, c->other, EXCHANGE);
}

enum where { BELOW, ITSELF, BOTH };

static struct call {
	const char *name;
	int (*run)(struct caller *);
	enum where where;
	atomic_long good, bad;
} calls[] = {
    {"read", do_read, BOTH},
    {"write", do_write, BOTH},
    {"create", do_create, BELOW},
    {"truncate", do_truncate, BOTH},
    {"mkdir", do_mkdir, BELOW},
    {"mknod", do_mknod, BELOW},
    {"symlink", do_symlink, BELOW},
    {"link", do_link, BELOW},
    {"unlink", do_unlink, BELOW},
    {"rmdir", do_rmdir, BELOW},
    {"rename", do_rename, BELOW},
    {"stat", do_stat, BOTH},
    {"readlink", do_readlink, BOTH},
    {"xattr", do_xattr, BOTH},
    {"chmod", do_chmod, BOTH},
    {"chown", do_chown, BOTH},
    {"utimens", do_utimens, BOTH},
    {"readdir", do_readdir, ITSELF},
    {"exchange", do_exchange, ITSELF},
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* A descriptor of the directory dN as it is now; no link on the way counts. */
static int hold(int i)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
			       .resolve = follow ? 0 : RESOLVE_NO_SYMLINKS};
	char path[4096];

	text(path, "%s/d%d", top, i);
	return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static void name_below(struct caller *c, char *path, int i, bool any)
{
	char dir[4000];

	if (c->dir >= 0)
		snprintf(dir, sizeof(dir), "/proc/self/fd/%d", c->dir);
	else
		snprintf(dir, sizeof(dir), "%s/d%d", top, i);
	if (any && pick(c, 2))
		text(path, "%s/file", dir);
	else
		text(path, "%s/n%u", dir, pick(c, NAMES));
}

/* False: the directory is a link now, and none is to be followed. */
static bool choose(struct caller *c, const struct call *call)
{
	int i = pick(c, PAIRS);
	bool is_dir = call->where == ITSELF || pick(c, 2);

	if (call->where == ITSELF || (call->where == BOTH && pick(c, 2))) {
		text(c->path, "%s/%c%d", top, is_dir ? 'd' : 'f', i);
		text(c->other, "%s/%c%d", top, is_dir ? 'l' : 'g', i);
		return true;
	}
	if (!follow || pick(c, 2)) {
		c->dir = hold(i);
		if (c->dir < 0)
			return false;
	}
	name_below(c, c->path, i, call->where == BOTH || call->run == do_link);
	name_below(c, c->other, pick(c, PAIRS), false);
	return true;
}

static void *call_all(void *arg)
{
	struct caller *c = arg;

	while (atomic_fetch_sub(&left, 1) > 0 && strlen(c->leaks) < sizeof(c->leaks) / 2) {
		struct call *call = &calls[pick(c, CALLS)];

		c->dir = -1;
		atomic_fetch_add(choose(c, call) && call->run(c) >= 0 ? &call->good : &call->bad, 1);
		done(c->dir);
	}
	return NULL;
}

static int call(long rounds, unsigned seed, int threads)
{
	struct caller callers[16] = {0};
	pthread_t ids[16];
	bool first = true;

	left = rounds;
	umask(0);
	for (int i = 0; i < threads; i++) {
		callers[i].random = seed * 1000 + i;
		must(-pthread_create(&ids[i], NULL, call_all, &callers[i]), "pthread_create");
	}
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("{\"calls\": {");
	for (size_t i = 0; i < CALLS; i++)
		printf("%s\"%s\": [%ld, %ld]", i ? ", " : "", calls[i].name, calls[i].good, calls[i].bad);
	printf("}, \"leaks\": [");
	for (int i = 0; i < threads; i++)
		if (*callers[i].leaks) {
			printf("%s%s", first ? "" : ", ", callers[i].leaks);
			first = false;
		}
	printf("]}\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	top = argv[2];
	if (strcmp(argv[1], "swap") == 0)
		return swap();
	out = argv[3];
	if (strcmp(argv[1], "make") == 0)
		return make();
	follow = strcmp(argv[7], "follow") == 0;
	return call(atol(argv[4]), atol(argv[5]), atoi(argv[6]));
}
