/* `aib-guest run -j`: a job whose stream is lost, and taken over by `aib-guest attach`. */
#include "guest_client.h"

static struct outcome seen;

/* WORD as a job's id: of this process alone. */
static const char *id(const char *word)
{
	static char ids[8][32];
	static unsigned last;
	char *s = ids[last++ % 8];

	snprintf(s, sizeof(ids[0]), "%x%s", getpid(), word);
	return s;
}

static struct outcome *fresh(void)
{
	memset(&seen, 0, sizeof(seen));
	return &seen;
}

static void drop(struct guest *g)
{
	close(g->in);
	close(g->out);
}

static void send_stored(const struct guest *g, uint8_t type, uint64_t out, uint64_t err)
{
	uint8_t payload[PROTO_ATTACH_SIZE];

	proto_put_u64(payload, out);
	proto_put_u64(payload + 8, err);
	guest_send(g, type, payload, sizeof(payload));
}

static struct guest attach(const char *job, uint64_t out, uint64_t err, struct outcome *r)
{
	struct guest g = guest_start_verb("attach", (const char *const[]){job, NULL});

	send_stored(&g, PROTO_ATTACH, out, err);
	CHECK_EQ(guest_next(&g, r, 10000), PROTO_ATTACHED);
	return g;
}

/* DONE, and then both processes end. */
static void finish(struct guest *job, struct guest *link, struct outcome *r)
{
	int status;

	while (!r->exited)
		CHECK(guest_next(link, r, 20000) != 0);
	guest_send(link, PROTO_DONE, NULL, 0);
	CHECK_EQ(waitpid(job->pid, &status, 0), job->pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(guest_next(link, r, 10000), 0);
	if (link != job) {
		CHECK_EQ(waitpid(link->pid, &status, 0), link->pid);
		CHECK_EQ(status, 0);
	}
	drop(link);
}

static bool ended(pid_t pid)
{
	usleep(300000);
	return waitpid(pid, NULL, WNOHANG) != 0;
}

/* Six digits and a newline each: any part of it tells its place. */
#define COUNT "seq -w 1 120000"

static void check_count(const char *data, uint64_t from, size_t len)
{
	char line[16];

	for (size_t i = 0; i < len; i++) {
		snprintf(line, sizeof(line), "%06u\n", (unsigned)((from + i) / 7 + 1));
		CHECK_EQ(data[i], line[(from + i) % 7]);
	}
}

static void no_byte_is_lost_or_doubled_when_the_daemon_goes(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("a1"), "--", "/bin/sh", "-c", COUNT "; exit 5"), link;
	uint64_t stored = 0;

	while (r->out_len < 100000)
		CHECK(guest_next(&job, r, 10000) != 0);
	send_stored(&job, PROTO_ACK, 70000, 0);
	check_count(r->out, 0, r->out_len);
	drop(&job);
	/* What is stored may be more than what is acknowledged. */
	stored = 90000;
	for (int i = 0; i < 5; i++) {
		r = fresh();
		link = attach(id("a1"), stored, 0, r);
		CHECK_EQ(r->attached[2], stored);
		while (r->out_len < 100000)
			CHECK(guest_next(&link, r, 10000) != 0);
		CHECK(r->started);
		check_count(r->out, stored, r->out_len);
		if (i % 2)
			send_stored(&link, PROTO_ACK, stored + r->out_len, 0);
		stored += i % 2 ? r->out_len : 0;
		drop(&link);
		CHECK_EQ(waitpid(link.pid, NULL, 0), link.pid);
	}
	r = fresh();
	link = attach(id("a1"), stored, 0, r);
	while (!r->exited) {
		CHECK(guest_next(&link, r, 10000) != 0);
		send_stored(&link, PROTO_ACK, stored + r->out_len, 0);
	}
	check_count(r->out, stored, r->out_len);
	CHECK_EQ(stored + r->out_len, 120000 * 7);
	CHECK_EQ(r->exit.value, 5);
	finish(&job, &link, r);
}

static void what_nobody_stores_holds_the_command_up_and_nothing_grows(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("a2"), "--", "/bin/sh", "-c", COUNT " >&2");
	uint64_t got;

	got = 0;
	/* The window, and nothing beyond it. */
	while (got < PROTO_JOB_WINDOW) {
		CHECK(guest_next(&job, r, 10000) != 0);
		got += r->err_len;
		r->err_len = 0;
	}
	CHECK_EQ(got, PROTO_JOB_WINDOW);
	CHECK_EQ(poll(&(struct pollfd){job.out, POLLIN, 0}, 1, 200), 0);
	CHECK(!ended(job.pid));
	for (;;) {
		send_stored(&job, PROTO_ACK, 0, got);
		if (guest_next(&job, r, 10000) == PROTO_EXIT)
			break;
		got += r->err_len;
		r->err_len = 0;
	}
	CHECK_EQ(got, 120000 * 7);
	finish(&job, &job, r);
}

static void the_end_is_told_until_it_is_stored(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("a3"), "--", "/bin/sh", "-c", "echo x; kill -9 $$"), link;

	while (!r->exited)
		CHECK(guest_next(&job, r, 10000) != 0);
	drop(&job);
	CHECK(!ended(job.pid));
	for (int i = 0; i < 2; i++) {
		r = fresh();
		link = attach(id("a3"), i, 0, r);
		while (!r->exited)
			CHECK(guest_next(&link, r, 10000) != 0);
		CHECK_EQ(r->exit.how, PROTO_SIGNALLED);
		CHECK_EQ(r->exit.value, SIGKILL);
		CHECK_EQ(r->out_len, 2 - i);
		if (i == 0)
			drop(&link);
	}
	finish(&job, &link, r);
}

static void the_newest_stream_counts(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("a4"), "--", "cat"), first, second;

	CHECK_EQ(guest_next(&job, r, 10000), PROTO_STARTED);
	first = attach(id("a4"), 0, 0, r);
	/* The one before is told that it is over. */
	CHECK_EQ(guest_next(&job, r, 10000), 0);
	second = attach(id("a4"), 0, 0, fresh());
	CHECK_EQ(guest_next(&first, r, 10000), PROTO_STARTED);
	CHECK_EQ(guest_next(&first, r, 10000), 0);
	CHECK_EQ(waitpid(first.pid, NULL, 0), first.pid);
	guest_send(&second, PROTO_STDIN, "hello\n", 6);
	guest_send(&second, PROTO_STDIN_EOF, NULL, 0);
	r = fresh();
	finish(&job, &second, r);
	CHECK_STR(r->out, "hello\n");
	drop(&job);
	drop(&first);
}

static void input_goes_on_where_it_was(void)
{
	struct outcome *r = fresh();
	struct guest job =
			 GUEST("-j", id("a5"), "--", "/bin/sh", "-c", "head -c 4; sleep 0.5; cat"),
		     link;

	CHECK_EQ(guest_next(&job, r, 10000), PROTO_STARTED);
	guest_send(&job, PROTO_STDIN, "abcdef", 6);
	guest_expect(&job, r, "abcd");
	/* Half a frame is none. */
	CHECK_EQ(write(job.in, "\x04\0\0\0\x02\0\0\0gh", 10), 10);
	drop(&job);
	r = fresh();
	link = attach(id("a5"), 4, 0, r);
	CHECK_EQ(r->attached[0], 6);
	CHECK_EQ(r->attached[1], PROTO_STDIN_WINDOW + 6);
	guest_send(&link, PROTO_STDIN, "gh", 2);
	guest_send(&link, PROTO_STDIN_EOF, NULL, 0);
	finish(&job, &link, r);
	CHECK_STR(r->out, "efgh");
}

static void what_it_started_is_killed(uint8_t how, int sig)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("a6"), "--", "/bin/sh", "-c",
				 "setsid sleep 1000 & echo $!; wait; sleep 1000"),
		     link;
	pid_t left;

	guest_expect(&job, r, "\n");
	left = atoi(r->out);
	drop(&job);
	r = fresh();
	link = attach(id("a6"), 0, 0, r);
	CHECK_EQ(kill(left, 0), 0);
	guest_send(&link, PROTO_KILL, &how, 1);
	finish(&job, &link, r);
	CHECK_EQ(r->exit.how, PROTO_SIGNALLED);
	CHECK_EQ(r->exit.value, sig);
	CHECK(kill(left, 0) < 0 && errno == ESRCH);
}

static void signals_and_the_timeout_work_without_the_first_stream(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("a7"), "--", "sleep", "1000"), link;

	CHECK_EQ(guest_next(&job, r, 10000), PROTO_STARTED);
	drop(&job);
	link = attach(id("a7"), 0, 0, r);
	guest_signal(&link, SIGINT);
	finish(&job, &link, r);
	CHECK_EQ(r->exit.value, SIGINT);

	r = fresh();
	job = GUEST("-T", "300", "-j", id("a8"), "--", "sleep", "1000");
	CHECK_EQ(guest_next(&job, r, 10000), PROTO_STARTED);
	drop(&job);
	CHECK(!ended(job.pid));
	link = attach(id("a8"), 0, 0, r);
	finish(&job, &link, r);
	CHECK_EQ(r->exit.timed_out, 1);
}

static void a_job_that_nobody_comes_for_ends_in_the_end(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-J", "200", "-j", id("a9"), "--", "/bin/sh", "-c", COUNT " >&2");

	CHECK_EQ(guest_next(&job, r, 10000), PROTO_STARTED);
	drop(&job);
	CHECK_EQ(waitpid(job.pid, NULL, 0), job.pid);
}

static void who_attaches_to_nothing_is_told(void)
{
	struct outcome *r = fresh();
	struct guest link = guest_start_verb("attach", (const char *const[]){id("ab"), NULL});

	CHECK_EQ(guest_next(&link, r, 10000), PROTO_ERROR);
	CHECK_EQ(waitpid(link.pid, NULL, 0), link.pid);
	drop(&link);
}

static void its_term_kills_it_and_tells(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("ac"), "--", "sleep", "1000");

	CHECK_EQ(guest_next(&job, r, 10000), PROTO_STARTED);
	kill(job.pid, SIGTERM);
	finish(&job, &job, r);
	CHECK_EQ(r->exit.value, SIGKILL);
}

static void what_cannot_be_executed_is_told_to_who_attaches(void)
{
	struct outcome *r = fresh();
	struct guest job = GUEST("-j", id("ad"), "--", "/no/such"), link;

	drop(&job);
	usleep(100000);
	link = attach(id("ad"), 0, 0, r);
	finish(&job, &link, r);
	CHECK(!r->started);
	CHECK_EQ(r->exit.how, PROTO_NOT_FOUND);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		guest_path = argv[1];
	no_byte_is_lost_or_doubled_when_the_daemon_goes();
	what_nobody_stores_holds_the_command_up_and_nothing_grows();
	the_end_is_told_until_it_is_stored();
	the_newest_stream_counts();
	input_goes_on_where_it_was();
	what_it_started_is_killed(0, SIGTERM);
	what_it_started_is_killed(1, SIGKILL);
	signals_and_the_timeout_work_without_the_first_stream();
	a_job_that_nobody_comes_for_ends_in_the_end();
	who_attaches_to_nothing_is_told();
	its_term_kills_it_and_tells();
	what_cannot_be_executed_is_told_to_who_attaches();
	return 0;
}
