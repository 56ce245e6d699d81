/*
 * Nodes of the host backend and their descriptors: few of them for many files, found again
 * after being closed, never another file's.
 */
#include "host_world.h"
#include "limit.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SMALL "{\"fd_cache\": 8}"

static void many_nodes_need_few_descriptors(void)
{
	enum { N = 500 };
	static struct bk_node *nodes[N];
	struct world w;
	unsigned before = w_fds();
	char name[32];

	world_init(&w, SMALL);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		nodes[i] = w_file(&w, w.root, name, name);
	}
	CHECK(w_fds() < before + 16);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK_EQ(w_stat(&w, nodes[i]).st_size, strlen(name));
	}
	CHECK(w_fds() < before + 16);
	for (int i = 0; i < N; i++)
		bk_node_unref(nodes[i]);
	world_done(&w);
	CHECK_EQ(w_fds(), before);
}

static void descriptors_give_way_where_the_limit_is_reached(void)
{
	const struct rlimit few = {64, 64};
	struct bk_node *nodes[200];
	struct bk_file *files[20];
	struct world w;
	char name[32];

	world_init(&w, "{\"fd_cache\": 100000}");
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		nodes[i] = w_file(&w, w.root, name, name);
	}
	for (int i = 0; i < 200; i++)
		w_stat(&w, nodes[i]);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(bk_open(&w.req, nodes[i], O_RDONLY, &files[i]), 0);
	for (int i = 0; i < 20; i++)
		bk_release(files[i]);
	for (int i = 0; i < 200; i++)
		bk_node_unref(nodes[i]);
	world_done(&w);
}

static void a_file_replaced_beside_the_mount_is_not_served_under_its_old_node(void)
{
	struct bk_node *old, *new;
	struct stat st;
	struct world w;

	world_init(&w, SMALL);
	/* many rounds: ext4 gives the same inode number to the next file at once */
	for (int i = 0; i < 10; i++) {
		old = w_file(&w, w.root, "a", "old");
		w_evict(&w);
		CHECK_EQ(unlinkat(w.dirfd, "a", 0), 0);
		close(openat(w.dirfd, "a", O_CREAT | O_EXCL | O_CLOEXEC, 0600));
		CHECK_EQ(bk_getattr(&w.req, old, NULL, &st), -ESTALE);
		new = w_lookup(&w, w.root, "a");
		CHECK(new != old);
		CHECK_EQ(w_stat(&w, new).st_size, 0);
		CHECK_EQ(bk_getattr(&w.req, old, NULL, &st), -ESTALE);
		bk_node_unref(old);
		bk_node_unref(new);
		CHECK_EQ(bk_unlink(&w.req, w.root, "a"), 0);
	}
	world_done(&w);
}

static void a_node_lives_on_after_its_last_name(void)
{
	struct bk_node *file, *dir, *over;
	struct world w;

	world_init(&w, SMALL);
	file = w_file(&w, w.root, "f", "12345");
	dir = w_dir(&w, w.root, "d");
	over = w_file(&w, w.root, "g", "1");
	w_evict(&w);
	CHECK_EQ(bk_rename(&w.req, w.root, "f", w.root, "g", 0), 0);
	CHECK_EQ(bk_rmdir(&w.req, w.root, "d"), 0);
	w_evict(&w);
	CHECK_EQ(w_stat(&w, over).st_nlink, 0);
	CHECK_EQ(w_stat(&w, over).st_size, 1);
	CHECK_EQ(w_stat(&w, file).st_size, 5);
	CHECK_EQ(w_try(&w, dir, "x"), -ENOENT);
	CHECK_EQ(bk_unlink(&w.req, w.root, "g"), 0);
	w_evict(&w);
	CHECK_EQ(w_stat(&w, file).st_nlink, 0);
	bk_node_unref(file);
	bk_node_unref(dir);
	bk_node_unref(over);
	world_done(&w);
}

static void hard_links_are_one_node(void)
{
	struct bk_node *a, *b, *c;
	struct stat st;
	struct world w;

	world_init(&w, SMALL);
	a = w_file(&w, w.root, "a", "x");
	CHECK_EQ(bk_link(&w.req, a, w.root, "b", &b, &st), 0);
	CHECK(a == b);
	CHECK_EQ(st.st_nlink, 2);
	CHECK_EQ(linkat(w.dirfd, "a", w.dirfd, "c", 0), 0);
	c = w_lookup(&w, w.root, "c");
	CHECK(a == c);
	/* the name that was seen last goes: the node is found by another one */
	CHECK_EQ(bk_unlink(&w.req, w.root, "c"), 0);
	w_evict(&w);
	CHECK_EQ(w_stat(&w, a).st_nlink, 2);
	bk_node_unref(w_lookup(&w, w.root, "a"));
	w_evict(&w);
	CHECK_EQ(w_stat(&w, a).st_nlink, 2);
	bk_node_unref(a);
	bk_node_unref(b);
	bk_node_unref(c);
	world_done(&w);
}

static void nodes_follow_renames(void)
{
	struct bk_node *d, *e, *f, *g;
	struct world w;

	world_init(&w, SMALL);
	d = w_dir(&w, w.root, "d");
	e = w_dir(&w, d, "e");
	f = w_file(&w, e, "f", "1234");
	g = w_file(&w, w.root, "g", "12");
	CHECK_EQ(bk_rename(&w.req, w.root, "d", w.root, "d2", 0), 0);
	CHECK_EQ(bk_rename(&w.req, e, "f", w.root, "g", RENAME_EXCHANGE), 0);
	w_evict(&w);
	CHECK_EQ(w_stat(&w, f).st_size, 4);
	CHECK_EQ(w_stat(&w, g).st_size, 2);
	CHECK_EQ(w_try(&w, e, "f"), 0);
	CHECK_EQ(bk_rename(&w.req, w.root, "g", e, "h", 0), 0);
	w_evict(&w);
	CHECK_EQ(w_stat(&w, f).st_size, 4);
	bk_node_unref(d);
	bk_node_unref(e);
	bk_node_unref(f);
	bk_node_unref(g);
	world_done(&w);
}

static void a_move_beside_the_mount_never_shows_another_file(void)
{
	struct bk_node *d, *f;
	struct stat st;
	struct world w;
	int r;

	world_init(&w, SMALL);
	d = w_dir(&w, w.root, "d");
	f = w_file(&w, d, "f", "1234");
	w_evict(&w);
	CHECK_EQ(renameat(w.dirfd, "d", w.dirfd, "moved"), 0);
	CHECK_EQ(mkdirat(w.dirfd, "d", 0755), 0);
	close(openat(w.dirfd, "d/f", O_CREAT | O_CLOEXEC, 0600));
	r = bk_getattr(&w.req, f, NULL, &st); /* by its handle it is found, by name not */
	CHECK(r == -ESTALE || (r == 0 && st.st_size == 4));
	bk_node_unref(d);
	bk_node_unref(f);
	world_done(&w);
}

static void a_name_is_never_followed_through_a_link(void)
{
	struct bk_node *l;
	struct bk_file *file;
	struct stat st;
	struct world w;

	world_init(&w, SMALL);
	CHECK_EQ(symlinkat("/etc", w.dirfd, "l"), 0);
	l = w_lookup(&w, w.root, "l");
	CHECK(S_ISLNK(w_stat(&w, l).st_mode));
	CHECK_EQ(w_try(&w, l, "passwd"), -ENOTDIR);
	CHECK_EQ(bk_opendir(&w.req, l, &file), -ENOTDIR);
	CHECK_EQ(bk_open(&w.req, l, O_RDONLY, &file), -EACCES);
	CHECK_EQ(bk_create(&w.req, w.root, "l", 0600, O_CREAT | O_RDWR, &l, &file, &st), -EACCES);
	bk_node_unref(l);
	world_done(&w);
}

static void a_directory_replaced_by_a_link_is_not_entered(void)
{
	struct bk_node *d;
	struct world w;
	int r;

	world_init(&w, SMALL);
	d = w_dir(&w, w.root, "d");
	w_evict(&w);
	CHECK_EQ(unlinkat(w.dirfd, "d", AT_REMOVEDIR), 0);
	CHECK_EQ(symlinkat("/etc", w.dirfd, "d"), 0);
	r = w_try(&w, d, "passwd");
	CHECK(r == -ESTALE || r == -ENOENT);
	bk_node_unref(d);
	world_done(&w);
}

/* Needs root, and takes a namespace of mounts of its own: with a tmpfs as "sub". */
static void world_with_mount(struct world *w, char path[static 96])
{
	CHECK_EQ(unshare(CLONE_NEWNS), 0);
	CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	world_init(w, SMALL);
	snprintf(path, 96, "%s/sub", w->path);
	CHECK_EQ(mkdir(path, 0755), 0);
	CHECK_EQ(mount("none", path, "tmpfs", 0, NULL), 0);
}

static void a_file_system_below_the_root_has_numbers_of_its_own(void)
{
	struct bk_node *sub, *f, *g;
	struct stat st, sub_st;
	char path[96];
	struct world w;

	if (!world_is_root())
		return;
	world_with_mount(&w, path);
	sub = w_lookup(&w, w.root, "sub");
	f = w_file(&w, sub, "f", "123");
	g = w_file(&w, w.root, "g", "1");
	sub_st = w_stat(&w, sub);
	st = w_stat(&w, f);
	CHECK(sub_st.st_dev != w_stat(&w, w.root).st_dev);
	CHECK(st.st_ino >> 63 == 1 && w_stat(&w, g).st_ino >> 63 == 0);
	w_evict(&w);
	CHECK_EQ(w_stat(&w, f).st_size, 3);
	CHECK_EQ(w_stat(&w, sub).st_ino, sub_st.st_ino);
	CHECK_EQ(bk_rename(&w.req, sub, "f", w.root, "f", 0), -EXDEV);
	bk_node_unref(f);
	bk_node_unref(g);
	bk_node_unref(sub);
	CHECK_EQ(umount(path), 0); /* nothing of the backend holds it */
	world_done(&w);
}

static struct bk_node *made_beside(struct world *w, const char *name)
{
	close(openat(w->dirfd, name, O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	return w_lookup(w, w->root, name);
}

/* However soon, or late, the next one comes, and however often the first was looked up. */
static void a_number_is_another_file_after_the_first_is_gone(void)
{
	struct bk_node *old, *new;
	struct world w;

	world_init(&w, SMALL);
	for (int i = 0; i < 60; i++) {
		old = made_beside(&w, "a");
		if (i % 3 == 0)
			usleep(25000); /* by then it may be known by its birth */
		for (int again = 0; again < 3; again++)
			bk_node_unref(w_lookup(&w, w.root, "a"));
		CHECK_EQ(unlinkat(w.dirfd, "a", 0), 0);
		new = made_beside(&w, "a");
		CHECK(new != old);
		bk_node_unref(w_lookup(&w, w.root, "a"));
		CHECK_EQ(unlinkat(w.dirfd, "a", 0), 0);
		bk_node_unref(old);
		bk_node_unref(new);
	}
	world_done(&w);
}

static bool handles_open(void)
{
	struct file_handle fh = {.handle_bytes = 0};

	CHECK(open_by_handle_at(-1, &fh, O_PATH) < 0);
	return errno != EPERM;
}

/* Without its handle a file would be another one. */
static void look_at_known_files_without_their_handles(void)
{
	struct bk_node *sub, *old, *made;
	char path[96];
	struct world w;

	world_with_mount(&w, path);
	close(openat(w.dirfd, "sub/old", O_CREAT | O_CLOEXEC, 0600));
	sub = w_lookup(&w, w.root, "sub");
	made = w_file(&w, sub, "made", "here");
	usleep(50000);
	old = w_lookup(&w, sub, "old");
	bk_node_unref(w_lookup(&w, sub, "made"));
	limit_refuse(SYS_name_to_handle_at, EPERM);
	CHECK(w_lookup(&w, sub, "old") == old);
	CHECK(w_lookup(&w, sub, "made") == made);
	CHECK_EQ(renameat(w.dirfd, "sub/old", w.dirfd, "sub/moved"), 0);
	CHECK(w_lookup(&w, sub, "moved") == old);
}

static void what_is_known_is_not_asked_for_its_handle(void)
{
	pid_t pid;
	int status;

	if (!world_is_root() || !handles_open())
		return;
	pid = fork();
	if (pid == 0) {
		look_at_known_files_without_their_handles();
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Move DIR/a/x to DIR/b and back, as long as we live; returns the process that does. */
static pid_t start_mover(int dirfd)
{
	pid_t parent = getpid(), pid = fork();

	CHECK(pid >= 0);
	if (pid > 0)
		return pid;
	while (getppid() == parent && renameat(dirfd, "a/x", dirfd, "b/x") == 0 &&
	       renameat(dirfd, "b/x", dirfd, "a/x") == 0)
		;
	_exit(1);
}

static void what_moves_during_a_lookup_is_there_or_not(void)
{
	struct bk_node *a, *b;
	struct world w;
	pid_t mover;
	int status;

	world_init(&w, SMALL);
	a = w_dir(&w, w.root, "a");
	b = w_dir(&w, w.root, "b");
	bk_node_unref(w_file(&w, a, "x", "1"));
	mover = start_mover(w.dirfd);
	for (int i = 0; i < 50000; i++) {
		int r = w_try(&w, i % 2 ? a : b, "x");

		CHECK(r == 0 || r == -ENOENT);
	}
	CHECK_EQ(kill(mover, SIGKILL), 0);
	CHECK_EQ(waitpid(mover, &status, 0), mover);
	CHECK(WIFSIGNALED(status)); /* it moved until then */
	bk_node_unref(a);
	bk_node_unref(b);
	world_done(&w);
}

static void run(void)
{
	many_nodes_need_few_descriptors();
	a_file_replaced_beside_the_mount_is_not_served_under_its_old_node();
	a_number_is_another_file_after_the_first_is_gone();
	what_is_known_is_not_asked_for_its_handle();
	a_node_lives_on_after_its_last_name();
	hard_links_are_one_node();
	nodes_follow_renames();
	a_move_beside_the_mount_never_shows_another_file();
	a_name_is_never_followed_through_a_link();
	a_directory_replaced_by_a_link_is_not_entered();
	a_file_system_below_the_root_has_numbers_of_its_own();
	what_moves_during_a_lookup_is_there_or_not();
	descriptors_give_way_where_the_limit_is_reached(); /* last: lowers the limit */
}

int main(void)
{
	return world_variants(run);
}
