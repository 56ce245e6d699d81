/*
 * The way of requests that do not end: a real mount of a backend whose files answer late, never,
 * or at an event. Each test has a mount of its own, served in this process; children use it.
 */
#include "mount_world.h"
#include "test.h"

#include "base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- A backend of one directory ---- */

enum { ROOT, PLAIN, SLOW, STUCK, EVENT, N_FILES };

static const char *const names[] = {"", "plain", "slow", "stuck", "event"};

static struct {
	struct bk bk;
	struct bk_node nodes[N_FILES];
	atomic_int reading, released;
	atomic_bool unstick;

	pthread_mutex_t lock; /* guards both */
	struct bk_waiter *waiters;
	bool happened;
} t;

static int number(const struct bk_node *node)
{
	return node - t.nodes;
}

static void fill_stat(int n, struct stat *st)
{
	*st = (struct stat){.st_ino = n + 1,
			    .st_nlink = 1,
			    .st_size = 4,
			    .st_mode = n == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644};
}

static struct bk_node *t_root(struct bk *bk)
{
	return bk_node_ref(&t.nodes[ROOT]);
}

static void t_node_free(struct bk_node *node)
{
	CHECK(!"every node keeps its first reference");
}

static int t_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		    struct bk_node **ret_node, struct stat *ret_st)
{
	for (int n = PLAIN; n < N_FILES; n++) {
		if (strcmp(names[n], name) != 0)
			continue;
		*ret_node = bk_node_ref(&t.nodes[n]);
		fill_stat(n, ret_st);
		return 0;
	}
	return -ENOENT;
}

static int t_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		     struct stat *ret_st)
{
	fill_stat(number(node), ret_st);
	return 0;
}

static int t_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	*ret = calloc(1, sizeof(**ret));
	(*ret)->node = bk_node_ref(node);
	(*ret)->flags = flags;
	return 0;
}

static void t_release(struct bk_file *file)
{
	atomic_fetch_add(&t.released, 1);
	bk_node_unref(file->node);
	free(file);
}

/* What a well-behaved backend does: looks at its request now and then. */
static int read_slow(struct bk_req *req)
{
	int r;

	while ((r = bk_req_check(req)) == 0)
		usleep(5000);
	return r;
}

static int read_event(void)
{
	bool happened;

	pthread_mutex_lock(&t.lock);
	happened = t.happened;
	pthread_mutex_unlock(&t.lock);
	return happened ? 0 : -EAGAIN;
}

static ssize_t t_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	int n = number(file->node), r = 0;

	if (off >= 4)
		return 0;
	atomic_fetch_add(&t.reading, 1);
	if (n == SLOW)
		r = read_slow(req);
	else if (n == EVENT)
		r = read_event();
	else if (n == STUCK)
		while (!atomic_load(&t.unstick))
			usleep(5000);
	atomic_fetch_sub(&t.reading, 1);
	if (r < 0)
		return r;
	memcpy(data, "data", 4);
	return 4;
}

static void t_wait(struct bk_file *file, struct bk_waiter *w, bool remove)
{
	bool now = false;

	pthread_mutex_lock(&t.lock);
	if (!remove && t.happened) {
		now = true;
	} else if (!remove) {
		w->prev = NULL;
		w->next = t.waiters;
		if (w->next)
			w->next->prev = w;
		t.waiters = w;
	} else if (w->prev || t.waiters == w) {
		if (w->prev)
			w->prev->next = w->next;
		else
			t.waiters = w->next;
		if (w->next)
			w->next->prev = w->prev;
		w->prev = NULL;
	}
	pthread_mutex_unlock(&t.lock);
	if (now)
		w->wake(w);
}

/* Wake all; with VALUE the reads have something to give. */
static void happen(bool value)
{
	struct bk_waiter *next;

	pthread_mutex_lock(&t.lock);
	t.happened = value;
	for (struct bk_waiter *w = t.waiters; w; w = next) {
		next = w->next;
		w->prev = NULL;
		if (next)
			next->prev = NULL;
		t.waiters = next;
		w->wake(w);
	}
	pthread_mutex_unlock(&t.lock);
}

static int n_waiters(void)
{
	int n = 0;

	pthread_mutex_lock(&t.lock);
	for (struct bk_waiter *w = t.waiters; w; w = w->next)
		n++;
	pthread_mutex_unlock(&t.lock);
	return n;
}

static int t_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
		     void *ctx)
{
	for (uint64_t n = cookie ? cookie : PLAIN; n < N_FILES; n++)
		if (!fill(ctx, names[n], n + 1, DT_REG, n + 1))
			break;
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
    .wait = t_wait,
    .readdir = t_readdir,
};

/* ---- A mount of it ---- */

static void start(bool blocking, struct fs_conf conf)
{
	memset(&t, 0, sizeof(t));
	pthread_mutex_init(&t.lock, NULL);
	CHECK_EQ(bk_init(&t.bk, &t_ops, "/"), 0);
	t.bk.blocking = blocking;
	t.bk.direct_io = true;
	t.bk.entry_ttl_ms = t.bk.attr_ttl_ms = 60000;
	for (int n = 0; n < N_FILES; n++)
		bk_node_init(&t.nodes[n], &t.bk);
	mount_start(&t.bk, &conf, "session");
}

/* Returns how long it took, ms. */
static uint64_t finish(void)
{
	uint64_t began = clock_ms();

	mount_finish();
	for (int n = 0; n < N_FILES; n++)
		CHECK_EQ(atomic_load(&t.nodes[n].refs), 1);
	bk_done(&t.bk);
	return clock_ms() - began;
}

static void nothing(int sig)
{
}

/* A child that reads a file once; its status is the errno, 200 for a whole read. */
static pid_t reader(int n)
{
	struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
	char path[128], data[16];
	pid_t pid;
	int fd;
	ssize_t r;

	snprintf(path, sizeof(path), "%s/%s", mount_dir, names[n]);
	pid = fork();
	CHECK(pid >= 0);
	if (pid > 0)
		return pid;
	close_range(3, ~0U,
		    0); /* with /dev/fuse open it would keep itself waiting, if the test fails */
	sigaction(SIGUSR1, &sa, NULL);
	fd = open(path, O_RDONLY);
	r = fd < 0 ? -1 : read(fd, data, sizeof(data));
	_exit(r == 4 ? 200 : r < 0 ? errno : 0);
}

static void look_at(int n)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", mount_dir, names[n]);
	CHECK_EQ(stat(path, &st), 0);
}

/* How it ended, the signal as 1000 + it; -1 where it did not within MAX_MS. */
static int ended(pid_t pid, uint64_t max_ms)
{
	uint64_t until = clock_ms() + max_ms;
	int status;

	while (clock_ms() < until) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
		usleep(2000);
	}
	return -1;
}

static void wait_reading(int n)
{
	while (atomic_load(&t.reading) != n)
		usleep(1000);
}

static void wait_waiters(int n)
{
	while (n_waiters() != n)
		usleep(1000);
}

/* ---- Tests ---- */

static void a_blocking_backend_is_read_and_listed(void)
{
	int n = 0;
	DIR *d;

	start(true, fs_conf_default);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(ended(reader(PLAIN), 5000), 200);
	d = opendir(mount_dir);
	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	CHECK_EQ(n, N_FILES - 1);
	finish();
	CHECK_EQ(t.released, 21); /* and the directory */
}

static void a_killed_caller_goes_whether_the_backend_listens_or_not(void)
{
	pid_t slow, stuck;

	start(true, fs_conf_default);
	slow = reader(SLOW);
	stuck = reader(STUCK);
	wait_reading(2);
	kill(slow, SIGKILL);
	CHECK_EQ(ended(slow, 2000), 1000 + SIGKILL);
	kill(stuck, SIGTERM);
	CHECK_EQ(ended(stuck, 2000), 1000 + SIGTERM);
	wait_reading(1);
	atomic_store(&t.unstick, true);
	finish();
	CHECK_EQ(t.released, 2);
}

static void a_signal_that_does_not_kill_ends_no_call_but_a_later_kill_does(void)
{
	pid_t pid;

	start(true, fs_conf_default);
	pid = reader(SLOW);
	wait_reading(1);
	kill(pid, SIGUSR1);
	CHECK_EQ(ended(pid, 400), -1);
	CHECK_EQ(t.reading, 1);
	kill(pid, SIGKILL);
	CHECK_EQ(ended(pid, 2000), 1000 + SIGKILL);
	finish();
}

static void calls_end_at_their_deadline_waiting_running_or_stuck(void)
{
	struct fs_conf conf = fs_conf_default;
	pid_t a, b, waits;

	conf.timeout_ms = 600;
	conf.pool_threads = 2;
	start(true, conf);
	CHECK_EQ(ended(reader(SLOW), 3000), ETIMEDOUT);
	a = reader(STUCK);
	b = reader(STUCK);
	wait_reading(2);
	waits = reader(PLAIN);
	CHECK_EQ(ended(waits, 3000), ETIMEDOUT);
	CHECK_EQ(ended(a, 5000), ETIMEDOUT);
	CHECK_EQ(ended(b, 5000), ETIMEDOUT);
	atomic_store(&t.unstick, true);
	wait_reading(0);
	CHECK_EQ(ended(reader(PLAIN), 3000), 200);
	finish();
}

static void what_is_beyond_the_queue_is_refused(void)
{
	struct fs_conf conf = fs_conf_default;
	pid_t slow, a, b;

	conf.pool_threads = 1;
	conf.pool_queue = 2;
	start(true, conf);
	look_at(PLAIN); /* so that the kernel asks no more than open and read */
	slow = reader(SLOW);
	wait_reading(1);
	a = reader(PLAIN);
	b = reader(PLAIN);
	usleep(100000);
	CHECK_EQ(ended(reader(PLAIN), 3000), EBUSY);
	kill(slow, SIGKILL);
	CHECK_EQ(ended(slow, 3000), 1000 + SIGKILL);
	CHECK_EQ(ended(a, 3000), 200);
	CHECK_EQ(ended(b, 3000), 200);
	finish();
}

static void reads_that_wait_take_no_thread_and_no_deadline(bool blocking)
{
	enum { N = 50 };
	struct fs_conf conf = fs_conf_default;
	pid_t pids[N];

	conf.timeout_ms = 2000;
	conf.threads = 2;
	conf.pool_threads = 1;
	start(blocking, conf);
	for (int i = 0; i < N; i++)
		pids[i] = reader(EVENT);
	wait_waiters(N);
	CHECK_EQ(ended(reader(PLAIN), 3000), 200);
	happen(false); /* for nothing */
	wait_waiters(N);
	usleep(2500000);
	CHECK_EQ(n_waiters(), N);
	kill(pids[0], SIGKILL);
	CHECK_EQ(ended(pids[0], 2000), 1000 + SIGKILL);
	kill(pids[1], SIGUSR1);
	CHECK_EQ(ended(pids[1], 2000), EINTR);
	CHECK_EQ(n_waiters(), N - 2);
	happen(true);
	for (int i = 2; i < N; i++)
		CHECK_EQ(ended(pids[i], 3000), 200);
	finish();
	CHECK_EQ(t.released, N + 1);
}

static void the_end_waits_for_nobody(void)
{
	pid_t slow, event, plain;

	start(true, fs_conf_default);
	slow = reader(SLOW);
	event = reader(EVENT);
	wait_reading(1);
	wait_waiters(1);
	plain = reader(PLAIN);
	CHECK_EQ(ended(plain, 3000), 200);
	CHECK(finish() < 5000);
	CHECK_EQ(ended(slow, 3000), EINTR);
	CHECK_EQ(ended(event, 3000), EINTR);
	CHECK_EQ(t.released, 3);
}

int main(void)
{
	a_blocking_backend_is_read_and_listed();
	a_killed_caller_goes_whether_the_backend_listens_or_not();
	a_signal_that_does_not_kill_ends_no_call_but_a_later_kill_does();
	calls_end_at_their_deadline_waiting_running_or_stuck();
	what_is_beyond_the_queue_is_refused();
	reads_that_wait_take_no_thread_and_no_deadline(true);
	reads_that_wait_take_no_thread_and_no_deadline(false);
	the_end_waits_for_nobody();
	return 0;
}
