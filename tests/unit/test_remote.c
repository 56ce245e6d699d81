/*
 * The remote backend between two ends that keep to the protocol: cancelled and late calls, what
 * their late answers gave, the death of the peer, many calls at once, pipes, a static server.
 */
#include "remote_world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SOON_MS 2000

/* One lookup on a thread of its own. */
struct looking {
	struct bk_node *dir;
	const char *name;
	struct bk_req req;
	struct bk_node *node;
	int result;
	pthread_t thread;
};

static void *look(void *arg)
{
	struct looking *l = arg;
	struct stat st;

	l->result = bk_lookup(&l->req, l->dir, l->name, &l->node, &st);
	return NULL;
}

static void look_begin(struct looking *l, struct bk_node *dir, const char *name, uint64_t ms)
{
	l->dir = dir;
	l->name = name;
	bk_req_init(&l->req, 0, 0, 0, ms);
	CHECK_EQ(pthread_create(&l->thread, NULL, look, l), 0);
}

static void look_end(struct looking *l, int want)
{
	CHECK_EQ(pthread_join(l->thread, NULL), 0);
	CHECK_EQ(l->result, want);
	bk_req_done(&l->req);
	if (want == 0)
		bk_node_unref(l->node);
}

static void check_works(struct bk_node *root)
{
	struct stat st;

	CHECK_EQ(bk_getattr(NULL, root, NULL, &st), 0);
	CHECK(S_ISDIR(st.st_mode));
}

static void wait_until(atomic_uint *what, unsigned is)
{
	uint64_t end = clock_ms() + SOON_MS;

	while (atomic_load(what) != is) {
		CHECK(clock_ms() < end);
		usleep(1000);
	}
}

static void a_cancelled_call_ends_at_once_and_on_the_server(void)
{
	struct looking l;
	struct fake f;
	struct world w;

	fake_init(&f);
	world_init(&w, &f.bk, 0);
	look_begin(&l, w.root, "slow", 0);
	fake_wait_for(&f, 1);
	check_works(w.root);
	bk_req_cancel(&l.req);
	look_end(&l, -EINTR);
	fake_wait_for(&f, 0);
	CHECK_EQ(f.cancelled, 1);
	check_works(w.root);
	world_done(&w);
	CHECK_EQ(w.result, 0);
	fake_done(&f);
}

static void a_late_call_ends_at_its_deadline(void)
{
	uint64_t start = clock_ms();
	struct looking l;
	struct fake f;
	struct world w;

	fake_init(&f);
	world_init(&w, &f.bk, 0);
	look_begin(&l, w.root, "slow", 50);
	look_end(&l, -ETIMEDOUT);
	CHECK(clock_ms() - start >= 50 && clock_ms() - start < SOON_MS);
	fake_wait_for(&f, 0);
	check_works(w.root);
	world_done(&w);
	fake_done(&f);
}

static void a_late_answer_gives_back_what_it_gave(void)
{
	struct looking l;
	struct bk_node *node;
	struct bk_file *file;
	struct bk_req req;
	struct stat st;
	struct fake f;
	struct world w;

	fake_init(&f);
	world_init(&w, &f.bk, 0);
	look_begin(&l, w.root, "fgated", 20);
	look_end(&l, -ETIMEDOUT);
	CHECK_EQ(bk_lookup(NULL, w.root, "f", &node, &st), 0);
	f.gate_opens = true;
	bk_req_init(&req, 0, 0, 0, 20);
	CHECK_EQ(bk_open(&req, node, O_RDONLY, &file), -ETIMEDOUT);
	bk_req_done(&req);
	fake_wait_for(&f, 2);
	fake_open_gate(&f);
	fake_wait_for(&f, 0);
	bk_node_unref(node);
	wait_until(&f.files, 0);
	wait_until(&f.nodes, 1);
	check_works(w.root);
	world_done(&w);
	fake_done(&f);
}

static void what_is_not_used_is_forgotten(void)
{
	struct bk_node *node;
	struct stat st;
	struct fake f;
	struct world w;
	char name[16];

	fake_init(&f);
	world_init(&w, &f.bk, 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK_EQ(bk_lookup(NULL, w.root, name, &node, &st), 0);
		bk_node_unref(node);
	}
	wait_until(&f.nodes, 1);
	world_done(&w);
	fake_done(&f);
}

static void a_full_server_delays_but_its_calls_can_be_cancelled(void)
{
	struct looking l[4], more;
	struct fake f;
	struct world w;

	fake_init(&f);
	world_init(&w, &f.bk, 4);
	for (int i = 0; i < 4; i++)
		look_begin(&l[i], w.root, "slow", 0);
	fake_wait_for(&f, 4);
	look_begin(&more, w.root, "f", 50);
	look_end(&more, -ETIMEDOUT);
	look_begin(&more, w.root, "f", 0);
	bk_req_cancel(&l[0].req);
	look_end(&l[0], -EINTR);
	look_end(&more, 0);
	for (int i = 1; i < 4; i++) {
		bk_req_cancel(&l[i].req);
		look_end(&l[i], -EINTR);
	}
	check_works(w.root);
	world_done(&w);
	fake_done(&f);
}

static void the_end_of_the_client_ends_calls_on_the_server(void)
{
	struct looking l[3];
	struct fake f;
	struct world w;

	fake_init(&f);
	world_init(&w, &f.bk, 0);
	for (int i = 0; i < 3; i++)
		look_begin(&l[i], w.root, "slow", 30);
	for (int i = 0; i < 3; i++)
		look_end(&l[i], -ETIMEDOUT);
	world_done(&w);
	fake_done(&f);
}

/* A server in a process of its own, which is killed while calls wait. */
static void the_death_of_the_server_ends_all_calls(void)
{
	struct looking l[8];
	struct bk_node *root;
	struct fake f;
	struct stat st;
	struct bk *bk;
	int fds[2], status;
	pid_t pid;

	fake_init(&f);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		_exit(remote_serve(&f.bk, fds[1], fds[1], NULL) != 0);
	}
	close(fds[1]);
	CHECK_EQ(remote_new(NULL, fds[0], fds[0], "/remote", NULL, &bk, NULL), 0);
	root = bk_root(bk);
	for (int i = 0; i < 8; i++)
		look_begin(&l[i], root, "slow", 0);
	usleep(20000);
	CHECK(!remote_is_over(bk));
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	for (int i = 0; i < 8; i++)
		look_end(&l[i], -EIO);
	CHECK(remote_is_over(bk));
	CHECK_EQ(bk_getattr(NULL, root, NULL, &st), -EIO);
	bk_node_unref(root);
	bk_free(bk);
	fake_done(&f);
}

struct opening {
	struct bk_node *root;
	unsigned id;
	pthread_t thread;
};

static void *open_and_release(void *arg)
{
	struct opening *o = arg;
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;
	char name[16];

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%u-%d", o->id, i);
		CHECK_EQ(bk_lookup(NULL, o->root, name, &node, &st), 0);
		CHECK_EQ(bk_open(NULL, node, O_RDONLY, &file), 0);
		CHECK_EQ(bk_getattr(NULL, node, file, &st), 0);
		bk_release(file);
		bk_node_unref(node);
	}
	return NULL;
}

static void many_threads_leave_nothing_behind(void)
{
	struct opening o[16];
	struct fake f;
	struct world w;

	fake_init(&f);
	world_init(&w, &f.bk, 3);
	for (unsigned i = 0; i < ARRAY_SIZE(o); i++) {
		o[i] = (struct opening){.root = w.root, .id = i};
		CHECK_EQ(pthread_create(&o[i].thread, NULL, open_and_release, &o[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(o); i++)
		CHECK_EQ(pthread_join(o[i].thread, NULL), 0);
	wait_until(&f.files, 0);
	wait_until(&f.nodes, 1);
	world_done(&w);
	fake_done(&f);
}

/* ---- A host directory, served by the static program over pipes ---- */

static pid_t start_server(const char *dir, int ret_fds[2])
{
	int to[2], from[2];
	pid_t pid;

	CHECK_EQ(pipe2(to, O_CLOEXEC), 0);
	CHECK_EQ(pipe2(from, O_CLOEXEC), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execl(STATIC_SERVER, STATIC_SERVER, dir, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	ret_fds[0] = from[0];
	ret_fds[1] = to[1];
	return pid;
}

static void write_and_read_back(struct bk *bk)
{
	const size_t size = (5 << 20) + 123;
	_cleanup_(bk_node_unrefp) struct bk_node *root = bk_root(bk);
	_cleanup_free_ char *data = malloc(size), *got = malloc(size);
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;
	uint64_t random = 1;

	for (size_t i = 0; i < size; i++)
		data[i] = raw_random(&random, 256);
	CHECK_EQ(bk_create(NULL, root, "f", 0600, O_CREAT | O_RDWR, &node, &file, &st), 0);
	CHECK_EQ(bk_write(NULL, file, data, size, 0), size);
	CHECK_EQ(bk_read(NULL, file, got, size, 0), size);
	CHECK(memcmp(data, got, size) == 0);
	CHECK_EQ(bk_read(NULL, file, got, size, size - 7), 7);
	CHECK_EQ(bk_fsync(NULL, file, false), 0);
	CHECK_EQ(bk_getattr(NULL, node, file, &st), 0);
	CHECK_EQ(st.st_size, size);
	bk_release(file);
	bk_node_unref(node);
	CHECK_EQ(bk_unlink(NULL, root, "f"), 0);
}

static void a_static_server_serves_over_pipes(void)
{
	char dir[] = "/tmp/aib-test-remote-XXXXXX";
	struct stat st;
	struct bk *bk;
	int fds[2], status;
	pid_t pid;

	CHECK_EQ(stat(STATIC_SERVER, &st), 0);
	CHECK(st.st_size < 1 << 20);
	CHECK(mkdtemp(dir));
	pid = start_server(dir, fds);
	CHECK_EQ(remote_new(NULL, fds[0], fds[1], "/remote", NULL, &bk, NULL), 0);
	write_and_read_back(bk);
	bk_free(bk);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_EQ(rmdir(dir), 0);
}

/* ---- What was read ahead ---- */

static bool stop_after_two(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	return ++*(int *)ctx < 3;
}

static void a_change_here_is_seen_by_a_lookup_after_a_listing(void)
{
	char dir[] = "/tmp/aib-test-remote-XXXXXX";
	struct bk_node *root, *node;
	struct bk_file *listing;
	struct stat st;
	struct bk *bk;
	int fds[2], n = 0, status;
	pid_t pid;

	CHECK(mkdtemp(dir));
	pid = start_server(dir, fds);
	CHECK_EQ(remote_new(NULL, fds[0], fds[1], "/remote", NULL, &bk, NULL), 0);
	root = bk_root(bk);
	CHECK_EQ(bk_mkdir(NULL, root, "a", 0755, &node, &st), 0);
	bk_node_unref(node);
	CHECK_EQ(bk_opendir(NULL, root, &listing), 0);
	CHECK_EQ(bk_readdir(NULL, listing, 0, stop_after_two, &n), 0);
	CHECK_EQ(bk_lookup(NULL, root, "a", &node, &st), 0);
	bk_node_unref(node);
	CHECK_EQ(bk_rmdir(NULL, root, "a"), 0);
	CHECK_EQ(bk_lookup(NULL, root, "a", &node, &st), -ENOENT);
	bk_release(listing);
	bk_node_unref(root);
	bk_free(bk);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(rmdir(dir), 0);
}

int main(void)
{
	unsigned fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	the_death_of_the_server_ends_all_calls(); /* it forks: before there are threads */
	a_cancelled_call_ends_at_once_and_on_the_server();
	a_late_call_ends_at_its_deadline();
	a_late_answer_gives_back_what_it_gave();
	what_is_not_used_is_forgotten();
	a_full_server_delays_but_its_calls_can_be_cancelled();
	the_end_of_the_client_ends_calls_on_the_server();
	many_threads_leave_nothing_behind();
	a_static_server_serves_over_pipes();
	a_change_here_is_seen_by_a_lookup_after_a_listing();
	CHECK_EQ(count_fds(), fds);
	return 0;
}
