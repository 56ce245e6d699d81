/*
 * Files of the host backend: whose they are, what clears their setuid bits, what is never opened,
 * and that a thread is itself again.
 */
#include "host_world.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sys/syscall.h>

#define ALICE 1234

/* Which ids and capabilities this thread has, as the kernel says. */
static void thread_status(char *buf, size_t size)
{
	char line[256];
	FILE *f = fopen("/proc/thread-self/status", "re");

	CHECK(f);
	buf[0] = '\0';
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "Uid", 3) || !strncmp(line, "Gid", 3) ||
		    !strncmp(line, "Cap", 3))
			strncat(buf, line, size - strlen(buf) - 1);
	fclose(f);
}

static void files_are_their_callers(void)
{
	char before[1024], after[1024];
	struct bk_node *sgid, *n;
	struct bk_file *file;
	struct bk_req alice;
	struct stat st;
	struct world w;

	if (!world_is_root())
		return;
	world_init(&w, NULL);
	bk_req_init(&alice, ALICE, ALICE + 1, 1, 0);
	thread_status(before, sizeof(before));
	CHECK_EQ(fchmod(w.dirfd, 0755), 0); /* root's: the kernel has said that Alice may */
	CHECK_EQ(bk_create(&alice, w.root, "f", 0400, O_CREAT | O_EXCL | O_RDWR, &n, &file, &st),
		 0);
	CHECK_EQ(st.st_uid, ALICE);
	CHECK_EQ(st.st_gid, ALICE + 1);
	CHECK_EQ(st.st_mode, S_IFREG | 0400);
	CHECK_EQ(bk_write(&alice, file, "x", 1, 0), 1);
	bk_release(file);
	bk_node_unref(n);
	CHECK_EQ(bk_mkdir(&alice, w.root, "d", 0700, &n, &st), 0);
	CHECK_EQ(st.st_uid, ALICE);
	bk_node_unref(n);
	CHECK_EQ(bk_symlink(&alice, w.root, "l", "t", &n, &st), 0);
	CHECK_EQ(st.st_uid, ALICE);
	bk_node_unref(n);
	CHECK_EQ(bk_mknod(&alice, w.root, "p", S_IFIFO | 0600, 0, &n, &st), 0);
	CHECK_EQ(st.st_uid, ALICE);
	bk_node_unref(n);
	CHECK_EQ(bk_mkdir(&w.req, w.root, "sgid", 02777, &sgid, &st), 0);
	CHECK_EQ(fchownat(w.dirfd, "sgid", 0, 77, 0), 0);
	CHECK_EQ(fchmodat(w.dirfd, "sgid", 02777, 0), 0);
	CHECK_EQ(bk_mkdir(&alice, sgid, "d", 0755, &n, &st), 0);
	CHECK_EQ(st.st_gid, 77);
	CHECK_EQ(st.st_mode, S_IFDIR | 02755);
	bk_node_unref(n);
	/* a group that is not hers does not get a setgid program of hers */
	CHECK_EQ(bk_mknod(&alice, sgid, "x", S_IFREG | 02755, 0, &n, &st), 0);
	CHECK_EQ(st.st_gid, 77);
	CHECK_EQ(st.st_mode, S_IFREG | 0755);
	bk_node_unref(n);
	/* a failure gives the thread back as well */
	CHECK_EQ(bk_mkdir(&alice, w.root, "d", 0755, &n, &st), -EEXIST);
	thread_status(after, sizeof(after));
	CHECK_STR(after, before);
	bk_node_unref(sgid);
	bk_req_done(&alice);
	world_done(&w);
}

static mode_t mode_after(struct world *w, struct bk_req *req, int what)
{
	const struct bk_setattr size = {.mask = BK_SET_SIZE | BK_SET_KILL_SUIDGID, .size = 1};
	const struct bk_setattr mode = {.mask = BK_SET_MODE, .mode = 06755};
	const struct bk_setattr owner = {.mask = BK_SET_UID | BK_SET_GID, .uid = ALICE, .gid = 5};
	struct bk_node *n = w_file(w, w->root, "suid", "text");
	struct bk_file *file;
	struct stat st;

	CHECK_EQ(fchmodat(w->dirfd, "suid", 06777, 0), 0);
	CHECK_EQ(bk_open(req, n, O_RDWR | (what == 't' ? O_TRUNC : 0), &file), 0);
	if (what == 'w')
		CHECK_EQ(bk_write(req, file, "y", 1, 0), 1);
	if (what == 's')
		CHECK_EQ(bk_setattr(req, n, NULL, &size, &st), 0);
	if (what == 'm')
		CHECK_EQ(bk_setattr(req, n, NULL, &mode, &st), 0);
	if (what == 'o')
		CHECK_EQ(bk_setattr(req, n, NULL, &owner, &st), 0);
	if (what == 'f')
		CHECK_EQ(bk_fallocate(req, file, 0, 0, 100), 0);
	bk_release(file);
	st = w_stat(w, n);
	bk_node_unref(n);
	CHECK_EQ(bk_unlink(&w->req, w->root, "suid"), 0);
	return st.st_mode & 07777;
}

static void changes_clear_setuid_bits_as_they_natively_do(void)
{
	struct bk_req alice;
	struct world w;

	if (!world_is_root())
		return;
	world_init(&w, NULL);
	bk_req_init(&alice, ALICE, ALICE, 1, 0);
	CHECK_EQ(mode_after(&w, &alice, 'r'), 06777);
	CHECK_EQ(mode_after(&w, &alice, 'w'), 0777);
	CHECK_EQ(mode_after(&w, &alice, 't'), 0777);
	CHECK_EQ(mode_after(&w, &alice, 's'), 0777);
	CHECK_EQ(mode_after(&w, &alice, 'f'), 0777);
	CHECK_EQ(mode_after(&w, &alice, 'o'), 0777);
	CHECK_EQ(mode_after(&w, &alice, 'm'), 06755); /* the kernel has said that she may */
	CHECK_EQ(mode_after(&w, &w.req, 'w'), 06777);
	CHECK_EQ(mode_after(&w, &w.req, 't'), 06777);
	CHECK_EQ(mode_after(&w, &w.req, 'o'), 0777);
	bk_req_done(&alice);
	world_done(&w);
}

/* As in the daemon, whose threads have not got CAP_FSETID (backing.h). */
static void the_same_where_setuid_bits_are_not_usually_kept(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2], less[2];
	char before[1024], after[1024];

	CHECK_EQ(syscall(SYS_capget, &head, caps), 0);
	memcpy(less, caps, sizeof(less));
	less[0].effective &= ~(1U << CAP_FSETID);
	CHECK_EQ(syscall(SYS_capset, &head, less), 0);
	thread_status(before, sizeof(before));
	changes_clear_setuid_bits_as_they_natively_do();
	thread_status(after, sizeof(after));
	CHECK_STR(after, before);
	CHECK_EQ(syscall(SYS_capset, &head, caps), 0);
}

static void an_open_file_serves_its_node(void)
{
	struct bk_file *file;
	struct bk_node *n;
	unsigned before, open;
	struct stat st;
	struct world w;

	world_init(&w, NULL);
	before = w_fds();
	CHECK_EQ(bk_create(&w.req, w.root, "f", 0600, O_CREAT | O_EXCL | O_WRONLY, &n, &file, &st),
		 0);
	open = w_fds();
	CHECK_EQ(bk_getattr(&w.req, n, NULL, &st), 0);
	CHECK_EQ(bk_getxattr(&w.req, n, "user.none", NULL, 0), -ENODATA);
	CHECK_EQ(w_fds(), open);
	bk_release(file);
	CHECK_EQ(w_fds(), open - 1); /* or it would be busy for who executes it */
	CHECK_EQ(bk_open(&w.req, n, O_RDONLY, &file), 0);
	CHECK_EQ(bk_unlink(&w.req, w.root, "f"), 0);
	bk_release(file);
	CHECK_EQ(w_stat(&w, n).st_nlink, 0); /* nothing else could open it again */
	bk_node_unref(n);
	CHECK_EQ(w_fds(), before);
	world_done(&w);
}

static void fifos_sockets_and_devices_are_shown_and_never_opened(void)
{
	struct bk_node *n, *again;
	struct bk_file *file;
	struct stat st;
	struct world w;

	world_init(&w, NULL);
	CHECK_EQ(bk_mknod(&w.req, w.root, "fifo", S_IFIFO | 0666, 0, &n, &st), 0);
	CHECK(S_ISFIFO(st.st_mode));
	CHECK_EQ(bk_open(&w.req, n, O_RDONLY, &file), -EACCES);
	CHECK_EQ(bk_open(&w.req, n, O_RDWR | O_TRUNC, &file), -EACCES);
	CHECK_EQ(bk_create(&w.req, w.root, "fifo", 0600, O_CREAT | O_WRONLY, &again, &file, &st),
		 -EACCES);
	bk_node_unref(n);
	CHECK_EQ(bk_mknod(&w.req, w.root, "sock", S_IFSOCK | 0666, 0, &n, &st), 0);
	CHECK(S_ISSOCK(st.st_mode));
	CHECK_EQ(bk_open(&w.req, n, O_RDONLY, &file), -EACCES);
	bk_node_unref(n);
	if (world_is_root()) {
		CHECK_EQ(bk_mknod(&w.req, w.root, "null", S_IFCHR | 0666, 0x103, &n, &st), 0);
		CHECK(S_ISCHR(st.st_mode));
		CHECK_EQ(st.st_rdev, 0x103);
		CHECK_EQ(bk_open(&w.req, n, O_RDONLY, &file), -EACCES);
		bk_node_unref(n);
	}
	CHECK_EQ(bk_open(&w.req, w.root, O_RDONLY, &file), -EISDIR);
	world_done(&w);
}

static void appends_go_to_the_end_and_cached_pages_to_their_place(void)
{
	struct bk_file *a, *b;
	struct bk_node *n;
	char buf[16] = "";
	struct world w;

	world_init(&w, NULL);
	n = w_file(&w, w.root, "f", "");
	CHECK_EQ(bk_open(&w.req, n, O_WRONLY | O_APPEND, &a), 0);
	CHECK_EQ(bk_open(&w.req, n, O_RDWR | O_APPEND, &b), 0);
	CHECK_EQ(bk_write(&w.req, a, "one", 3, 0), 3);
	CHECK_EQ(bk_write(&w.req, b, "two", 3, 0), 3); /* its caller's size was old */
	w.req.writeback = true;
	CHECK_EQ(bk_write(&w.req, a, "O", 1, 0), 1);
	w.req.writeback = false;
	CHECK_EQ(bk_read(&w.req, b, buf, sizeof(buf), 0), 6);
	CHECK_STR(buf, "Onetwo");
	bk_release(a);
	bk_release(b);
	bk_node_unref(n);
	world_done(&w);
}

static void only_root_lists_trusted_attributes(void)
{
	struct bk_req alice;
	struct bk_node *n;
	char list[128];
	ssize_t len;
	struct world w;

	if (!world_is_root())
		return;
	world_init(&w, NULL);
	bk_req_init(&alice, ALICE, ALICE, 1, 0);
	n = w_file(&w, w.root, "f", "");
	CHECK_EQ(bk_setxattr(&w.req, n, "trusted.t", "1", 1, 0), 0);
	CHECK_EQ(bk_setxattr(&w.req, n, "user.u", "1", 1, 0), 0);
	len = bk_listxattr(&w.req, n, list, sizeof(list));
	CHECK(memmem(list, len, "trusted.t", 10));
	CHECK_EQ(bk_listxattr(&alice, n, NULL, 0), bk_listxattr(&alice, n, list, sizeof(list)));
	len = bk_listxattr(&alice, n, list, sizeof(list));
	CHECK(memmem(list, len, "user.u", 7) && !memmem(list, len, "trusted", 7));
	CHECK_EQ(bk_listxattr(&alice, n, list, 2), -ERANGE);
	bk_node_unref(n);
	bk_req_done(&alice);
	world_done(&w);
}

static void odd_flags_are_taken_sensibly(void)
{
	struct bk_file *file;
	struct bk_node *n;
	char odd[3] = "abc";
	struct world w;

	world_init(&w, NULL);
	n = w_file(&w, w.root, "f", "12345");
	CHECK_EQ(bk_open(&w.req, n, O_RDWR | O_DIRECT | O_NOATIME | O_SYNC | O_NONBLOCK, &file), 0);
	CHECK_EQ(bk_write(&w.req, file, odd, 3, 1), 3); /* unaligned */
	CHECK_EQ(bk_fsync(&w.req, file, false), 0);
	bk_release(file);
	CHECK_EQ(w_stat(&w, n).st_size, 5);
	CHECK_EQ(bk_open(&w.req, n, O_WRONLY | O_TRUNC, &file), 0);
	CHECK_EQ(w_stat(&w, n).st_size, 0);
	bk_release(file);
	bk_node_unref(n);
	world_done(&w);
}

/* ---- Many threads ---- */

enum { THREADS = 4, STEPS = 400 };

static void *churn(void *arg)
{
	struct world *w = arg;
	unsigned seed = syscall(SYS_gettid);
	struct bk_req alice;

	bk_req_init(&alice, world_is_root() ? ALICE : geteuid(), getegid(), 1, 0);
	for (int i = 0; i < STEPS; i++) {
		struct bk_node *n = NULL, *linked;
		struct bk_file *file;
		struct stat st;
		char a[8], b[8];

		snprintf(a, sizeof(a), "n%u", rand_r(&seed) % 12);
		snprintf(b, sizeof(b), "n%u", rand_r(&seed) % 12);
		switch (rand_r(&seed) % 6) {
		case 0:
			if (bk_create(&alice, w->root, a, 0644, O_CREAT | O_RDWR, &n, &file, &st) ==
			    0) {
				bk_write(&alice, file, a, strlen(a), 0);
				bk_release(file);
			}
			break;
		case 1:
			(void)bk_unlink(&alice, w->root, a);
			break;
		case 2:
			(void)bk_rename(&alice, w->root, a, w->root, b, 0);
			break;
		case 3:
			(void)bk_symlink(&alice, w->root, a, b, &n, &st);
			break;
		case 4:
			if (bk_lookup(&alice, w->root, a, &n, &st) == 0 &&
			    bk_open(&alice, n, O_RDONLY, &file) == 0)
				bk_release(file);
			break;
		case 5:
			if (bk_lookup(&alice, w->root, a, &n, &st) == 0 &&
			    bk_link(&alice, n, w->root, b, &linked, &st) == 0)
				bk_node_unref(linked);
			break;
		}
		if (n)
			(void)bk_getattr(&alice, n, NULL, &st);
		bk_node_unref(n);
	}
	bk_req_done(&alice);
	return NULL;
}

static void threads_do_not_disturb_one_another(void)
{
	pthread_t threads[THREADS];
	struct world w;

	world_init(&w, "{\"fd_cache\": 4}");
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, churn, &w), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_EQ(w_try(&w, w.root, "nothing"), -ENOENT);
	world_done(&w);
}

/* ---- A thread that moves, and one that looks ---- */

struct mover {
	struct world *w;
	struct bk_node *a, *b;
	atomic_bool stop;
};

static void *move_to_and_fro(void *arg)
{
	struct mover *m = arg;

	while (!atomic_load(&m->stop)) {
		CHECK_EQ(bk_rename(NULL, m->a, "d", m->b, "e", 0), 0);
		CHECK_EQ(bk_rename(NULL, m->b, "e", m->a, "d", 0), 0);
	}
	return NULL;
}

static void a_rename_never_looks_like_a_loss(void)
{
	struct bk_node *d, *f;
	struct mover m = {.stop = false};
	pthread_t thread;
	struct world w;

	world_init(&w, "{\"fd_cache\": 1}");
	m.w = &w;
	m.a = w_dir(&w, w.root, "a");
	m.b = w_dir(&w, w.root, "b");
	d = w_dir(&w, m.a, "d");
	f = w_file(&w, d, "f", "123");
	CHECK_EQ(pthread_create(&thread, NULL, move_to_and_fro, &m), 0);
	for (int i = 0; i < 500; i++) {
		CHECK_EQ(w_stat(&w, f).st_size, 3);
		w_stat(&w, m.a);
	}
	atomic_store(&m.stop, true);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	bk_node_unref(f);
	bk_node_unref(d);
	bk_node_unref(m.a);
	bk_node_unref(m.b);
	world_done(&w);
}

/* Beside the mount a directory becomes a link to /etc and back, all the time. */
static void *swap_beside(void *arg)
{
	struct mover *m = arg;

	while (!atomic_load(&m->stop))
		CHECK_EQ(renameat2(m->w->dirfd, "d", m->w->dirfd, "l", RENAME_EXCHANGE), 0);
	return NULL;
}

static void a_swap_beside_the_mount_leads_nowhere(void)
{
	struct mover m = {.stop = false};
	struct bk_node *d, *made;
	struct bk_file *file;
	pthread_t thread;
	struct stat st;
	struct world w;

	world_init(&w, "{\"fd_cache\": 1}");
	m.w = &w;
	CHECK_EQ(mkdirat(w.dirfd, "d", 0755), 0);
	CHECK_EQ(symlinkat("/etc", w.dirfd, "l"), 0);
	CHECK_EQ(pthread_create(&thread, NULL, swap_beside, &m), 0);
	for (int i = 0; i < 2000; i++) {
		if (bk_lookup(&w.req, w.root, "d", &d, &st) < 0)
			continue;
		CHECK(S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode));
		CHECK(w_try(&w, d, "passwd") < 0);
		if (bk_create(&w.req, d, "aib-escaped", 0600, O_CREAT | O_WRONLY, &made, &file,
			      &st) == 0) {
			bk_release(file);
			bk_node_unref(made);
		}
		bk_node_unref(d);
	}
	atomic_store(&m.stop, true);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK(access("/etc/aib-escaped", F_OK) < 0);
	world_done(&w);
}

static void run(void)
{
	unsigned fds = w_fds();

	files_are_their_callers();
	changes_clear_setuid_bits_as_they_natively_do();
	the_same_where_setuid_bits_are_not_usually_kept();
	an_open_file_serves_its_node();
	fifos_sockets_and_devices_are_shown_and_never_opened();
	appends_go_to_the_end_and_cached_pages_to_their_place();
	only_root_lists_trusted_attributes();
	odd_flags_are_taken_sensibly();
	threads_do_not_disturb_one_another();
	a_rename_never_looks_like_a_loss();
	a_swap_beside_the_mount_leads_nowhere();
	CHECK_EQ(w_fds(), fds);
}

int main(void)
{
	return world_variants(run);
}
