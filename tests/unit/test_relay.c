/*
 * aib-exec's side of a stream that was handed over: whatever a hostile sandbox says there, in any
 * order, ends in a result or an error, never in the caller's memory or on his terminal.
 */
#include "relay.h"

#include "pass.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the two other sides send; the daemon's answers to the end of the connection by its own. */
struct script {
	const void *frames; /* of the sandbox */
	size_t len;
	bool no_stream; /* the frames are the connection's */
	int passed;	/* in place of a stream: -1 none, otherwise a descriptor */
	bool daemon_ends;
	uint16_t repeat; /* 0: once */
};

struct answer {
	int error;
	struct relay_result result;
	char text[256], out[64];
};

static uint8_t built[8192];
static size_t built_len;

static void frame(uint8_t type, const void *data, size_t len)
{
	proto_put_header(built + built_len, type, len);
	if (len)
		memcpy(built + built_len + PROTO_HEADER, data, len);
	built_len += PROTO_HEADER + len;
}

static void exit_frame(uint8_t value)
{
	uint8_t e[PROTO_EXIT_SIZE];

	proto_put_exit(e, &(struct proto_exit){PROTO_EXITED, value, 0});
	frame(PROTO_EXIT, e, sizeof(e));
}

/* The daemon and the sandbox in one process, which ends when aib-exec has left both. */
static void play(const struct script *s, int connection, int stream, int given)
{
	int to = s->no_stream ? connection : stream;
	uint8_t header[PROTO_HEADER + 2];
	char sink[4096];

	signal(SIGPIPE, SIG_IGN);
	if (!s->no_stream) {
		proto_put_header(header, PROTO_STREAM, 2);
		memcpy(header + PROTO_HEADER, "py", 2);
		if (given < 0)
			CHECK_EQ(write(connection, header, sizeof(header)), sizeof(header));
		else
			CHECK_EQ(pass_send(connection, header, sizeof(header), given), 0);
		close(given);
	}
	for (unsigned i = 0; i < (s->repeat ? s->repeat : 1u) && s->len; i++)
		if (send(to, s->frames, s->len, 0) < 0)
			break;
	shutdown(stream, SHUT_WR);
	if (s->daemon_ends)
		_exit(0);
	while (read(connection, sink, sizeof(sink)) > 0)
		;
	_exit(0);
}

static struct answer *relay(const struct script *s)
{
	static struct answer a;
	int connection[2], stream[2], out[2], saved[2], nothing, given;
	struct relay_conf conf = {.no_stdin = true};
	struct err err = {""};
	ssize_t n;
	pid_t pid;

	memset(&a, 0, sizeof(a));
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, connection), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), 0);
	CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
	given = s->passed ? s->passed : stream[0];
	pid = fork();
	if (pid == 0) {
		close(connection[0]);
		if (given != stream[0])
			close(stream[0]);
		play(s, connection[1], stream[1], given);
	}
	close(connection[1]);
	close(stream[0]);
	close(stream[1]);
	conf.fd = connection[0];
	nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
	saved[0] = dup(1);
	saved[1] = dup(2);
	dup2(out[1], 1);
	dup2(nothing, 2);
	a.error = relay_run(&conf, &a.result, &err);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], 1 + i);
		close(saved[i]);
	}
	close(nothing);
	close(out[1]);
	close(connection[0]);
	n = read(out[0], a.out, sizeof(a.out) - 1);
	CHECK(n >= 0);
	close(out[0]);
	snprintf(a.text, sizeof(a.text), "%s", a.result.text ? a.result.text : err.text);
	free(a.result.text);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	return &a;
}

static struct answer *say(void)
{
	struct answer *a = relay(&(struct script){.frames = built, .len = built_len});

	built_len = 0;
	return a;
}

static void a_command_of_a_handed_stream_ends(void)
{
	struct answer *a;

	frame(PROTO_STARTED, NULL, 0);
	frame(PROTO_STDOUT, "hello", 5);
	exit_frame(7);
	a = say();
	CHECK_EQ(a->error, 0);
	CHECK_EQ(a->result.end, RELAY_EXIT);
	CHECK_EQ(a->result.exit.value, 7);
	CHECK_STR(a->out, "hello");
}

static void what_is_out_of_order_is_refused(void)
{
	static const uint8_t wrong[][2] = {
	    {PROTO_STDOUT, 0}, {PROTO_STDERR, 0},    {PROTO_CREDIT, 0},	  {PROTO_REPLY, 0},
	    {PROTO_STREAM, 0}, {PROTO_PROGRESS, 0},  {PROTO_STDIN, 0},	  {99, 0},
	    {PROTO_REPLY, 1},  {PROTO_STARTED, 1},   {PROTO_ERROR, 1},	  {PROTO_STREAM, 1},
	    {PROTO_SIGNAL, 1}, {PROTO_STDIN_EOF, 1}, {PROTO_PROGRESS, 1},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct answer *a;

		if (wrong[i][1])
			frame(PROTO_STARTED, NULL, 0);
		frame(wrong[i][0], "four", wrong[i][0] == PROTO_CREDIT ? 4 : 0);
		exit_frame(0);
		a = say();
		CHECK_EQ(a->error, -EPROTO);
		CHECK(strstr(a->text, "the connection to the command was lost"));
	}
}

static void wrong_sizes_are_refused(void)
{
	static const uint8_t headers[][PROTO_HEADER] = {
	    {255, 255, 255, 255, PROTO_STDOUT, 0, 0, 0},
	    {1, 0, 1, 0, PROTO_STDOUT, 0, 0, 0},
	    {0, 0, 0, 0, PROTO_STDOUT, 0, 1, 0},
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		frame(PROTO_STARTED, NULL, 0);
		memcpy(built + built_len, headers[i], PROTO_HEADER);
		built_len += PROTO_HEADER;
		CHECK_EQ(say()->error, -EPROTO);
	}
	frame(PROTO_EXIT, "1234567", 7);
	CHECK_EQ(say()->error, -EPROTO);
	frame(PROTO_EXIT, "\xff\0\0\0\0\0\0\0", 8);
	CHECK_EQ(say()->error, -EPROTO);
	frame(PROTO_STARTED, NULL, 0);
	frame(PROTO_CREDIT, "123", 3);
	CHECK_EQ(say()->error, -EPROTO);
}

static void an_end_without_exit_is_an_error(void)
{
	struct answer *a = relay(&(struct script){.len = 0});

	CHECK_EQ(a->error, -EPIPE);
	CHECK(strstr(a->text, "the connection to the command was lost (end of stream)"));
	frame(PROTO_STARTED, NULL, 0);
	built[built_len++] = 1;
	CHECK_EQ(say()->error, -EPIPE);
}

static void its_words_do_not_reach_the_terminal_as_they_are(void)
{
	struct answer *a;

	frame(PROTO_ERROR,
	      "a\033[2Jb\nc\xc2\x9b"
	      "d\xc3\xa9\x7f",
	      15);
	a = say();
	CHECK_EQ(a->result.end, RELAY_ERROR);
	CHECK_STR(a->text, "sandbox py: a [2Jb c  d\xc3\xa9 ");
}

static void a_stream_without_a_socket_is_refused(void)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);

	CHECK_EQ(relay(&(struct script){.passed = -1})->error, -EPROTO);
	CHECK_EQ(relay(&(struct script){.passed = file})->error, -EPROTO);
	close(file);
}

static void a_daemon_that_ends_before_the_command_is_lost(void)
{
	struct answer *a;

	exit_frame(3);
	a = relay(&(struct script){.frames = built, .len = built_len, .daemon_ends = true});
	built_len = 0;
	CHECK_EQ(a->error, 0); /* its word was there already */
	CHECK_EQ(a->result.exit.value, 3);
}

static void a_flood_of_credit_and_nothing_is_harmless(void)
{
	struct script s = {.frames = built, .repeat = 1000};

	frame(PROTO_STARTED, NULL, 0);
	for (int i = 0; i < 100; i++) {
		frame(PROTO_CREDIT, "\xff\xff\xff\xff", 4);
		frame(PROTO_STDOUT, "", 0);
	}
	s.len = built_len;
	CHECK_EQ(relay(&s)->error, -EPROTO); /* STARTED again, but not before all that */
	built_len = 0;
}

static void random_bytes_never_crash_it(void)
{
	srand(1);
	for (int i = 0; i < 300; i++) {
		uint8_t noise[64];

		if (i % 3)
			frame(PROTO_STARTED, NULL, 0);
		for (int k = 0; k < 20; k++) {
			for (size_t b = 0; b < sizeof(noise); b++)
				noise[b] = rand();
			frame(i % 2 ? PROTO_STARTED + rand() % 9 : rand(), noise, rand() % 64);
		}
		if (i % 5 == 0)
			built[rand() % built_len] = rand();
		say();
	}
}

int main(void)
{
	relay_block_signals();
	a_command_of_a_handed_stream_ends();
	what_is_out_of_order_is_refused();
	wrong_sizes_are_refused();
	an_end_without_exit_is_an_error();
	its_words_do_not_reach_the_terminal_as_they_are();
	a_stream_without_a_socket_is_refused();
	a_daemon_that_ends_before_the_command_is_lost();
	a_flood_of_credit_and_nothing_is_harmless();
	random_bytes_never_crash_it();
	return 0;
}
