/*
 * One loop over poll(2). The caller's three descriptors are shared with others, so they are never
 * made non-blocking: they are read and written only when poll says so, and pipes in pieces that
 * cannot block. Input is read only for credit of the guest, so that a signal never waits behind it.
 *
 * Where the daemon hands the command's stream over, what comes from it is the sandbox's own word
 * and hostile: order, lengths and types are checked frame by frame.
 */
#include "relay.h"

#include "pass.h"
#include "pump.h"
#include "terminal.h"

#include "base/clock.h"
#include "base/printable.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

#define STOP_WAIT_MS 1000

struct relay {
	struct relay_conf conf;
	struct relay_result result;
	int fd;	       /* where frames go: the connection, or the command's own stream */
	int stream;    /* the latter; -1: the daemon relays */
	char *sandbox; /* whose it is */
	int passed;    /* a descriptor that came, for STREAM to take; -1 */
	bool done, started, input_ended, daemon_lost, closed[3];
	bool is_pipe[3];
	size_t credit;
	int signals;
	sigset_t blocked;
	uint64_t stop_by_ms; /* ^Z came before the command's start; 0: it did not */

	struct pump_queue out;
	uint8_t out_data[4 * PUMP_CHUNK];
	struct pump_input in;
	/* Output that came and is not written yet: no further frame is read meanwhile. */
	const uint8_t *pending;
	size_t pending_len;
	int pending_fd;
};

static sigset_t signal_set(void)
{
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		if (sigaction(forwarded[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, forwarded[i]);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGTSTP);
	sigaddset(&set, SIGCONT);
	return set;
}

void relay_block_stop(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

void relay_block_signals(void)
{
	sigset_t set = signal_set();

	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- Signals ---- */

static void send_signal(struct relay *r, uint8_t sig)
{
	if (pump_room(&r->out) >= PUMP_SPARE)
		pump_frame(&r->out, PROTO_SIGNAL, &sig, 1);
}

static void send_size(struct relay *r)
{
	uint16_t rows, cols;
	uint8_t size[4];

	if (!r->conf.tty || !r->started || pump_room(&r->out) < PUMP_SPARE)
		return;
	terminal_size(&rows, &cols);
	size[0] = rows;
	size[1] = rows >> 8;
	size[2] = cols;
	size[3] = cols >> 8;
	pump_frame(&r->out, PROTO_WINSIZE, size, sizeof(size));
}

/*
 * The command stops with us. Its group is an orphan in its own session, where TSTP would do
 * nothing.
 */
static void stop(struct relay *r)
{
	struct pollfd p = {.fd = r->fd, .events = POLLOUT};

	r->stop_by_ms = 0;
	if (r->started && !r->conf.tty) {
		send_signal(r, SIGSTOP);
		while (r->out.len > 0 && poll(&p, 1, 1000) == 1 && pump_write(&r->out, p.fd) >= 0)
			;
	}
	terminal_restore();
	kill(getpid(), SIGSTOP);
}

/* One that is about to start would go on without us; but a long start is not waited for. */
static void stop_when_started(struct relay *r)
{
	if (r->started)
		stop(r);
	else
		r->stop_by_ms = clock_ms() + STOP_WAIT_MS;
}

static int wait_ms(const struct relay *r)
{
	uint64_t now = clock_ms();

	if (!r->stop_by_ms)
		return -1;
	return now < r->stop_by_ms ? r->stop_by_ms - now : 0;
}

static bool stop_is_due(const struct relay *r)
{
	return r->stop_by_ms && (r->started || wait_ms(r) == 0);
}

static void resume(struct relay *r)
{
	r->stop_by_ms = 0;
	if (!r->started)
		return;
	if (r->conf.tty)
		terminal_raw();
	else
		send_signal(r, SIGCONT);
	send_size(r);
}

static void take_signal(struct relay *r, int sig)
{
	switch (sig) {
	case SIGWINCH:
		send_size(r);
		return;
	case SIGTSTP:
		stop_when_started(r);
		return;
	case SIGCONT:
		resume(r);
		return;
	default:
		if (r->started) {
			send_signal(r, sig);
			return;
		}
		r->result.end = RELAY_SIGNAL;
		r->result.signal = sig;
		r->done = true;
	}
}

static void take_signals(struct relay *r)
{
	struct signalfd_siginfo info;

	while (!r->done && read(r->signals, &info, sizeof(info)) == sizeof(info))
		take_signal(r, info.ssi_signo);
}

/* ---- Frames that come ---- */

static void end_with_text(struct relay *r, enum relay_end end, const uint8_t *text, size_t len)
{
	r->result.end = end;
	r->done = true;
	if (!r->sandbox)
		r->result.text = strndup((const char *)text, len);
	else if (asprintf(&r->result.text, "sandbox %s: %.*s", r->sandbox, (int)len,
			  (const char *)text) < 0)
		r->result.text = NULL;
	/* Words of a sandbox do not control the caller's terminal. */
	if (r->result.text)
		make_printable(r->result.text);
}

static bool may_come(const struct relay *r, uint8_t type)
{
	switch (type) {
	case PROTO_STARTED:
		return !r->started;
	case PROTO_STDOUT:
	case PROTO_STDERR:
	case PROTO_CREDIT:
		return r->started;
	case PROTO_EXIT:
		return true;
	case PROTO_ERROR:
		return r->stream < 0 || !r->started;
	default:
		return r->stream < 0 && !r->started;
	}
}

static ssize_t read_connection(struct pump_input *in, int fd, void *data, size_t size)
{
	return pass_recv(fd, data, size, &container_of(in, struct relay, in)->passed);
}

/* From here on the guest is spoken with, and the connection only watched. */
static int take_stream(struct relay *r, const uint8_t *name, size_t len)
{
	struct stat st;

	if (r->passed < 0 || fstat(r->passed, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -EPROTO;
	if (fcntl(r->passed, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r->fd = r->stream = TAKE_FD(r->passed);
	r->in.read = NULL;
	r->sandbox = strndup((const char *)name, len);
	return r->sandbox ? 0 : -ENOMEM;
}

static void started(struct relay *r)
{
	r->started = true;
	r->credit = PROTO_STDIN_WINDOW;
	if (r->conf.tty)
		terminal_raw();
	/* It may have changed since the request. */
	send_size(r);
	if (r->conf.no_stdin) {
		pump_frame(&r->out, PROTO_STDIN_EOF, NULL, 0);
		r->input_ended = true;
	}
}

static void show_progress(const uint8_t *text, size_t len)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "aib-exec: %.*s\n", (int)len, (const char *)text);
}

static int take_frame(struct relay *r, const struct proto_header *h, const uint8_t *payload)
{
	if (!may_come(r, h->type))
		return -EPROTO;
	switch (h->type) {
	case PROTO_STREAM:
		return take_stream(r, payload, h->len);
	case PROTO_STARTED:
		started(r);
		return 0;
	case PROTO_STDOUT:
	case PROTO_STDERR:
		r->pending = payload;
		r->pending_len = h->len;
		r->pending_fd = h->type == PROTO_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
		if (r->closed[r->pending_fd])
			r->pending_len = 0;
		return 0;
	case PROTO_CREDIT:
		if (h->len != 4)
			return -EPROTO;
		r->credit +=
		    payload[0] | payload[1] << 8 | payload[2] << 16 | (uint32_t)payload[3] << 24;
		return 0;
	case PROTO_EXIT:
		r->result.end = RELAY_EXIT;
		r->done = true;
		return proto_get_exit(payload, h->len, &r->result.exit);
	case PROTO_REPLY:
		end_with_text(r, RELAY_REPLY, payload, h->len);
		return 0;
	case PROTO_ERROR:
		end_with_text(r, RELAY_ERROR, payload, h->len);
		return 0;
	case PROTO_PROGRESS:
		show_progress(payload, h->len);
		return 0;
	default:
		return -EPROTO;
	}
}

static int read_frames(struct relay *r)
{
	const uint8_t *payload;
	struct proto_header h;
	int n = 1;

	while (!r->done && r->pending_len == 0) {
		n = pump_input(&r->in, r->fd, &h, &payload);
		if (n <= 0)
			return n == 0 ? -EPIPE : n == -EAGAIN ? 0 : n;
		n = take_frame(r, &h, payload);
		if (n < 0)
			return n;
	}
	return 0;
}

/* ---- The caller's descriptors ---- */

/* Nobody reads FD any more: the command is told, as a pipe would. */
static void output_closed(struct relay *r, int error)
{
	uint8_t stream = r->pending_fd;

	if (error != EPIPE && !r->result.lost_output)
		r->result.lost_output = error;
	r->closed[stream] = true;
	r->pending_len = 0;
	if (r->done || pump_room(&r->out) < PUMP_SPARE)
		return;
	if (r->conf.tty)
		send_signal(r, SIGHUP);
	else
		pump_frame(&r->out, PROTO_CLOSE, &stream, 1);
}

static void write_pending(struct relay *r)
{
	size_t n = r->pending_len;
	ssize_t done;

	if (r->is_pipe[r->pending_fd] && n > PIPE_BUF)
		n = PIPE_BUF;
	done = write(r->pending_fd, r->pending, n);
	if (done < 0 && errno != EAGAIN && errno != EINTR) {
		output_closed(r, errno);
	} else if (done > 0) {
		r->pending += done;
		r->pending_len -= done;
	}
}

static void read_input(struct relay *r)
{
	ssize_t n = pump_read(&r->out, PROTO_STDIN, STDIN_FILENO, r->credit);

	if (n == -EAGAIN)
		return;
	if (n > 0) {
		r->credit -= n;
		return;
	}
	pump_frame(&r->out, PROTO_STDIN_EOF, NULL, 0);
	r->input_ended = true;
}

/* ---- The loop ---- */

enum { P_FRAMES, P_DAEMON, P_SIGNALS, P_INPUT, P_OUTPUT, P_COUNT };

static int step(struct relay *r)
{
	bool may_read = r->started && !r->input_ended && r->credit > 0 && pump_has_room(&r->out);
	short events = (r->pending_len ? 0 : POLLIN) | (r->out.len ? POLLOUT : 0);
	struct pollfd p[P_COUNT] = {
	    [P_FRAMES] = {events ? r->fd : -1, events, 0},
	    [P_DAEMON] = {r->stream >= 0 ? r->conf.fd : -1, POLLIN, 0},
	    [P_SIGNALS] = {r->signals, POLLIN, 0},
	    [P_INPUT] = {may_read ? STDIN_FILENO : -1, POLLIN, 0},
	    [P_OUTPUT] = {r->pending_len ? r->pending_fd : -1, POLLOUT, 0},
	};
	int e = 0;

	if (poll(p, P_COUNT, wait_ms(r)) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[P_SIGNALS].revents)
		take_signals(r);
	if (p[P_OUTPUT].revents)
		write_pending(r);
	if (p[P_INPUT].revents)
		read_input(r);
	/* A daemon that ended may have said why: what it wrote is read first. */
	if (p[P_FRAMES].revents & POLLOUT && pump_write(&r->out, r->fd) < 0)
		r->out.len = 0;
	if (p[P_FRAMES].revents & ~POLLOUT)
		e = read_frames(r);
	if (e == 0 && !r->done && p[P_DAEMON].revents) {
		r->daemon_lost = true;
		e = -EPIPE;
	}
	if (e == 0 && !r->done && stop_is_due(r))
		stop(r);
	return e;
}

/*
 * The command is over: the daemon forgets what it cached, and hangs up. Who does not want to wait
 * for that says so by a signal.
 */
static void settle(struct relay *r)
{
	struct pollfd p[2] = {{r->conf.fd, POLLIN, 0}, {r->signals, POLLIN, 0}};
	struct signalfd_siginfo info;

	if (r->stream < 0 || r->daemon_lost)
		return;
	close(TAKE_FD(r->stream));
	shutdown(r->conf.fd, SHUT_WR);
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if (p[0].revents)
			return;
		if (read(r->signals, &info, sizeof(info)) == sizeof(info) &&
		    info.ssi_signo != SIGWINCH && info.ssi_signo != SIGCONT)
			return;
	}
}

static void say_lost(const struct relay *r, int e, struct err *err)
{
	const char *why = e == -EPIPE ? "it closed the connection" : strerror(-e);

	if (r->stream < 0 || r->daemon_lost)
		err_set(err, e, "lost the daemon before the command ended (%s); see aib status",
			why);
	else
		err_set(err, e,
			"the connection to the command was lost (%s); was the sandbox stopped? "
			"(aib status)",
			e == -EPIPE ? "end of stream" : why);
}

static int init(struct relay *r, const struct relay_conf *conf, struct err *err)
{
	struct stat st;

	r->conf = *conf;
	r->fd = conf->fd;
	r->in.read = read_connection;
	r->out = (struct pump_queue){r->out_data, sizeof(r->out_data), 0, 0};
	for (int fd = 0; fd < 3; fd++)
		r->is_pipe[fd] =
		    fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
	r->blocked = signal_set();
	r->signals = signalfd(-1, &r->blocked, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r->signals < 0 || fcntl(conf->fd, F_SETFL, O_NONBLOCK) < 0)
		return err_set(err, -errno, "cannot watch for signals: %m");
	return 0;
}

int relay_run(const struct relay_conf *conf, struct relay_result *ret, struct err *err)
{
	struct relay *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return err_set(err, -ENOMEM, "out of memory");
	r->signals = r->stream = r->passed = -1;
	e = init(r, conf, err);
	if (e == 0) {
		while (e == 0 && !r->done)
			e = step(r);
		terminal_restore();
		if (e < 0)
			say_lost(r, e, err);
		settle(r);
	}
	closep(&r->signals);
	closep(&r->stream);
	free(r->sandbox);
	closep(&r->passed);
	if (e == 0)
		*ret = r->result;
	else
		free(r->result.text);
	free(r);
	return e;
}
