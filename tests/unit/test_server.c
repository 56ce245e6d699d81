/*
 * The exec server with a real guest: the sandbox of these tests is a backend that starts
 * `aib-guest run` on this machine, with a socket pair where the Engine's stream would be.
 */
#include "base/clock.h"
#include "control/control.h"
#include "pass.h"
#include "protocol.h"
#include "server/server.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- A sandbox that is this machine ---- */

struct local_stream {
	struct bk_stream stream;
	int fd;
	pid_t pid;
};

static atomic_int changes, streams, started;
static atomic_int hold_start; /* exec waits for a cancellation */

static int stream_fd(struct bk_stream *s)
{
	return container_of(s, struct local_stream, stream)->fd;
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

static pid_t handed_pid; /* of the newest guest whose stream was taken */

static int stream_take_fd(struct bk_stream *s)
{
	struct local_stream *l = container_of(s, struct local_stream, stream);

	handed_pid = l->pid;
	return TAKE_FD(l->fd);
}

static void stream_free(struct bk_stream *s)
{
	struct local_stream *l = container_of(s, struct local_stream, stream);

	if (l->fd >= 0) {
		close(l->fd);
		waitpid(l->pid, NULL, 0);
	}
	free(l);
	atomic_fetch_sub(&streams, 1);
}

static const struct bk_stream_ops stream_ops = {
    .fd = stream_fd,
    .pending = stream_pending,
    .read = stream_read,
    .write = stream_write,
    .take_fd = stream_take_fd,
    .free = stream_free,
};

static int local_exec(struct bk_req *req, struct bk *bk, const struct bk_exec *exec,
		      struct bk_stream **ret, struct err *err)
{
	const char *argv[64] = {GUEST_PATH, "run", "-C", "/", "--"};
	struct local_stream *l;
	int fds[2];

	atomic_fetch_add(&started, 1);
	while (atomic_load(&hold_start))
		if (bk_req_check(req) < 0)
			return bk_req_check(req);
		else
			usleep(1000);
	for (size_t i = 0; exec->argv[i] && i < 50; i++)
		argv[5 + i] = exec->argv[i];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	l = calloc(1, sizeof(*l));
	l->stream.ops = &stream_ops;
	l->fd = fds[0];
	l->pid = fork();
	if (l->pid == 0) {
		dup2(fds[1], 0);
		dup2(fds[1], 1);
		execv(GUEST_PATH, (char **)argv);
		_exit(99);
	}
	close(fds[1]);
	atomic_fetch_add(&streams, 1);
	*ret = &l->stream;
	return 0;
}

static void local_changed(struct bk *bk)
{
	atomic_fetch_add(&changes, 1);
}

static int local_text(struct bk *bk, struct buf *out)
{
	return buf_adds(out, "state running\nimage none\n");
}

static const struct bk_sandbox_ops local_sandbox = {
    .exec = local_exec,
    .changed = local_changed,
    .status = local_text,
    .error = local_text,
};
static const struct bk_ops local_ops = {.type = "local", .sandbox = &local_sandbox};
static struct bk local = {.ops = &local_ops};
static const struct route routes[] = {
    {.path = "/py", .type = "local", .source = "", .name = "py", .bk = &local}};

/* ---- A server and its clients ---- */

static char socket_path[64];
static atomic_int asked_to_end;

static void umount_asked(void *ctx, bool force)
{
	atomic_store(&asked_to_end, 1);
}

static struct server *begin_with(struct bk *control)
{
	struct server_conf conf = {
	    .socket_path = socket_path,
	    .mountpoint = "/box",
	    .routes = routes,
	    .n_routes = 1,
	    .uid = getuid(),
	    .umount = umount_asked,
	    .jobs.dir = "/nonexistent/aib-test-jobs",
	    .control = control,
	};
	struct server *s;
	struct err err = {""};

	snprintf(socket_path, sizeof(socket_path), "/tmp/aib-test-server-%d", getpid());
	if (server_new(&conf, &s, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return s;
}

static struct server *begin(void)
{
	return begin_with(NULL);
}

static int client(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, socket_path);
	CHECK_EQ(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void send_frame(int fd, uint8_t type, const void *data, size_t len)
{
	uint8_t header[PROTO_HEADER];
	struct iovec parts[] = {{header, sizeof(header)}, {(void *)data, len}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

	/* At once: the server may hang up over the header alone. */
	proto_put_header(header, type, len);
	CHECK_EQ(sendmsg(fd, &msg, MSG_NOSIGNAL), sizeof(header) + len);
}

static int ask(const char *request)
{
	int fd = client();

	send_frame(fd, PROTO_REQUEST, request, strlen(request));
	return fd;
}

/* Read exactly LEN bytes; false at the end of the stream. Fails the test after 20 s. */
static bool read_all(int fd, void *data, size_t len)
{
	for (size_t have = 0; have < len;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		CHECK_EQ(poll(&p, 1, 20000), 1);
		n = recv(fd, (char *)data + have, len - have, 0);
		if (n <= 0)
			return false;
		have += n;
	}
	return true;
}

struct frame {
	uint8_t type;
	uint32_t len;
	char data[PROTO_MAX_PAYLOAD + 1];
};

static bool next_frame(int fd, struct frame *f)
{
	uint8_t header[PROTO_HEADER];
	struct proto_header h;

	if (!read_all(fd, header, sizeof(header)))
		return false;
	CHECK_EQ(proto_get_header(header, &h), 0);
	f->type = h.type;
	f->len = h.len;
	CHECK(h.len == 0 || read_all(fd, f->data, h.len));
	f->data[h.len] = '\0';
	return true;
}

static struct frame frame;

/* Skip to a frame of this type. */
static void until(int fd, uint8_t type)
{
	do {
		CHECK(next_frame(fd, &frame));
	} while (frame.type != type);
}

static void until_no_streams(void)
{
	uint64_t end = clock_ms() + 20000;

	while (atomic_load(&streams) > 0) {
		CHECK(clock_ms() < end);
		usleep(1000);
	}
}

/* ---- Tests ---- */

static void a_command_runs_and_the_sandbox_hears_of_its_end_first(void)
{
	struct server *s = begin();
	struct proto_exit e;
	int before = atomic_load(&changes), fd;

	fd =
	    ask("{\"op\": \"exec\", \"argv\": [\"/bin/sh\", \"-c\", \"cat; exit 7\"], \"sandbox\": "
		"\"py\"}");
	until(fd, PROTO_STARTED);
	send_frame(fd, PROTO_STDIN, "a\0b", 3);
	send_frame(fd, PROTO_STDIN_EOF, "", 0);
	until(fd, PROTO_STDOUT);
	CHECK(frame.len == 3 && memcmp(frame.data, "a\0b", 3) == 0);
	until(fd, PROTO_EXIT);
	CHECK_EQ(atomic_load(&changes), before + 1);
	CHECK_EQ(proto_get_exit((uint8_t *)frame.data, frame.len, &e), 0);
	CHECK_EQ(proto_exit_status(&e), 7);
	CHECK(!next_frame(fd, &frame));
	close(fd);
	until_no_streams();
	server_free(s);
}

#define HANDED(line)                                                                               \
	"{\"op\": \"exec\", \"stream\": true, \"argv\": [\"/bin/sh\", \"-c\", \"" line "\"], "     \
	"\"sandbox\": \"py\"}"

/* Wait for STREAM. Returns its socket. */
static int take_stream(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t header[PROTO_HEADER];
	struct proto_header h;
	int passed = -1;

	CHECK_EQ(poll(&p, 1, 20000), 1);
	CHECK_EQ(pass_recv(fd, header, sizeof(header), &passed), sizeof(header));
	CHECK_EQ(proto_get_header(header, &h), 0);
	CHECK_EQ(h.type, PROTO_STREAM);
	CHECK_EQ(h.len, 2);
	CHECK_EQ(recv(fd, header, 2, 0), 2);
	CHECK(memcmp(header, "py", 2) == 0); /* the sandbox's name */
	CHECK(passed >= 0);
	CHECK_EQ(atomic_load(&streams), 0); /* the daemon has no part of it any more */
	return passed;
}

static void guest_ends(void)
{
	CHECK_EQ(waitpid(handed_pid, NULL, 0), handed_pid);
}

static int commands(void)
{
	int fd = ask("{\"op\": \"status\"}"), n;
	cJSON *o;

	until(fd, PROTO_REPLY);
	o = cJSON_Parse(frame.data);
	n = cJSON_GetObjectItem(o, "commands")->valueint;
	cJSON_Delete(o);
	close(fd);
	return n;
}

static void a_stream_is_handed_over_and_its_end_acknowledged(void)
{
	struct server *s = begin();
	int before = atomic_load(&changes), fd = ask(HANDED("cat; exit 7")), stream;
	struct proto_exit e;

	stream = take_stream(fd);
	until(stream, PROTO_STARTED);
	CHECK_EQ(commands(), 1);
	send_frame(stream, PROTO_STDIN, "x", 1);
	send_frame(stream, PROTO_STDIN_EOF, "", 0);
	until(stream, PROTO_STDOUT);
	until(stream, PROTO_EXIT);
	CHECK_EQ(proto_get_exit((uint8_t *)frame.data, frame.len, &e), 0);
	CHECK_EQ(e.value, 7);
	CHECK(!next_frame(stream, &frame));
	CHECK_EQ(atomic_load(&changes), before);
	CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	CHECK(!next_frame(fd, &frame));
	CHECK_EQ(atomic_load(&changes), before + 1);
	CHECK_EQ(commands(), 0);
	close(stream);
	close(fd);
	guest_ends();
	server_free(s);
}

static void the_end_of_a_client_with_a_stream_is_the_commands(void)
{
	struct server *s = begin();
	int before = atomic_load(&changes), fd = ask(HANDED("sleep 1000 & sleep 1000"));
	int stream = take_stream(fd);

	until(stream, PROTO_STARTED);
	close(stream);
	close(fd);
	guest_ends();
	while (atomic_load(&changes) == before)
		usleep(1000);
	server_free(s);
}

static void who_has_a_stream_says_nothing_more_to_the_daemon(void)
{
	struct server *s = begin();
	int fd = ask(HANDED("sleep 1000")), stream = take_stream(fd);

	send_frame(fd, PROTO_STDIN, "x", 1);
	CHECK(!next_frame(fd, &frame));
	close(fd);
	close(stream);
	guest_ends();
	server_free(s);
}

static void the_mounts_end_is_seen_by_who_has_a_stream(void)
{
	struct server *s = begin();
	int fd = ask(HANDED("sleep 1000")), stream = take_stream(fd);

	server_stop(s);
	CHECK(!next_frame(fd, &frame));
	close(fd);
	close(stream);
	guest_ends();
	server_free(s);
}

static void who_speaks_too_early_keeps_the_daemon_between(void)
{
	struct server *s = begin();
	int fd = client();
	static const char request[] = HANDED("cat");
	char both[sizeof(request) + 64];
	size_t n = sizeof(request) - 1;

	proto_put_header((uint8_t *)both, PROTO_REQUEST, n);
	memcpy(both + PROTO_HEADER, request, n);
	proto_put_header((uint8_t *)both + PROTO_HEADER + n, PROTO_STDIN_EOF, 0);
	CHECK_EQ(send(fd, both, n + 2 * PROTO_HEADER, MSG_NOSIGNAL), n + 2 * PROTO_HEADER);
	until(fd, PROTO_EXIT);
	close(fd);
	until_no_streams();
	server_free(s);
}

static void a_flood_waits_for_a_slow_client(void)
{
	struct server *s = begin();
	size_t total = 0;
	int fd = ask("{\"op\": \"exec\", \"argv\": [\"/usr/bin/head\", \"-c\", \"20000000\", "
		     "\"/dev/zero\"], \"sandbox\": \"py\"}");

	usleep(300000);
	do {
		CHECK(next_frame(fd, &frame));
		if (frame.type == PROTO_STDOUT)
			total += frame.len;
	} while (frame.type != PROTO_EXIT);
	CHECK_EQ(total, 20000000);
	close(fd);
	server_free(s);
}

static void the_clients_end_kills_the_command(void)
{
	struct server *s = begin();
	int fd =
	    ask("{\"op\": \"exec\", \"argv\": [\"/bin/sh\", \"-c\", \"sleep 1000 & sleep 1000\"], "
		"\"sandbox\": \"py\"}");

	until(fd, PROTO_STARTED);
	close(fd);
	until_no_streams();
	server_free(s);
}

static void the_clients_end_cancels_a_start(void)
{
	struct server *s = begin();
	int before = atomic_load(&started), fd;

	atomic_store(&hold_start, 1);
	fd = ask("{\"op\": \"exec\", \"argv\": [\"/bin/true\"], \"sandbox\": \"py\"}");
	while (atomic_load(&started) == before)
		usleep(1000);
	close(fd);
	server_free(s);
	atomic_store(&hold_start, 0);
}

static void bad_requests_get_an_error(void)
{
	static const char *const bad[] = {
	    "{", "[]", "{\"op\": \"x\"}", "{\"op\": \"exec\"}",
	    "{\"op\": \"exec\", \"argv\": [\"x\"], \"sandbox\": \"no\"}"};
	struct server *s = begin();
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = ask(bad[i]);
		until(fd, PROTO_ERROR);
		CHECK(frame.len > 0);
		CHECK(!next_frame(fd, &frame));
		close(fd);
	}
	fd = client();
	send_frame(fd, PROTO_STDIN, "x", 1);
	until(fd, PROTO_ERROR);
	close(fd);
	server_free(s);
}

static void status_and_end_are_answered(void)
{
	struct server *s = begin();
	int fd = ask("{\"op\": \"status\"}");
	cJSON *o;

	until(fd, PROTO_REPLY);
	o = cJSON_Parse(frame.data);
	CHECK_STR(cJSON_GetObjectItem(o, "mountpoint")->valuestring, "/box");
	cJSON_Delete(o);
	close(fd);
	fd = ask("{\"op\": \"umount\"}");
	while (!atomic_load(&asked_to_end))
		usleep(1000);
	server_say(s, "stopping py");
	until(fd, PROTO_PROGRESS);
	CHECK_STR(frame.data, "stopping py");
	server_free(s);
	until(fd, PROTO_REPLY);
	close(fd);
}

struct woken {
	struct bk_waiter waiter;
	int pipe[2];
};

static void woken(struct bk_waiter *w)
{
	CHECK_EQ(write(container_of(w, struct woken, waiter)->pipe[1], "x", 1), 1);
}

static struct bk_file *open_exec_file(struct bk *control, struct bk_req *req)
{
	struct bk_node *root = bk_root(control), *node;
	struct bk_file *f;
	struct stat st;

	CHECK_EQ(bk_lookup(req, root, "exec", &node, &st), 0);
	CHECK_EQ(bk_open(req, node, O_RDWR, &f), 0);
	bk_node_unref(node);
	bk_node_unref(root);
	return f;
}

static void a_transaction_waits_parked_and_answers(void)
{
	static const char request[] =
	    "{\"command\": \"cat; echo err >&2; exit 3\", \"sandbox\": \"py\", "
	    "\"stdin\": \"hello\", \"env\": {\"K\": \"v\"}, \"timeout\": 30}";
	struct control_conf conf = {.uid = getuid(), .gid = getgid()};
	struct server *s;
	struct woken w = {.waiter.wake = woken};
	struct bk_req req;
	struct bk *control;
	struct bk_file *f;
	char text[65536], c;
	ssize_t n;
	cJSON *o;

	CHECK_EQ(pipe(w.pipe), 0);
	bk_req_init(&req, getuid(), getgid(), getpid(), 0);
	CHECK_EQ(control_new(&conf, &control), 0);
	s = begin_with(control);
	f = open_exec_file(control, &req);
	CHECK_EQ(bk_write(&req, f, request, 40, 0), 40);
	CHECK_EQ(bk_write(&req, f, request + 40, strlen(request) - 40, 40), strlen(request) - 40);
	while ((n = bk_read(&req, f, text, sizeof(text) - 1, strlen(request))) == -EAGAIN) {
		control->ops->wait(f, &w.waiter, false);
		CHECK_EQ(read(w.pipe[0], &c, 1), 1);
	}
	CHECK(n > 0);
	text[n] = '\0';
	o = cJSON_Parse(text);
	CHECK_STR(cJSON_GetObjectItem(o, "stdout")->valuestring, "hello");
	CHECK_STR(cJSON_GetObjectItem(o, "stderr")->valuestring, "err\n");
	CHECK_EQ(cJSON_GetObjectItem(o, "exit_code")->valuedouble, 3);
	cJSON_Delete(o);
	CHECK_EQ(bk_read(&req, f, text, sizeof(text), 0), 0);

	/* A second request on the same open file, given up before its answer. */
	static const char forever[] = "{\"argv\": [\"/bin/sleep\", \"1000\"], \"sandbox\": \"py\"}";
	CHECK_EQ(bk_write(&req, f, forever, strlen(forever), 0), strlen(forever));
	CHECK_EQ(bk_read(&req, f, text, sizeof(text), 0), -EAGAIN);
	bk_release(f);
	until_no_streams();
	bk_req_done(&req);
	server_stop(s);
	bk_free(control);
	server_free(s);
	close(w.pipe[0]);
	close(w.pipe[1]);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	a_command_runs_and_the_sandbox_hears_of_its_end_first();
	a_stream_is_handed_over_and_its_end_acknowledged();
	the_end_of_a_client_with_a_stream_is_the_commands();
	who_has_a_stream_says_nothing_more_to_the_daemon();
	the_mounts_end_is_seen_by_who_has_a_stream();
	who_speaks_too_early_keeps_the_daemon_between();
	a_flood_waits_for_a_slow_client();
	the_clients_end_kills_the_command();
	the_clients_end_cancels_a_start();
	bad_requests_get_an_error();
	status_and_end_are_answered();
	a_transaction_waits_parked_and_answers();
	return 0;
}
