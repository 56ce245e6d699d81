/* `aib-guest run`: a command's streams, its end, and that nothing of it is left. */
#include "guest_client.h"

#include <sys/stat.h>

static struct outcome *fresh(void)
{
	static struct outcome r;

	memset(&r, 0, sizeof(r));
	return &r;
}

static struct outcome *run_sh(const char *line)
{
	struct guest g = GUEST_SH(line);
	struct outcome *r = fresh();

	guest_finish(&g, r);
	return r;
}

/* Whether a process lives whose environment has MARK; waits for it to go for a moment. */
static bool lives(const char *mark)
{
	char line[300];

	snprintf(line, sizeof(line),
		 "for i in 1 2 3 4 5; do grep -alz '^MARK=%s$' /proc/[0-9]*/environ 2>/dev/null | "
		 "grep -qv /proc/$$/ || exit 1; sleep 0.1; done",
		 mark);
	return system(line) == 0;
}

static void streams_are_separate_and_statuses_pass(void)
{
	struct outcome *r = run_sh("echo out; echo err >&2; exit 7");

	CHECK_STR(r->out, "out\n");
	CHECK_STR(r->err, "err\n");
	CHECK_EQ(r->exit.how, PROTO_EXITED);
	CHECK_EQ(r->exit.value, 7);
	r = run_sh("kill -TERM $$");
	CHECK_EQ(r->exit.how, PROTO_SIGNALLED);
	CHECK_EQ(r->exit.value, SIGTERM);
	CHECK_EQ(proto_exit_status(&r->exit), 143);
}

static void what_cannot_be_executed_is_told_apart(void)
{
	static const struct {
		const char *argv[6];
		int how, value, status;
	} cases[] = {
	    {{"--", "no-such-program"}, PROTO_NOT_FOUND, ENOENT, 127},
	    {{"--", "/no/such/program"}, PROTO_NOT_FOUND, ENOENT, 127},
	    {{"--", "/etc/passwd/x"}, PROTO_NOT_FOUND, ENOTDIR, 127},
	    {{"--", "/etc/passwd"}, PROTO_NOT_EXEC, EACCES, 126},
	    {{"--", "/etc"}, PROTO_NOT_EXEC, EACCES, 126},
	    {{"-C", "/no/such/dir", "--", "true"}, PROTO_NO_CWD, ENOENT, 125},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest g = guest_start(cases[i].argv);
		struct outcome *r = fresh();

		guest_finish(&g, r);
		CHECK(!r->started);
		CHECK_EQ(r->exit.how, cases[i].how);
		CHECK_EQ(r->exit.value, cases[i].value);
		CHECK_EQ(proto_exit_status(&r->exit), cases[i].status);
	}
}

static void the_directory_and_pwd_are_what_was_asked(void)
{
	struct guest g = GUEST("-C", "/usr", "-P", "/home/me/box/usr", "--", "/bin/sh", "-c",
			       "/bin/pwd -P; tr '\\0' '\\n' < /proc/$$/environ | grep ^PWD");
	struct outcome *r = fresh();

	guest_finish(&g, r);
	CHECK_STR(r->out, "/usr\nPWD=/home/me/box/usr\n");
}

static void input_is_binary_and_ends_alone(void)
{
	struct guest g = GUEST("--", "cat");
	struct outcome *r = fresh();
	char bytes[256];

	for (int i = 0; i < 256; i++)
		bytes[i] = i;
	for (int i = 0; i < 16; i++)
		guest_send(&g, PROTO_STDIN, bytes, sizeof(bytes));
	guest_send(&g, PROTO_STDIN_EOF, NULL, 0);
	guest_finish(&g, r);
	CHECK_EQ(r->exit.value, 0);
	CHECK_EQ(r->out_len, 16 * 256);
	for (size_t i = 0; i < r->out_len; i++)
		CHECK_EQ((unsigned char)r->out[i], i % 256);
}

static void output_after_the_end_of_input_arrives(void)
{
	struct guest g = GUEST_SH("cat >/dev/null; sleep 0.2; echo late");
	struct outcome *r = fresh();

	guest_send(&g, PROTO_STDIN_EOF, NULL, 0);
	guest_finish(&g, r);
	CHECK_STR(r->out, "late\n");
}

static void a_signal_reaches_the_group_past_input_that_nobody_reads(void)
{
	struct guest g =
	    GUEST_SH("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
	struct outcome *r = fresh();
	char chunk[PROTO_MAX_PAYLOAD] = {0};

	guest_expect(&g, r, "ready");
	for (int i = 0; i < PROTO_STDIN_WINDOW / PROTO_MAX_PAYLOAD; i++)
		guest_send(&g, PROTO_STDIN, chunk, sizeof(chunk));
	guest_signal(&g, SIGTERM);
	guest_finish(&g, r);
	CHECK_STR(r->out, "ready\ngot\n");
	CHECK_EQ(r->exit.value, 3);
}

static void sigpipe_and_the_mask_are_as_a_login_would_have_them(void)
{
	struct outcome *r = run_sh("grep -E '^Sig(Blk|Ign)' /proc/self/status");

	CHECK_STR(r->out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void the_command_has_no_descriptors_but_its_three(void)
{
	struct outcome *r = run_sh("ls /proc/$$/fd | tr '\\n' ' '");

	CHECK(strncmp(r->out, "0 1 2 ", 6) == 0);
	CHECK(r->out_len <= 9); /* a shell may keep its script's descriptor at 10 */
}

static void credit_is_given_for_what_was_read(void)
{
	struct guest g = GUEST_SH("head -c 2000000 >/dev/null; echo done");
	struct outcome *r = fresh();
	static char chunk[50000];
	size_t sent = 0;

	while (sent < 2000000) {
		while (sent + sizeof(chunk) > PROTO_STDIN_WINDOW + r->credit)
			CHECK(guest_next(&g, r, 10000) != 0);
		guest_send(&g, PROTO_STDIN, chunk, sizeof(chunk));
		sent += sizeof(chunk);
	}
	guest_finish(&g, r);
	CHECK_STR(r->out, "done\n");
	CHECK(r->credit <= sent);
}

/* Children that ran away: a new session each, their parents gone, and one deaf to TERM. */
#define RUNAWAYS                                                                                   \
	"(setsid sh -c '(sleep 1000 & sleep 1001 &) ; exec sleep 1002' &) ; "                      \
	"setsid sh -c \"trap '' TERM HUP INT; while :; do sleep 1; done\" & "

static void the_timeout_kills_all_and_keeps_what_was_printed(void)
{
	struct guest g;
	struct outcome *r = fresh();
	uint64_t start = test_ms();

	setenv("MARK", "timeout", 1);
	g = GUEST("-T", "500", "--", "/bin/sh", "-c", RUNAWAYS "echo partial; exec sleep 100");
	guest_finish(&g, r);
	CHECK(test_ms() - start < 10000);
	CHECK_EQ(r->exit.timed_out, 1);
	CHECK_EQ(proto_exit_status(&r->exit), 124);
	CHECK_STR(r->out, "partial\n");
	unsetenv("MARK");
	CHECK(!lives("timeout"));
}

static void a_timeout_that_is_obeyed_is_quick(void)
{
	struct guest g = GUEST("-T", "300", "--", "sleep", "100");
	struct outcome *r = fresh();
	uint64_t start = test_ms();

	guest_finish(&g, r);
	CHECK(test_ms() - start < 2200); /* less than the grace */
	CHECK_EQ(r->exit.how, PROTO_SIGNALLED);
	CHECK_EQ(proto_exit_status(&r->exit), 124);
}

static void the_daemons_end_kills_all(void)
{
	struct guest g;
	struct outcome *r = fresh();
	int status;

	setenv("MARK", "gone", 1);
	g = GUEST_SH(RUNAWAYS "echo ready; exec sleep 100");
	unsetenv("MARK");
	guest_expect(&g, r, "ready");
	close(g.in);
	CHECK_EQ(waitpid(g.pid, &status, 0), g.pid);
	CHECK(!lives("gone"));
	close(g.out);
}

/* Even where the input is not read, because the command does not read it. */
static void the_daemons_end_is_seen_behind_a_full_queue(void)
{
	struct guest g;
	struct outcome *r = fresh();
	char chunk[4096] = {0};
	int status, full = 0;

	setenv("MARK", "full", 1);
	g = GUEST_SH("echo ready; exec sleep 100");
	unsetenv("MARK");
	guest_expect(&g, r, "ready");
	fcntl(g.in, F_SETFL, O_NONBLOCK);
	while (full < 20) {
		uint8_t header[PROTO_HEADER];

		proto_put_header(header, PROTO_STDIN, sizeof(chunk));
		if (write(g.in, header, sizeof(header)) < 0 ||
		    write(g.in, chunk, sizeof(chunk)) < 0) {
			full++;
			usleep(10000);
		}
	}
	close(g.in);
	CHECK_EQ(waitpid(g.pid, &status, 0), g.pid);
	CHECK(!lives("full"));
	close(g.out);
}

static void what_is_left_in_the_background_lives_on_and_may_write(void)
{
	char dir[] = "/tmp/aib-test-XXXXXX", go[64], wrote[64];
	struct outcome *r;

	CHECK(mkdtemp(dir));
	snprintf(go, sizeof(go), "%s/go", dir);
	snprintf(wrote, sizeof(wrote), "%s/wrote", dir);
	setenv("MARK", "background", 1);
	setenv("DIR", dir, 1);
	r = run_sh(
	    "(while [ ! -e $DIR/go ]; do sleep 0.05; done; echo x; echo y; mkdir $DIR/wrote) & "
	    "echo front");
	unsetenv("MARK");
	CHECK_STR(r->out, "front\n");
	CHECK_EQ(r->exit.value, 0);
	CHECK(lives("background"));
	CHECK_EQ(mkdir(go, 0700), 0);
	for (int i = 0; i < 200 && access(wrote, F_OK) < 0; i++)
		usleep(50000);
	CHECK_EQ(rmdir(wrote), 0);
	CHECK(!lives("background")); /* nor does what read its output */
	CHECK_EQ(rmdir(go), 0);
	CHECK_EQ(rmdir(dir), 0);
}

static void a_childs_late_output_is_waited_for_shortly(void)
{
	struct outcome *r = run_sh("(sleep 0.02; echo late) & echo early");

	CHECK_STR(r->out, "early\nlate\n");
}

static void a_flood_with_a_slow_reader_does_not_grow_the_guest(void)
{
	struct guest g = GUEST("--", "yes");
	struct outcome *r = fresh();
	char path[64], line[256];
	long kib = 0;
	FILE *f;

	sleep(1);
	for (int i = 0; i < 100; i++)
		CHECK(guest_next(&g, r, 10000) != 0);
	usleep(200000);
	snprintf(path, sizeof(path), "/proc/%d/status", g.pid);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "RssAnon: %ld", &kib);
	fclose(f);
	CHECK(kib > 0 && kib < GUEST_MAX_KIB);
	guest_signal(&g, SIGPIPE);
	guest_finish(&g, r);
	CHECK_EQ(r->exit.how, PROTO_SIGNALLED);
	CHECK_EQ(r->exit.value, SIGPIPE);
}

static void all_that_was_written_before_the_end_arrives(void)
{
	struct guest g = GUEST_SH("sleep 1000 & head -c 300000 /dev/zero; kill $!");
	struct outcome *r = fresh();

	sleep(1);
	guest_finish(&g, r);
	CHECK_EQ(r->out_len, 300000);
}

static void a_terminal_has_its_size_and_is_resized(void)
{
	struct guest g = GUEST(
	    "-t", "33x111", "--", "/bin/sh", "-c",
	    "test -t 0 && test -t 1 && test -t 2 && stty size; trap 'stty size; exit 4' WINCH; "
	    "echo ready; while :; do sleep 0.05; done");
	struct outcome *r = fresh();
	uint8_t size[4] = {50, 0, 200, 0};

	guest_expect(&g, r, "ready");
	CHECK(strstr(r->out, "33 111\r\n"));
	guest_send(&g, PROTO_WINSIZE, size, sizeof(size));
	guest_finish(&g, r);
	CHECK(strstr(r->out, "50 200\r\n"));
	CHECK_EQ(r->exit.value, 4);
}

static void a_terminals_interrupt_ends_what_runs_in_it(void)
{
	struct guest g =
	    GUEST("-t", "24x80", "--", "/bin/sh", "-c", "echo ready; cat; echo not here");
	struct outcome *r = fresh();

	guest_expect(&g, r, "ready");
	guest_send(&g, PROTO_STDIN, "hi\n", 3);
	guest_expect(&g, r, "hi\r\nhi");
	guest_send(&g, PROTO_STDIN_EOF, NULL, 0); /* means nothing to a terminal */
	guest_send(&g, PROTO_STDIN, "\003", 1);
	guest_finish(&g, r);
	CHECK_EQ(r->exit.how, PROTO_SIGNALLED);
	CHECK_EQ(r->exit.value, SIGINT);
	CHECK(!strstr(r->out, "not here"));
}

static void no_zombie_stays_while_a_command_runs(void)
{
	struct outcome *r =
	    run_sh("for i in 1 2 3 4 5; do (sleep 0.05 & ) ; done; sleep 0.4; "
		   "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | while read f; do "
		   "grep -q \"^PPid:.$PPID$\" $f 2>/dev/null && echo zombie; done; exit 0");

	CHECK_STR(r->out, "");
}

static void wrong_frames_end_it(void)
{
	static const uint8_t bad[][16] = {
	    {255, 255, 255, 255, PROTO_STDIN, 0, 0, 0},
	    {0, 0, 0, 0, PROTO_STDIN, 1, 0, 0},
	    {0, 0, 0, 0, 99, 0, 0, 0},
	    {0, 0, 0, 0, PROTO_EXIT, 0, 0, 0},
	    {1, 0, 0, 0, PROTO_SIGNAL, 0, 0, 0, 200},
	    {2, 0, 0, 0, PROTO_WINSIZE, 0, 0, 0, 1, 1},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct guest g = GUEST("--", "sleep", "100");
		struct outcome *r = fresh();
		int status;

		CHECK_EQ(guest_next(&g, r, 10000), PROTO_STARTED);
		CHECK_EQ(write(g.in, bad[i], sizeof(bad[i])), (ssize_t)sizeof(bad[i]));
		CHECK_EQ(guest_next(&g, r, 10000), 0);
		CHECK_EQ(waitpid(g.pid, &status, 0), g.pid);
		CHECK_EQ(status, 0);
		close(g.in);
		close(g.out);
	}
}

static void random_frames_never_crash_it(void)
{
	srand(1);
	for (int i = 0; i < 60; i++) {
		struct guest g = GUEST("-t", "5x5", "--", "cat");
		struct outcome *r = fresh();
		uint8_t noise[4096];
		int status;

		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = rand() % 4 ? 0 : rand() % 32;
		/* Mostly well-formed headers, so that the payloads are reached. */
		for (int k = 0; k < 10; k++) {
			uint8_t type = 1 + rand() % 6, len = rand() % 64, sig = SIGWINCH;

			if (type == PROTO_SIGNAL && rand() % 8)
				guest_signal(&g, sig);
			else if (type == PROTO_STDIN || rand() % 8 == 0)
				guest_send(&g, type, noise, len);
		}
		if (write(g.in, noise, sizeof(noise)) < 0)
			CHECK_EQ(errno, EPIPE);
		close(g.in);
		while (guest_next(&g, r, 10000) != 0)
			;
		CHECK_EQ(waitpid(g.pid, &status, 0), g.pid);
		CHECK_EQ(status, 0);
		close(g.out);
	}
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	streams_are_separate_and_statuses_pass();
	what_cannot_be_executed_is_told_apart();
	the_directory_and_pwd_are_what_was_asked();
	input_is_binary_and_ends_alone();
	output_after_the_end_of_input_arrives();
	a_signal_reaches_the_group_past_input_that_nobody_reads();
	sigpipe_and_the_mask_are_as_a_login_would_have_them();
	the_command_has_no_descriptors_but_its_three();
	credit_is_given_for_what_was_read();
	the_timeout_kills_all_and_keeps_what_was_printed();
	a_timeout_that_is_obeyed_is_quick();
	the_daemons_end_kills_all();
	the_daemons_end_is_seen_behind_a_full_queue();
	what_is_left_in_the_background_lives_on_and_may_write();
	a_childs_late_output_is_waited_for_shortly();
	a_flood_with_a_slow_reader_does_not_grow_the_guest();
	all_that_was_written_before_the_end_arrives();
	a_terminal_has_its_size_and_is_resized();
	a_terminals_interrupt_ends_what_runs_in_it();
	no_zombie_stays_while_a_command_runs();
	wrong_frames_end_it();
	random_frames_never_crash_it();
	return 0;
}
