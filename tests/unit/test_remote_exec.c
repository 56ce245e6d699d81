/*
 * Commands over the remote protocol: their words and environment, and the socket that is one.
 */
#include "remote_script.h"
#include "remote_world.h"

#include "base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

struct exec_server {
	struct fake fake;
	int fd;
	pthread_t thread;
};

/* A command that prints its words, "|" behind each, and then its environment. */
static int print_words(void *ctx, const char *const *argv, const char *const *env, int *ret_fd)
{
	int fds[2];

	if (strcmp(argv[0], "fail") == 0)
		return -ENOEXEC;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (; *argv; argv++)
		dprintf(fds[1], "%s|", *argv);
	for (; env && *env; env++)
		dprintf(fds[1], "%s;", *env);
	dprintf(fds[1], "%s", env ? "." : "none.");
	close(fds[1]);
	*ret_fd = fds[0];
	return 0;
}

static void *serve_exec(void *arg)
{
	struct exec_server *s = arg;
	const struct remote_serve_conf conf = {.exec = print_words};

	CHECK_EQ(remote_serve(&s->fake.bk, s->fd, s->fd, &conf), 0);
	return NULL;
}

static void check_words(struct bk *bk, const char *const *argv, const char *const *env,
			const char *want)
{
	struct bk_stream *s;
	char got[256] = "";
	int fd;

	CHECK_EQ(remote_exec(NULL, bk, argv, env, &s, NULL), 0);
	CHECK(s->ops->fd(s) >= 0 && !s->ops->pending(s));
	CHECK_EQ(s->ops->read(s, got, sizeof(got) - 1), strlen(want));
	CHECK_STR(got, want);
	CHECK_EQ(s->ops->read(s, got, sizeof(got)), 0);
	s->ops->free(s);
	CHECK_EQ(remote_exec(NULL, bk, argv, env, &s, NULL), 0);
	fd = s->ops->take_fd(s);
	s->ops->free(s);
	CHECK_EQ(read(fd, got, sizeof(got) - 1), strlen(want));
	close(fd);
}

static void a_command_has_its_words_and_environment(void)
{
	const struct remote_conf conf = {.fd_ok = script_any_fd};
	_cleanup_free_ char *much = malloc(REMOTE_MAX_DATA + 1);
	const char *const argv[] = {"run", "", "a b", NULL}, *const fail[] = {"fail", NULL};
	const char *const none_at_all[] = {NULL}, *const env[] = {"A=b", "C=", NULL};
	const char *const large[] = {much, NULL};
	unsigned fds = count_fds();
	struct exec_server s;
	struct bk_stream *stream;
	struct bk *bk;
	int pair[2];

	fake_init(&s.fake);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	s.fd = pair[1];
	CHECK_EQ(pthread_create(&s.thread, NULL, serve_exec, &s), 0);
	CHECK_EQ(remote_new(NULL, pair[0], pair[0], "/remote", &conf, &bk, NULL), 0);
	check_words(bk, argv, NULL, "run||a b|none.");
	check_words(bk, argv, env, "run||a b|A=b;C=;.");
	check_words(bk, argv, none_at_all, "run||a b|.");
	CHECK_EQ(remote_exec(NULL, bk, fail, NULL, &stream, NULL), -ENOEXEC);
	CHECK_EQ(remote_exec(NULL, bk, none_at_all, NULL, &stream, NULL), -EINVAL);
	memset(much, 'x', REMOTE_MAX_DATA);
	much[REMOTE_MAX_DATA] = '\0';
	CHECK_EQ(remote_exec(NULL, bk, large, NULL, &stream, NULL), -E2BIG);
	CHECK(!remote_is_over(bk));
	bk_free(bk);
	CHECK_EQ(pthread_join(s.thread, NULL), 0);
	fake_done(&s.fake);
	CHECK_EQ(count_fds(), fds);
}

static void where_no_commands_are_started_none_is_asked_for(void)
{
	const char *const argv[] = {"run", NULL};
	struct bk_stream *stream;
	struct err err = {""};
	struct fake fake;
	struct world w;

	fake_init(&fake);
	world_init(&w, &fake.bk, 0);
	CHECK_EQ(remote_exec(NULL, w.bk, argv, NULL, &stream, &err), -EOPNOTSUPP);
	CHECK(err.text[0]);
	world_done(&w);
	fake_done(&fake);
}

static void check_answer(void (*answer)(struct scripted *, const struct remote_head *), int passed,
			 int want)
{
	const struct remote_conf conf = {.fd_ok = script_any_fd};
	const char *const argv[] = {"run", NULL};
	struct scripted s = {.can_exec = true, .pass = {passed, passed}};
	unsigned fds = count_fds();
	struct bk_stream *stream;

	script_begin(&s, &conf, true, answer);
	CHECK_EQ(remote_exec(NULL, s.bk, argv, NULL, &stream, NULL), want);
	CHECK_EQ(remote_is_over(s.bk), want == -EIO);
	script_end(&s);
	CHECK_EQ(count_fds(), fds);
}

static void told_but_missing(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];

	raw_write(s->fd, out, script_encode(out, head, REMOTE_HAS_FD));
}

static void only_a_stream_socket_is_a_command(void)
{
	char name[] = "/tmp/aib-test-fds-XXXXXX";
	int file = mkstemp(name), packets[2], pipes[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets), 0);
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	check_answer(script_in_one, file, -EIO);
	check_answer(script_in_one, packets[0], -EIO);
	check_answer(script_in_one, pipes[0], -EIO);
	check_answer(script_two, packets[0], -EIO);
	check_answer(script_not_told, packets[0], -EIO);
	check_answer(told_but_missing, -1, -EMFILE);
	close(packets[0]);
	close(packets[1]);
	close(pipes[0]);
	close(pipes[1]);
	close(file);
	unlink(name);
}

int main(void)
{
	unsigned fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	log_set_stderr(0);
	a_command_has_its_words_and_environment();
	where_no_commands_are_started_none_is_asked_for();
	only_a_stream_socket_is_a_command();
	CHECK_EQ(count_fds(), fds);
	return 0;
}
