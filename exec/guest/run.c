/*
 * One command, its frames, and its end. A single loop over poll(2) with fixed buffers. What ends
 * a command:
 *
 *   it ends by itself    what it wrote is read, late output of its children is waited for shortly,
 *                        EXIT is sent, and its background processes live on
 *   the timeout          TERM to the whole tree, KILL after a grace; then the same as above
 *   the daemon goes      KILL to the whole tree; of a job nothing: somebody may attach (job.h),
 *                        and until then its output is kept as far as it fits
 *   KILL                 as at the timeout, or without the grace
 */
#include "guest.h"

#include "command.h"
#include "run_state.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define CREDIT_STEP 65536 /* consumed input is given back in pieces of at least this */

struct run run = {
    .link = {STDIN_FILENO, STDOUT_FILENO, -1},
    .door = {-1, -1, -1},
    .sources = {{-1, PROTO_STDOUT, NULL, 0}, {-1, PROTO_STDERR, NULL, 0}},
};

static uint8_t stdin_data[PROTO_STDIN_WINDOW + PROTO_MAX_PAYLOAD];
static uint8_t out_data[4 * PUMP_CHUNK];
struct pump_queue to_command = {stdin_data, sizeof(stdin_data), 0, 0};
struct pump_queue to_daemon = {out_data, sizeof(out_data), 0, 0};
struct pump_input from_daemon;
struct kept kept[2];

/* ---- Frames from the daemon ---- */

static void tell_started(void)
{
	run.started = true;
	if (run_is_linked())
		pump_frame(&to_daemon, PROTO_STARTED, NULL, 0);
}

/* The first word of a new daemon: where each side goes on. */
static void attached(const uint8_t *stored)
{
	uint8_t answer[PROTO_ATTACHED_SIZE];

	run.link_new = false;
	run.credit = 0;
	proto_put_u64(answer, run.stdin_came);
	proto_put_u64(answer + 8, run.stdin_used + PROTO_STDIN_WINDOW);
	for (int i = 0; i < 2; i++) {
		kept_rewind(&kept[i], proto_get_u64(stored + 8 * i));
		proto_put_u64(answer + 16 + 8 * i, kept[i].sent);
	}
	pump_frame(&to_daemon, PROTO_ATTACHED, answer, sizeof(answer));
	if (run.started)
		tell_started();
}

/* What is said of jobs alone. */
static int take_job_frame(const struct proto_header *h, const uint8_t *payload)
{
	switch (h->type) {
	case PROTO_ATTACH:
		if (h->len != PROTO_ATTACH_SIZE || !run.link_new)
			return -EPROTO;
		attached(payload);
		return 0;
	case PROTO_ACK:
		if (h->len != PROTO_ATTACH_SIZE)
			return -EPROTO;
		kept_ack(&kept[0], proto_get_u64(payload));
		kept_ack(&kept[1], proto_get_u64(payload + 8));
		return 0;
	case PROTO_DONE:
		run.exit_stored = run.exit_sent;
		return 0;
	case PROTO_KILL:
		if (h->len != 1 || payload[0] > 1)
			return -EPROTO;
		run_enter_phase(payload[0] ? KILLING : TERMINATING);
		return 0;
	default:
		return -EPROTO;
	}
}

static uint16_t get_u16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static int take_frame(const struct proto_header *h, const uint8_t *payload)
{
	if (run.link_new && h->type != PROTO_ATTACH)
		return -EPROTO;
	switch (h->type) {
	case PROTO_STDIN:
		run.stdin_came += h->len;
		/* Dropped without credit where nobody will read it: the sender stops by itself. */
		if (run.child.in >= 0 && !run.stdin_ended)
			pump_add(&to_command, payload, h->len);
		return 0;
	case PROTO_STDIN_EOF:
		if (!run.options.conf.tty)
			run.stdin_ended = true;
		return 0;
	case PROTO_SIGNAL:
		if (h->len != 1 || payload[0] < 1 || payload[0] > 64)
			return -EPROTO;
		/* The group exists once the child has made it; until then it is the child alone. */
		if (!run.ended && kill(-run.child.pid, payload[0]) < 0 && errno == ESRCH)
			kill(run.child.pid, payload[0]);
		return 0;
	case PROTO_CLOSE:
		if (h->len != 1 || payload[0] < 1 || payload[0] > 2)
			return -EPROTO;
		/* The command gets SIGPIPE, as from any reader that went. */
		if (!run.options.conf.tty)
			run_close_source(&run.sources[payload[0] - 1]);
		return 0;
	case PROTO_WINSIZE:
		if (h->len != 4)
			return -EPROTO;
		if (run.options.conf.tty && run.child.in >= 0)
			spawn_resize(run.child.in, get_u16(payload), get_u16(payload + 2));
		return 0;
	default:
		return run.options.job ? take_job_frame(h, payload) : -EPROTO;
	}
}

static bool may_take_frames(void)
{
	return pump_room(&to_command) >= PROTO_MAX_PAYLOAD;
}

static void read_frames(void)
{
	const uint8_t *payload;
	struct proto_header h;
	int r = 1;

	while (r > 0 && may_take_frames()) {
		r = pump_input(&from_daemon, run.link.in, &h, &payload);
		if (r > 0 && take_frame(&h, payload) < 0)
			r = -EPROTO;
	}
	if (r > 0 || r == -EAGAIN)
		return;
	if (r == -EPROTO)
		fprintf(stderr, "aib-guest: run: not a frame that belongs here\n");
	run_stream_end();
}

/* ---- Bytes ---- */

static void write_stdin(void)
{
	ssize_t n = pump_write(&to_command, run.child.in);

	if (n < 0) {
		to_command.len = 0;
		run_close_fd(&run.child.in);
	} else {
		run.credit += n;
		run.stdin_used += n;
	}
}

static void give_credit(void)
{
	uint8_t n[4] = {run.credit, run.credit >> 8, run.credit >> 16, run.credit >> 24};

	/* STARTED comes before all else. */
	if (run.credit < CREDIT_STEP || run.output_broken || run.child.failed >= 0 ||
	    !run_is_linked() || pump_room(&to_daemon) < PUMP_SPARE)
		return;
	pump_frame(&to_daemon, PROTO_CREDIT, n, sizeof(n));
	run.credit = 0;
}

static void read_output(struct source *s)
{
	ssize_t n;

	if (run.output_broken)
		to_daemon.len = 0;
	if (s->kept && !run.output_broken)
		n = kept_read(s->kept, s->fd);
	else
		n = pump_read(&to_daemon, s->type, s->fd, PUMP_CHUNK);
	if (n == -EAGAIN) {
		s->owed = 0;
		return;
	}
	/* A terminal ends with EIO: its other side is closed. */
	if (n <= 0) {
		run_close_source(s);
		return;
	}
	run.last_output = run_now_ms();
	s->owed -= (size_t)n < s->owed ? (size_t)n : s->owed;
}

static void read_failure(void)
{
	struct spawn_failure f;
	ssize_t n = read(run.child.failed, &f, sizeof(f));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == sizeof(f)) {
		run.exit.how = f.how;
		run.exit.value = f.error;
		memcpy(run.why, f.why, sizeof(run.why));
	} else if (n == 0) {
		tell_started();
	}
	run_close_fd(&run.child.failed);
}

/* ---- The loop ---- */

enum { P_INPUT, P_OUTPUT, P_SIGNALS, P_STDIN, P_OUT, P_ERR, P_FAILED, P_DOOR, P_LINE, P_COUNT };

static void want(struct pollfd *p, int fd, short events)
{
	*p = (struct pollfd){.fd = fd, .events = events};
}

static bool has_room(const struct source *s)
{
	if (run.output_broken)
		return true;
	return s->kept ? kept_has_room(s->kept) : pump_has_room(&to_daemon);
}

static void prepare(struct pollfd *p)
{
	/* Not read, the input still tells of its end. */
	want(&p[P_INPUT], run.input_ended ? -1 : run.link.in,
	     may_take_frames() ? POLLIN : POLLRDHUP);
	want(&p[P_OUTPUT], run.output_broken ? -1 : run.link.out, to_daemon.len ? POLLOUT : 0);
	want(&p[P_SIGNALS], run.signals, POLLIN);
	want(&p[P_STDIN], to_command.len ? run.child.in : -1, POLLOUT);
	for (int i = 0; i < 2; i++)
		want(&p[P_OUT + i],
		     has_room(&run.sources[i]) && run.child.failed < 0 ? run.sources[i].fd : -1,
		     POLLIN);
	want(&p[P_FAILED], run.child.failed, POLLIN);
	want(&p[P_DOOR], run.door.listener, POLLIN);
	want(&p[P_LINE], run.door.line, POLLIN);
}

static int wait_ms(uint64_t now)
{
	bool drains = run.ended && !run.exit_sent && run_is_linked();
	uint64_t at = now + 60000;

	if (run.timeout_at && !run.ended && run.timeout_at < at)
		at = run.timeout_at;
	if (run.give_up_at && run.link.in < 0 && run.give_up_at < at)
		at = run.give_up_at;
	if (run.phase != RUNNING && !run.reaped_all && run.kill_at < at)
		at = run.kill_at;
	if (drains && run.last_output + DRAIN_QUIET_MS < at)
		at = run.last_output + DRAIN_QUIET_MS;
	if (drains && run.ended_at + DRAIN_LIMIT_MS < at)
		at = run.ended_at + DRAIN_LIMIT_MS;
	/* What is late already waits for something else: a reader of our output. */
	return at > now ? at - now : KILL_AGAIN_MS;
}

/* Somebody attaches: whoever was there before is told nothing more. */
static void take_over(void)
{
	struct link link;

	if (!door_take(&run.door, &link))
		return;
	run_link_end();
	run.link = link;
	run.link_new = true;
}

static void handle(const struct pollfd *p)
{
	if (p[P_FAILED].revents)
		read_failure();
	if (p[P_OUTPUT].revents & (POLLERR | POLLHUP | POLLNVAL) ||
	    (p[P_OUTPUT].revents & POLLOUT && pump_write(&to_daemon, run.link.out) < 0))
		run_stream_end();
	if (run.link.in >= 0 && p[P_INPUT].revents & POLLIN)
		read_frames();
	else if (run.link.in >= 0 && p[P_INPUT].revents)
		run_stream_end();
	if (p[P_STDIN].revents && run.child.in >= 0)
		write_stdin();
	if (run.stdin_ended && to_command.len == 0 && !run.options.conf.tty)
		run_close_fd(&run.child.in);
	for (int i = 0; i < 2; i++)
		if (p[P_OUT + i].revents && run.sources[i].fd >= 0 && has_room(&run.sources[i]))
			read_output(&run.sources[i]);
	/* After the output: what was written before the end comes before it. */
	if (p[P_SIGNALS].revents)
		run_handle_signals();
	if (p[P_DOOR].revents || p[P_LINE].revents)
		take_over();
	for (int i = 0; i < 2; i++)
		if (run.sources[i].kept && run.child.failed < 0 && run_is_linked())
			kept_send(run.sources[i].kept, run.sources[i].type, &to_daemon);
	give_credit();
}

static void send_end(void)
{
	uint8_t payload[PROTO_EXIT_SIZE];
	char words[PUMP_SPARE - PROTO_HEADER];

	if (*run.why) {
		snprintf(words, sizeof(words), "the command was not started: %.200s", run.why);
		pump_frame(&to_daemon, PROTO_ERROR, words, strlen(words));
	} else {
		proto_put_exit(payload, &run.exit);
		pump_frame(&to_daemon, PROTO_EXIT, payload, sizeof(payload));
	}
	run.exit_sent = true;
}

static bool may_send_end(uint64_t now)
{
	return run.ended && run.child.failed < 0 && !run.exit_sent && run_is_linked() &&
	       run_tree_done(now) && run_drained(now) && pump_room(&to_daemon) >= PUMP_SPARE;
}

/* Returns when EXIT was sent, and stored where it is a job's, or nobody is there to send it to. */
static void loop(void)
{
	struct pollfd p[P_COUNT];

	for (;;) {
		uint64_t now = run_now_ms();

		run_handle_time(now);
		if (may_send_end(now))
			send_end();
		if (run.exit_sent && to_daemon.len == 0 && (!run.options.job || run.exit_stored))
			return;
		if (run.output_broken && run_tree_done(now) && (run.ended || run.phase == KILLING))
			return;
		prepare(p);
		if (poll(p, P_COUNT, wait_ms(now)) > 0)
			handle(p);
	}
}

/*
 * Background processes may still write to the command's output: somebody reads it until they end,
 * or they would die of SIGPIPE.
 */
static void keep_reading(void)
{
	struct pollfd p[2] = {{run.sources[0].fd, POLLIN, 0}, {run.sources[1].fd, POLLIN, 0}};
	sigset_t none;

	if (run.options.conf.tty || run.reaped_all || (p[0].fd < 0 && p[1].fd < 0) || fork() != 0)
		return;
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") < 0)
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		for (int i = 0; i < 2; i++)
			if (p[i].fd >= 0 && p[i].revents &&
			    read(p[i].fd, out_data, sizeof(out_data)) == 0)
				p[i].fd = -1;
	}
	_exit(0);
}

/* An engine waits for all that may write to its exec: a job must not hold on to that. */
static int leave_stderr(void)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0 || dup2(fds[1], STDERR_FILENO) < 0)
		return -errno;
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static int set_up_job(void)
{
	int r = door_open(&run.door, run.options.job);

	if (r == 0)
		r = leave_stderr();
	for (int i = 0; i < 2; i++)
		run.sources[i].kept = &kept[i];
	return r;
}

static int set_up(void)
{
	sigset_t set;
	int r;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* ignored by who started us, children would leave no status */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run.signals < 0)
		return -errno;
	for (int fd = 0; fd < 2; fd++)
		if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
			return -errno;
	r = tree_init();
	if (r == 0 && run.options.job)
		r = set_up_job();
	if (r == 0)
		r = spawn(&run.options.conf, &run.child);
	if (r < 0)
		return r;
	if (run.options.timeout_ms)
		run.timeout_at = run_now_ms() + run.options.timeout_ms;
	run.sources[0].fd = run.child.out;
	run.sources[1].fd = run.child.err;
	return 0;
}

int guest_run(int argc, char **argv)
{
	int r = run_options_parse(argc, argv, &run.options);

	if (r)
		return r;
	r = set_up();
	if (r < 0) {
		/* No child: the answer is all there is left to send. */
		run.child = (struct spawned){-1, -1, -1, -1, -1};
		run.ended = run.reaped_all = true;
		run.exit.how = PROTO_FAILED;
		run.exit.value = -r;
		fprintf(stderr, "aib-guest: run: %s\n", strerror(-r));
	}
	loop();
	keep_reading();
	return 0;
}

/* What `run` is to be told comes on standard input, before the frames. */
int guest_next(int argc, char **argv)
{
	if (argc > 0) {
		fprintf(stderr, "aib-guest next: takes no argument\n");
		return GUEST_USAGE;
	}
	argc = command_receive(STDIN_FILENO, &argv);
	if (argc == -EPIPE)
		return 0;
	if (argc < 0 || strcmp(argv[1], "run") != 0) {
		fprintf(stderr, "aib-guest next: %s\n", strerror(argc < 0 ? -argc : EINVAL));
		return GUEST_USAGE;
	}
	return guest_run(argc - 2, argv + 2);
}
