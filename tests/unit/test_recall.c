/*
 * What the kernel forgets, in a real mount of a backend that changes behind its back: everything
 * at fs_changed, and an open file at a new era of its node. Served in this process.
 */
#include "mount_world.h"
#include "test.h"

#include "base/clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- A backend of one directory, with what a test says ---- */

enum { N_FILES = 1600 };

/* A file is there where its mode is not 0. Its name is its number. */
static struct {
	struct bk bk, other;
	struct bk_node nodes[N_FILES];
	_Atomic mode_t modes[N_FILES];
	_Atomic off_t sizes[N_FILES];
	pthread_mutex_t lock; /* guards fd */
	int fd;		      /* what backing_fd gives, or -1 */
	atomic_bool direct_io;
	atomic_int lookups, getattrs, reads;
} t;

struct file {
	struct bk_file base;
	int fd; /* -1: none */
};

static int number(const struct bk_node *node)
{
	return node - t.nodes;
}

static void fill_stat(int n, struct stat *st)
{
	*st = (struct stat){
	    .st_ino = n + 1, .st_nlink = 1, .st_size = t.sizes[n], .st_mode = t.modes[n]};
}

static struct bk_node *t_root(struct bk *bk)
{
	return bk_node_ref(&t.nodes[0]);
}

static void t_node_free(struct bk_node *node)
{
	CHECK(!"every node keeps its first reference");
}

static int t_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		    struct bk_node **ret_node, struct stat *ret_st)
{
	int n = atoi(name);

	t.lookups++;
	if (n <= 0 || n >= N_FILES || !t.modes[n])
		return -ENOENT;
	*ret_node = bk_node_ref(&t.nodes[n]);
	fill_stat(n, ret_st);
	return 0;
}

static int t_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		     struct stat *ret_st)
{
	t.getattrs++;
	fill_stat(number(node), ret_st);
	return 0;
}

static int t_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	struct file *f = calloc(1, sizeof(*f));

	f->base =
	    (struct bk_file){.node = bk_node_ref(node), .flags = flags, .direct_io = t.direct_io};
	pthread_mutex_lock(&t.lock);
	f->fd = t.fd < 0 ? -1 : dup(t.fd);
	pthread_mutex_unlock(&t.lock);
	*ret = &f->base;
	return 0;
}

static void t_release(struct bk_file *file)
{
	struct file *f = container_of(file, struct file, base);

	/* The bare one of a directory is smaller. */
	if (!S_ISDIR(t.modes[number(file->node)]))
		closep(&f->fd);
	bk_node_unref(file->node);
	free(f);
}

static ssize_t t_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	t.reads++;
	if (off >= 4)
		return 0;
	memcpy(data, "slow", 4);
	return 4;
}

static int t_backing_fd(struct bk_file *file)
{
	int fd = container_of(file, struct file, base)->fd;

	return fd < 0 ? -EOPNOTSUPP : fd;
}

static int t_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
		     void *ctx)
{
	return 0;
}

static const struct bk_ops t_ops = {
    .type = "test",
    .root = t_root,
    .node_free = t_node_free,
    .lookup = t_lookup,
    .getattr = t_getattr,
    .open = t_open,
    .release = t_release,
    .read = t_read,
    .backing_fd = t_backing_fd,
    .readdir = t_readdir,
};

/* ---- A mount of it ---- */

static const char *path_of(int n)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%d", mount_dir, n);
	return path;
}

/* FD, which is taken, is the descriptor of files that are opened from now on; -1: they have none.
 */
static void set_fd(int fd)
{
	pthread_mutex_lock(&t.lock);
	closep(&t.fd);
	t.fd = fd;
	pthread_mutex_unlock(&t.lock);
}

static void start(void)
{
	memset(&t, 0, sizeof(t));
	t.fd = -1;
	pthread_mutex_init(&t.lock, NULL);
	CHECK_EQ(bk_init(&t.bk, &t_ops, "/"), 0);
	CHECK_EQ(bk_init(&t.other, &t_ops, "/other"), 0);
	t.bk.entry_ttl_ms = t.bk.attr_ttl_ms = t.bk.negative_ttl_ms = 60000;
	t.bk.recall = true;
	for (int n = 0; n < N_FILES; n++)
		bk_node_init(&t.nodes[n], &t.bk);
	t.modes[0] = S_IFDIR | 0755;
	mount_start(&t.bk, &fs_conf_default, "recall");
}

static void finish(void)
{

	set_fd(-1);
	mount_finish();
	for (int n = 0; n < N_FILES; n++)
		CHECK_EQ(atomic_load(&t.nodes[n].refs), 1);
	bk_done(&t.bk);
	bk_done(&t.other);
}

static off_t size_at(int n)
{
	struct stat st;

	return stat(path_of(n), &st) < 0 ? -errno : st.st_size;
}

static off_t size_of(int fd)
{
	struct stat st;

	CHECK_EQ(fstat(fd, &st), 0);
	return st.st_size;
}

static int open_file(int n)
{
	int fd = open(path_of(n), O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

/* As a working directory holds one: no name, no open file. */
static int hold(int n)
{
	int fd = open(path_of(n), O_PATH | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

/* Whether the kernel can drop names here. */
static bool remembers(void)
{
	int before;

	t.modes[9] = S_IFREG | 0644;
	CHECK_EQ(size_at(9), 0);
	before = t.lookups;
	CHECK_EQ(size_at(9), 0);
	return t.lookups == before;
}

/* ---- Tests ---- */

enum { FILE1 = 1, MISSING, DIR1, GONE };

static void nothing_that_changed_is_remembered(void)
{
	int file, here, getattrs;
	bool cached;

	start();
	cached = remembers();
	t.modes[FILE1] = t.modes[GONE] = S_IFREG | 0644;
	t.modes[DIR1] = S_IFDIR | 0755;
	CHECK_EQ(size_at(FILE1), 0);
	CHECK_EQ(size_at(GONE), 0);
	CHECK_EQ(size_at(MISSING), -ENOENT);
	file = open_file(FILE1);
	here = hold(DIR1);
	CHECK_EQ(size_of(file), 0);
	CHECK_EQ(size_of(here), 0);

	t.modes[GONE] = 0;
	t.modes[MISSING] = S_IFREG | 0644;
	t.sizes[FILE1] = t.sizes[MISSING] = t.sizes[DIR1] = t.sizes[0] = 7;
	if (cached) { /* or else there is nothing to forget */
		CHECK_EQ(size_at(FILE1), 0);
		CHECK_EQ(size_at(GONE), 0);
		CHECK_EQ(size_at(MISSING), -ENOENT);
		CHECK_EQ(size_of(file), 0);
		CHECK_EQ(size_of(here), 0);
		fs_changed(fs, &t.other);
		getattrs = t.getattrs;
		CHECK_EQ(size_of(file), 0);
		CHECK_EQ(size_of(here), 0);
		CHECK_EQ(t.getattrs, getattrs);
	}
	fs_changed(fs, &t.bk);
	CHECK_EQ(size_of(file), 7);
	CHECK_EQ(size_of(here), 7);
	CHECK_EQ(size_at(FILE1), 7);
	CHECK_EQ(size_at(GONE), -ENOENT);
	CHECK_EQ(size_at(MISSING), 7);
	CHECK_EQ(size_at(DIR1), 7);
	CHECK_EQ(size_at(0), -ENOENT);
	close(file);
	close(here);
	finish();
}

static void the_root_is_forgotten_too(void)
{
	struct stat st;

	start();
	CHECK_EQ(stat(mount_dir, &st), 0);
	t.sizes[0] = 7;
	fs_changed(fs, &t.bk);
	CHECK_EQ(stat(mount_dir, &st), 0);
	CHECK_EQ(st.st_size, 7);
	finish();
}

static void more_directories_than_are_noted_are_forgotten(void)
{
	int first, last;

	start();
	for (int n = 1; n < N_FILES; n++) {
		t.modes[n] = S_IFDIR | 0755;
		CHECK_EQ(size_at(n), 0);
	}
	first = hold(1);
	last = hold(N_FILES - 1);
	t.sizes[1] = t.sizes[N_FILES - 1] = 7;
	fs_changed(fs, &t.bk);
	CHECK_EQ(size_of(first), 7);
	CHECK_EQ(size_of(last), 7);
	close(first);
	close(last);
	finish();
}

/* A child in the directory; its status says what getcwd said. */
static int cwd_of_child(int go, int done)
{
	char cwd[256], byte;

	if (chdir(path_of(DIR1)) < 0 || write(done, "", 1) != 1 || read(go, &byte, 1) != 1)
		return 1;
	if (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, path_of(DIR1)) != 0)
		return 2;
	if (access(".", X_OK) < 0 || access("../1", F_OK) < 0)
		return 3;
	return !getcwd(cwd, sizeof(cwd)) || strcmp(cwd, path_of(DIR1)) != 0 ? 4 : 0;
}

static void a_working_directory_keeps_its_path(bool looked_up)
{
	int go[2], done[2], status;
	char byte;
	pid_t pid;

	start();
	t.modes[FILE1] = S_IFREG | 0644;
	t.modes[DIR1] = S_IFDIR | 0755;
	CHECK(pipe(go) == 0 && pipe(done) == 0);
	pid = fork();
	if (pid == 0)
		_exit(cwd_of_child(go[0], done[1]));
	CHECK_EQ(read(done[0], &byte, 1), 1);
	for (int i = 0; i < 3; i++) {
		fs_changed(fs, &t.bk);
		if (looked_up)
			CHECK_EQ(size_at(DIR1), 0);
	}
	CHECK_EQ(write(go[1], "", 1), 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(done[i]);
	}
	finish();
}

static void forgetting_is_cheap(void)
{
	enum { N = 100 };
	int files[N];
	uint64_t began;

	start();
	for (int n = 1; n <= N; n++) {
		t.modes[n] = S_IFREG | 0644;
		t.modes[N + n] = S_IFDIR | 0755;
		CHECK_EQ(size_at(N + n), 0);
		files[n - 1] = open_file(n);
	}
	began = clock_ms();
	for (int i = 0; i < 100; i++)
		fs_changed(fs, &t.bk);
	printf("fs_changed with %d directories and %d open files: %llu us\n", N, N,
	       (unsigned long long)(clock_ms() - began) * 10);
	for (int n = 0; n < N; n++)
		close(files[n]);
	finish();
}

static void a_new_era_makes_open_files_bad_and_new_ones_good(void)
{
	char data[8];
	struct stat old, new;
	int before, after;

	start();
	t.modes[FILE1] = S_IFREG | 0644;
	t.sizes[FILE1] = 4;
	before = open_file(FILE1);
	CHECK_EQ(fstat(before, &old), 0);
	CHECK_EQ(pread(before, data, 8, 0), 4);

	atomic_fetch_add(&t.nodes[FILE1].era, 1);
	fs_changed(fs, &t.bk);
	CHECK_EQ(stat(path_of(FILE1), &new), 0);
	CHECK_EQ(new.st_ino, old.st_ino);
	CHECK(pread(before, data, 8, 0) < 0 && errno == EIO);
	after = open_file(FILE1);
	CHECK_EQ(pread(after, data, 8, 0), 4);
	close(before);
	CHECK_EQ(pread(after, data, 8, 0), 4);

	/* Without a lookup in between: the kernel remembers the name. */
	atomic_fetch_add(&t.nodes[FILE1].era, 1);
	before = after;
	after = open_file(FILE1);
	CHECK_EQ(pread(after, data, 8, 0), 4);
	CHECK(pread(before, data, 8, 0) < 0 && errno == EIO);
	close(before);
	close(after);
	finish();
}

static int memfd(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static bool is_root(void)
{
	return geteuid() == 0;
}

static void in_a_new_era_a_file_has_another_backing(void)
{
	char data[8];
	int before, same, after, slow;

	start();
	t.modes[FILE1] = S_IFREG | 0644;
	t.sizes[FILE1] = 4;
	set_fd(memfd("fast"));
	before = open_file(FILE1);
	same = open_file(FILE1);
	CHECK_EQ(pread(before, data, 8, 0), 4);
	if (memcmp(data, "slow", 4) == 0) { /* no passthrough here */
		close(before);
		close(same);
		finish();
		return;
	}
	CHECK_EQ(t.reads, 0);
	set_fd(memfd("else"));
	CHECK(open(path_of(FILE1), O_RDONLY) < 0 && errno == ESTALE); /* not a file it may become */
	set_fd(-1);
	CHECK(open(path_of(FILE1), O_RDONLY) < 0 && errno == EIO);

	atomic_fetch_add(&t.nodes[FILE1].era, 1);
	set_fd(memfd("anew"));
	after = open_file(FILE1);
	CHECK_EQ(pread(after, data, 8, 0), 4);
	CHECK_EQ(memcmp(data, "anew", 4), 0);
	CHECK(pread(before, data, 8, 0) < 0 && errno == EIO);

	/* The old ones do not count for the new inode, nor does their end. */
	close(before);
	close(same);
	CHECK_EQ(pread(after, data, 8, 0), 4);
	CHECK_EQ(memcmp(data, "anew", 4), 0);
	set_fd(-1);
	atomic_fetch_add(&t.nodes[FILE1].era, 1);
	slow = open_file(FILE1);
	CHECK_EQ(pread(slow, data, 8, 0), 4);
	CHECK_EQ(memcmp(data, "slow", 4), 0);
	close(after);
	close(slow);
	finish();
}

static void access_that_a_descriptor_has_not_is_not_given(void)
{
	char data[8], path[64];
	int fd, rw;

	start();
	t.modes[FILE1] = S_IFREG | 0666;
	t.sizes[FILE1] = 4;
	rw = memfd("fast");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", rw);
	set_fd(open(path, O_RDONLY | O_CLOEXEC));
	fd = open(path_of(FILE1), O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, data, 8, 0), 4);
	CHECK_EQ(memcmp(data, "slow", 4), 0);
	CHECK(pwrite(fd, "x", 1, 0) < 0 && errno == EROFS);
	close(fd);
	set_fd(open(path, O_PATH | O_CLOEXEC));
	fd = open_file(FILE1);
	CHECK_EQ(pread(fd, data, 8, 0), 4);
	CHECK_EQ(memcmp(data, "slow", 4), 0);
	close(fd);
	CHECK_EQ(pread(rw, data, 8, 0), 4);
	CHECK_EQ(memcmp(data, "fast", 4), 0);
	close(rw);
	finish();
}

static void a_file_of_unknown_size_is_read_past_it_and_never_in_passthrough(void)
{
	char data[8];
	void *map;
	int fd;

	start();
	t.modes[FILE1] = S_IFREG | 0644;
	t.direct_io = true;
	set_fd(memfd("fast"));
	fd = open_file(FILE1);
	CHECK_EQ(read(fd, data, 8), 4);
	CHECK_EQ(memcmp(data, "slow", 4), 0);
	map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED);
	munmap(map, 4096);
	close(fd);
	finish();
}

int main(void)
{
	nothing_that_changed_is_remembered();
	the_root_is_forgotten_too();
	more_directories_than_are_noted_are_forgotten();
	a_working_directory_keeps_its_path(false);
	a_working_directory_keeps_its_path(true);
	forgetting_is_cheap();
	a_new_era_makes_open_files_bad_and_new_ones_good();
	if (is_root())
		in_a_new_era_a_file_has_another_backing();
	access_that_a_descriptor_has_not_is_not_given();
	a_file_of_unknown_size_is_read_past_it_and_never_in_passthrough();
	return 0;
}
