/*
 * The differential test: random sequences of calls run on the backend and on a native directory,
 * and every result, errno and content must be the same. A failure prints the seed and the last
 * calls; AIB_SEED repeats it.
 *
 * Paths are walked here, one component at a time without following links, on both sides. What a
 * trait says the backend cannot do is left out. TMPDIR chooses the native file system.
 */
#include "suite.h"

#include <dirent.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/xattr.h>

#define HANDLES 4
#define DEPTH 3
#define HISTORY 40
#define BUFFER 20000

struct handle {
	struct bk_file *file;
	int fd;
};

struct diff {
	struct suite *s;
	int root; /* the native directory */
	uint64_t random;
	struct handle handles[HANDLES];
	char history[HISTORY][200];
	unsigned steps;
};

/* A name in a directory, on both sides. */
struct place {
	struct bk_node *dir;
	int fd;
	char name[8];
};

static uint32_t rnd(struct diff *d, uint32_t n)
{
	return s_random(&d->random, n);
}

static void note(struct diff *d, const char *fmt, ...)
{
	char *text = d->history[d->steps++ % HISTORY];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(d->history[0]), fmt, ap);
	va_end(ap);
}

static void same(struct diff *d, const char *what, long long native, long long got)
{
	if (native == got)
		return;
	for (unsigned i = d->steps > HISTORY ? d->steps - HISTORY : 0; i < d->steps; i++)
		fprintf(stderr, "%6u %s\n", i, d->history[i % HISTORY]);
	fprintf(stderr, "%s: native %lld, backend %lld\n", what, native, got);
	abort();
}

static long long err(long long r)
{
	return r < 0 ? -errno : r;
}

/* ---- Places ---- */

static int walk_down(struct diff *d, struct place *p)
{
	struct bk_node *next = NULL;
	struct stat st;
	int fd = openat(p->fd, p->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int native = fd < 0 ? -errno : 0;
	int r = bk_lookup(d->s->req, p->dir, p->name, &next, &st);

	if (r == 0 && !S_ISDIR(st.st_mode)) {
		bk_node_unref(next);
		r = -ENOTDIR;
	}
	note(d, "walk %s", p->name);
	same(d, "walk", native, r);
	if (r < 0)
		return r;
	bk_node_unref(p->dir);
	close(p->fd);
	p->dir = next;
	p->fd = fd;
	return 0;
}

/* A random place; false where its directory does not exist. */
static bool somewhere(struct diff *d, struct place *p)
{
	int depth = rnd(d, DEPTH);

	p->dir = bk_node_ref(d->s->dir);
	p->fd = openat(d->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(p->fd >= 0);
	snprintf(p->name, sizeof(p->name), "%c", 'a' + rnd(d, 4));
	while (depth-- > 0) {
		if (walk_down(d, p) < 0)
			return false;
		snprintf(p->name, sizeof(p->name), "%c", 'a' + rnd(d, 4));
	}
	return true;
}

static void leave(struct place *p)
{
	bk_node_unref(p->dir);
	close(p->fd);
}

/* The place's file, which is of a type in the mask of S_IF… >> 12 bits; false where not. */
static bool find(struct diff *d, struct place *p, unsigned types, struct bk_node **ret)
{
	struct stat native, st;
	int n = err(fstatat(p->fd, p->name, &native, AT_SYMLINK_NOFOLLOW));
	int r = bk_lookup(d->s->req, p->dir, p->name, ret, &st);

	note(d, "lookup %s", p->name);
	same(d, "lookup", n, r);
	if (r < 0)
		return false;
	same(d, "mode", native.st_mode, st.st_mode);
	if (!S_ISDIR(st.st_mode))
		same(d, "size", native.st_size, st.st_size);
	if (!S_ISDIR(st.st_mode) || d->s->traits->dir_links)
		same(d, "nlink", native.st_nlink, st.st_nlink);
	if (types >> (st.st_mode >> 12) & 1)
		return true;
	bk_node_unref(*ret);
	return false;
}

#define REG (1 << (S_IFREG >> 12))
#define DIRS (1 << (S_IFDIR >> 12))
#define LNK (1 << (S_IFLNK >> 12))

/* ---- Calls on one name ---- */

/* *NODE is set where R is 0; a pointer, because R is made in the same call. */
static void made(struct diff *d, const char *what, int native, int r, struct bk_node **node)
{
	same(d, what, native, r);
	if (r == 0)
		bk_node_unref(*node);
}

static void do_mkdir(struct diff *d, struct place *p)
{
	struct bk_node *node;
	struct stat st;

	made(d, "mkdir", err(mkdirat(p->fd, p->name, 0755)),
	     bk_mkdir(d->s->req, p->dir, p->name, 0755, &node, &st), &node);
}

static void do_mknod(struct diff *d, struct place *p)
{
	struct bk_node *node;
	struct stat st;
	mode_t mode = rnd(d, 4) || d->s->traits->fifo ? S_IFREG | 0644 : S_IFIFO | 0600;

	made(d, "mknod", err(mknodat(p->fd, p->name, mode, 0)),
	     bk_mknod(d->s->req, p->dir, p->name, mode, 0, &node, &st), &node);
}

static void do_symlink(struct diff *d, struct place *p)
{
	static const char *const targets[] = {"a", "b/c", "none", "d"};
	const char *target = targets[rnd(d, 4)];
	struct bk_node *node;
	struct stat st;

	if (d->s->traits->symlink == 0)
		made(d, "symlink", err(symlinkat(target, p->fd, p->name)),
		     bk_symlink(d->s->req, p->dir, p->name, target, &node, &st), &node);
}

static void do_unlink(struct diff *d, struct place *p)
{
	same(d, "unlink", err(unlinkat(p->fd, p->name, 0)), bk_unlink(d->s->req, p->dir, p->name));
}

static void do_rmdir(struct diff *d, struct place *p)
{
	same(d, "rmdir", err(unlinkat(p->fd, p->name, AT_REMOVEDIR)),
	     bk_rmdir(d->s->req, p->dir, p->name));
}

static void do_chmod(struct diff *d, struct place *p)
{
	struct bk_setattr set = {.mask = BK_SET_MODE, .mode = 0600 | rnd(d, 0200)};
	struct bk_node *node;
	struct stat st;

	if (!find(d, p, REG | DIRS, &node))
		return;
	set.mode |= s_stat(d->s, node).st_mode & 0100; /* directories stay open */
	same(d, "chmod", err(fchmodat(p->fd, p->name, set.mode, 0)),
	     bk_setattr(d->s->req, node, NULL, &set, &st));
	bk_node_unref(node);
}

static void do_truncate(struct diff *d, struct place *p)
{
	struct bk_setattr set = {.mask = BK_SET_SIZE, .size = rnd(d, 30000)};
	struct bk_node *node;
	struct stat st;
	char path[64];

	if (!find(d, p, REG, &node))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", p->fd, p->name);
	same(d, "truncate", err(truncate(path, set.size)),
	     bk_setattr(d->s->req, node, NULL, &set, &st));
	bk_node_unref(node);
}

static void do_readlink(struct diff *d, struct place *p)
{
	char native[PATH_MAX], got[PATH_MAX];
	struct bk_node *node;
	int n;

	if (!find(d, p, REG | DIRS | LNK, &node))
		return;
	n = err(readlinkat(p->fd, p->name, native, sizeof(native)));
	same(d, "readlink", n, bk_readlink(d->s->req, node, got));
	if (n > 0)
		same(d, "target", 0, memcmp(native, got, n));
	bk_node_unref(node);
}

static void do_xattr(struct diff *d, struct place *p)
{
	static const char *const names[] = {"user.x", "user.yy", "user.zzz"};
	const char *name = names[rnd(d, 3)];
	unsigned size = rnd(d, 60), flags = rnd(d, 3);
	char value[60], native[60], got[60], path[64];
	struct bk_node *node;
	ssize_t n;

	if (d->s->traits->xattr || !find(d, p, REG | DIRS, &node))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", p->fd, p->name);
	memset(value, 'v', sizeof(value));
	switch (rnd(d, 3)) {
	case 0:
		same(d, "setxattr", err(setxattr(path, name, value, size, flags)),
		     bk_setxattr(d->s->req, node, name, value, size, flags));
		break;
	case 1:
		same(d, "removexattr", err(removexattr(path, name)),
		     bk_removexattr(d->s->req, node, name));
		break;
	}
	n = err(getxattr(path, name, native, size));
	same(d, "getxattr", n, bk_getxattr(d->s->req, node, name, got, size));
	if (size > 0 && n > 0)
		same(d, "value", 0, memcmp(native, got, n));
	bk_node_unref(node);
}

/* ---- Calls on two names ---- */

static void do_rename(struct diff *d, struct place *p)
{
	static const unsigned flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	unsigned f = flags[rnd(d, d->s->traits->exchange ? 4 : 5)];
	struct place to;

	if (somewhere(d, &to)) {
		note(d, "  rename to %s flags %u", to.name, f);
		same(d, "rename", err(renameat2(p->fd, p->name, to.fd, to.name, f)),
		     bk_rename(d->s->req, p->dir, p->name, to.dir, to.name, f));
	}
	leave(&to);
}

static void do_link(struct diff *d, struct place *p)
{
	struct bk_node *node, *linked;
	struct place to;
	struct stat st;

	if (d->s->traits->link || d->s->traits->links_apart || !find(d, p, REG | DIRS, &node))
		return;
	if (somewhere(d, &to)) {
		note(d, "  link to %s", to.name);
		made(d, "link", err(linkat(p->fd, p->name, to.fd, to.name, 0)),
		     bk_link(d->s->req, node, to.dir, to.name, &linked, &st), &linked);
	}
	leave(&to);
	bk_node_unref(node);
}

/* ---- Open files ---- */

static void close_handle(struct diff *d, struct handle *h)
{
	if (!h->file)
		return;
	CHECK_EQ(bk_flush(d->s->req, h->file), 0);
	bk_release(TAKE(h->file));
	close(h->fd);
}

static void do_open(struct diff *d, struct place *p)
{
	static const int more[] = {0, O_TRUNC, O_APPEND, O_EXCL, 0};
	struct handle *h = &d->handles[rnd(d, HANDLES)];
	int flags = O_RDWR | O_CREAT | more[rnd(d, d->s->traits->append ? 5 : 2)];
	struct stat native, st;
	struct bk_node *node;

	close_handle(d, h);
	/* Only regular files are opened: of others the kernel takes care. */
	if (fstatat(p->fd, p->name, &native, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(native.st_mode))
		return;
	note(d, "  flags %#x handle %zd", flags, h - d->handles);
	h->fd = err(openat(p->fd, p->name, flags | O_CLOEXEC, 0644));
	made(d, "open", h->fd < 0 ? h->fd : 0,
	     bk_create(d->s->req, p->dir, p->name, 0644, flags, &node, &h->file, &st), &node);
}

static void do_write(struct diff *d, struct place *p)
{
	struct handle *h = &d->handles[rnd(d, HANDLES)];
	char data[BUFFER];
	size_t size = rnd(d, sizeof(data));
	off_t off = rnd(d, 40000);

	if (!h->file)
		return;
	note(d, "  handle %zd: %zu at %lld", h - d->handles, size, (long long)off);
	memset(data, 'A' + rnd(d, 26), sizeof(data));
	same(d, "write", err(pwrite(h->fd, data, size, off)),
	     bk_write(d->s->req, h->file, data, size, off));
}

static void do_read(struct diff *d, struct place *p)
{
	struct handle *h = &d->handles[rnd(d, HANDLES)];
	char native[BUFFER], got[BUFFER];
	size_t size = rnd(d, sizeof(got));
	off_t off = rnd(d, 40000);
	struct stat n_st, st;
	ssize_t n;

	if (!h->file)
		return;
	note(d, "  handle %zd: %zu at %lld", h - d->handles, size, (long long)off);
	n = err(pread(h->fd, native, size, off));
	same(d, "read", n, bk_read(d->s->req, h->file, got, size, off));
	if (n > 0)
		same(d, "content", 0, memcmp(native, got, n));
	CHECK_EQ(fstat(h->fd, &n_st), 0);
	CHECK_EQ(bk_getattr(d->s->req, h->file->node, h->file, &st), 0);
	same(d, "fstat size", n_st.st_size, st.st_size);
	same(d, "fstat nlink", n_st.st_nlink, st.st_nlink);
}

static void do_fallocate(struct diff *d, struct place *p)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
	struct handle *h = &d->handles[rnd(d, HANDLES)];
	int mode = modes[rnd(d, 3)];
	off_t off = rnd(d, 40000), len = rnd(d, 20000);

	if (!h->file || d->s->traits->fallocate)
		return;
	note(d, "  handle %zd: mode %d, %lld at %lld", h - d->handles, mode, (long long)len,
	     (long long)off);
	same(d, "fallocate", err(fallocate(h->fd, mode, off, len)),
	     bk_fallocate(d->s->req, h->file, mode, off, len));
}

static void do_ftruncate(struct diff *d, struct place *p)
{
	struct handle *h = &d->handles[rnd(d, HANDLES)];
	struct bk_setattr set = {.mask = BK_SET_SIZE, .size = rnd(d, 40000)};
	struct stat st;

	if (!h->file)
		return;
	note(d, "  handle %zd: to %llu", h - d->handles, (unsigned long long)set.size);
	same(d, "ftruncate", err(ftruncate(h->fd, set.size)),
	     bk_setattr(d->s->req, h->file->node, h->file, &set, &st));
}

/* ---- Whole trees ---- */

struct names {
	char names[64][8];
	int n;
};

static bool add_name(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct names *names = ctx;

	CHECK(names->n < 64 && strlen(name) < 8);
	strcpy(names->names[names->n++], name);
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void list_native(int fd, struct names *ret)
{
	DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	CHECK(dir);
	while ((e = readdir(dir)))
		add_name(ret, e->d_name, 0, 0, 0);
	closedir(dir);
	qsort(ret->names, ret->n, sizeof(ret->names[0]), by_name);
}

static void list_backend(struct diff *d, struct bk_node *dir, struct names *ret)
{
	struct bk_file *file;

	CHECK_EQ(bk_opendir(d->s->req, dir, &file), 0);
	CHECK_EQ(bk_readdir(d->s->req, file, 0, add_name, ret), 0);
	bk_release(file);
	qsort(ret->names, ret->n, sizeof(ret->names[0]), by_name);
}

static void compare_file(struct diff *d, struct place *p, struct bk_node *node)
{
	char native[BUFFER], got[BUFFER];
	int fd = openat(p->fd, p->name, O_RDONLY | O_CLOEXEC);
	struct bk_file *file = s_open(d->s, node, O_RDONLY);
	off_t off = 0;
	ssize_t n;

	CHECK(fd >= 0);
	do {
		n = pread(fd, native, sizeof(native), off);
		same(d, "read", n, bk_read(d->s->req, file, got, sizeof(got), off));
		same(d, "content", 0, memcmp(native, got, n));
		off += n;
	} while (n > 0);
	bk_release(file);
	close(fd);
}

static void compare_tree(struct diff *d, struct bk_node *dir, int fd)
{
	struct names native = {0}, got = {0};

	list_native(fd, &native);
	list_backend(d, dir, &got);
	same(d, "entries", native.n, got.n);
	for (int i = 0; i < got.n; i++) {
		struct place p = {.dir = dir, .fd = fd};
		struct bk_node *node;
		struct stat st;

		same(d, "name", 0, strcmp(native.names[i], got.names[i]));
		strcpy(p.name, got.names[i]);
		if (p.name[0] == '.')
			continue;
		CHECK(find(d, &p, ~0U, &node));
		st = s_stat(d->s, node);
		if (S_ISREG(st.st_mode)) {
			compare_file(d, &p, node);
		} else if (S_ISDIR(st.st_mode)) {
			int sub = openat(fd, p.name, O_PATH | O_DIRECTORY | O_CLOEXEC);

			compare_tree(d, node, sub);
			close(sub);
		}
		bk_node_unref(node);
	}
}

static void remove_native(int fd)
{
	struct names names = {0};

	list_native(fd, &names);
	for (int i = 0; i < names.n; i++) {
		int sub;

		if (names.names[i][0] == '.' || unlinkat(fd, names.names[i], 0) == 0)
			continue;
		sub = openat(fd, names.names[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		CHECK(sub >= 0);
		remove_native(sub);
		close(sub);
		CHECK_EQ(unlinkat(fd, names.names[i], AT_REMOVEDIR), 0);
	}
}

static void compare_all(struct diff *d, struct place *p)
{
	compare_tree(d, d->s->dir, d->root);
}

/* ---- The sequence ---- */

static const struct {
	const char *name;
	unsigned weight;
	void (*run)(struct diff *, struct place *);
} calls[] = {
    {"mkdir", 12, do_mkdir},	    {"mknod", 8, do_mknod},	  {"symlink", 4, do_symlink},
    {"unlink", 8, do_unlink},	    {"rmdir", 6, do_rmdir},	  {"chmod", 4, do_chmod},
    {"truncate", 4, do_truncate},   {"readlink", 3, do_readlink}, {"xattr", 6, do_xattr},
    {"rename", 14, do_rename},	    {"link", 6, do_link},	  {"open", 14, do_open},
    {"write", 14, do_write},	    {"read", 10, do_read},	  {"fallocate", 4, do_fallocate},
    {"ftruncate", 4, do_ftruncate},
};

static void one_call(struct diff *d)
{
	unsigned total = 0, at, i = 0;
	struct place p;

	for (size_t k = 0; k < ARRAY_SIZE(calls); k++)
		total += calls[k].weight;
	for (at = rnd(d, total); at >= calls[i].weight; i++)
		at -= calls[i].weight;
	if (somewhere(d, &p)) {
		note(d, "%s %s", calls[i].name, p.name);
		calls[i].run(d, &p);
	}
	leave(&p);
}

static void random_calls_match_a_native_directory(struct suite *s)
{
	const char *tmp = getenv("TMPDIR");
	struct diff d = {.s = s, .random = s->seed * 0x9e3779b97f4a7c15ULL};
	mode_t mask = umask(0);
	char path[PATH_MAX];

	printf("  seed %u, %u calls\n", s->seed, s->steps);
	fflush(stdout);
	snprintf(path, sizeof(path), "%s/aib-contract-XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(path));
	d.root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(d.root >= 0);
	for (unsigned i = 0; i < s->steps; i++) {
		one_call(&d);
		if (i % 500 == 499)
			compare_all(&d, NULL);
	}
	for (int i = 0; i < HANDLES; i++)
		close_handle(&d, &d.handles[i]);
	compare_all(&d, NULL);
	remove_native(d.root);
	close(d.root);
	CHECK_EQ(rmdir(path), 0);
	umask(mask);
}

static void another_seed_matches_too(struct suite *s)
{
	s->seed += 1000;
	random_calls_match_a_native_directory(s);
}

static void a_third_seed_matches_too(struct suite *s)
{
	s->seed += 2000;
	random_calls_match_a_native_directory(s);
}

const struct suite_test random_tests[] = {
    TEST(random_calls_match_a_native_directory),
    TEST(another_seed_matches_too),
    TEST(a_third_seed_matches_too),
    {NULL},
};
