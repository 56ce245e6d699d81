/*
 * A daemon without a mount, for tests of aib-exec: the real registry, the real server and the real
 * guest, but the one sandbox, "py", is this machine itself. So the tests can look at what runs, and
 * need neither FUSE nor an engine. exec_daemon MOUNTPOINT GUEST [handover]; ends at TERM. With
 * handover, clients get the stream itself.
 */
#include "backends/backend.h"
#include "exec/registry.h"
#include "exec/server/server.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

static const char *guest;

struct stream {
	struct bk_stream stream;
	int fd;
};

static int stream_fd(struct bk_stream *s)
{
	return container_of(s, struct stream, stream)->fd;
}

static bool stream_pending(struct bk_stream *s)
{
	return false;
}

static ssize_t stream_read(struct bk_stream *s, void *data, size_t size)
{
	ssize_t n = recv(stream_fd(s), data, size, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static ssize_t stream_write(struct bk_stream *s, const void *data, size_t size)
{
	ssize_t n = send(stream_fd(s), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

static int stream_take_fd(struct bk_stream *s)
{
	return TAKE_FD(container_of(s, struct stream, stream)->fd);
}

static void stream_free(struct bk_stream *s)
{
	closep(&container_of(s, struct stream, stream)->fd);
	free(container_of(s, struct stream, stream));
}

static struct bk_stream_ops stream_ops = {
    .fd = stream_fd,
    .pending = stream_pending,
    .read = stream_read,
    .write = stream_write,
    .free = stream_free,
};

/* The arguments of `aib-guest run` for E. */
static void guest_argv(const struct bk_exec *e, const char **argv, char size[32], char timeout[32])
{
	size_t n = 0;

	argv[n++] = "aib-guest";
	argv[n++] = "run";
	if (e->tty) {
		snprintf(size, 32, "%ux%u", e->rows, e->cols);
		argv[n++] = "-t";
		argv[n++] = size;
	}
	if (e->merged) {
		argv[n++] = "-2";
		argv[n++] = "1";
	}
	if (e->timeout_ms) {
		snprintf(timeout, 32, "%llu", (unsigned long long)e->timeout_ms);
		argv[n++] = "-T";
		argv[n++] = timeout;
	}
	if (e->cwd) {
		argv[n++] = "-C";
		argv[n++] = e->cwd;
	}
	if (e->pwd) {
		argv[n++] = "-P";
		argv[n++] = e->pwd;
	}
	if (e->user) {
		argv[n++] = "-u";
		argv[n++] = e->user;
	}
	if (e->job) {
		argv[n++] = "-j";
		argv[n++] = e->job;
	}
	argv[n++] = "--";
	for (size_t i = 0; e->argv[i] && n < 1000; i++)
		argv[n++] = e->argv[i];
	argv[n] = NULL;
}

/* The guest with ARGV, at the other end of a stream. */
static int run_guest(const char *const *argv, const char *const *env, struct bk_stream **ret)
{
	struct stream *s = calloc(1, sizeof(*s));
	int fds[2];

	if (!s || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	if (fork() == 0) {
		for (size_t i = 0; env && env[i]; i++)
			putenv((char *)env[i]);
		dup2(fds[1], 0);
		dup2(fds[1], 1);
		execv(guest, (char **)argv);
		_exit(1);
	}
	close(fds[1]);
	s->fd = fds[0];
	s->stream.ops = &stream_ops;
	*ret = &s->stream;
	return 0;
}

static int start(struct bk_req *req, struct bk *bk, const struct bk_exec *e, struct bk_stream **ret,
		 struct err *err)
{
	const char *argv[1001];
	char size[32], timeout[32];

	guest_argv(e, argv, size, timeout);
	return run_guest(argv, e->env, ret);
}

static int attach(struct bk_req *req, struct bk *bk, const char *job, struct bk_stream **ret,
		  struct err *err)
{
	return run_guest((const char *const[]){"aib-guest", "attach", job, NULL}, NULL, ret);
}

static bool lasts(struct bk *bk)
{
	return true;
}

static void changed(struct bk *bk)
{
}

static const struct bk_sandbox_ops sandbox_ops = {
    .exec = start, .attach = attach, .lasts = lasts, .changed = changed};
static const struct bk_ops ops = {.type = "test", .sandbox = &sandbox_ops};

int main(int argc, char **argv)
{
	struct bk bk;
	struct route route = {.path = "/py", .type = "test", .source = "", .name = "py", .bk = &bk};
	struct server_conf conf = {.routes = &route, .n_routes = 1, .uid = getuid()};
	struct registry_entry entry;
	struct server *server;
	struct err err = {""};
	char socket[4096];
	sigset_t set;
	int sig;

	if (argc < 3)
		return 2;
	if (argc > 3)
		stream_ops.take_fd = stream_take_fd;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	guest = argv[2];
	conf.mountpoint = argv[1];
	conf.socket_path = socket;
	conf.jobs.dir = getenv("AIB_JOB_DIR");
	if (bk_init(&bk, &ops, "/py") < 0 || registry_add(argv[1], &entry, &err) < 0)
		goto fail;
	snprintf(socket, sizeof(socket), "%s/socket", entry.dir);
	if (server_new(&conf, &server, &err) < 0)
		goto fail;
	puts("ready");
	fflush(stdout);
	sigwait(&set, &sig);
	server_free(server);
	registry_remove(&entry);
	bk_done(&bk);
	return 0;
fail:
	fprintf(stderr, "exec_daemon: %s\n", err.text);
	return 1;
}
