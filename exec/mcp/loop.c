#include "loop.h"

#include "call.h"
#include "lines.h"

#include "base/clock.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define HIGH (1 << 20) /* bytes of answers that wait, beyond which nothing more is taken */
#define GRACE_MS 1000  /* for calls that run when the input ends */
#define PIECE PIPE_BUF /* what a pipe that is ready takes without blocking */

enum { IN, OUT, SIGNALS, OWN, FIXED };

struct loop {
	struct mcp *m;
	struct own *own;
	struct lines lines;
	size_t written; /* bytes of m->out */
	bool out_is_socket, gone;
	int signals;
	uint64_t end_ms; /* when calls are ended; 0: the input goes on */
	struct pollfd *fds;
};

/* ---- Output ---- */

static size_t waiting(const struct loop *l)
{
	return l->m->out.len - l->written;
}

/* The descriptor is shared with others and blocks: no more at once than it takes. */
static void write_some(struct loop *l)
{
	const char *data = l->m->out.data + l->written;
	size_t len = waiting(l);
	ssize_t n = l->out_is_socket ? send(STDOUT_FILENO, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
				     : write(STDOUT_FILENO, data, len < PIECE ? len : PIECE);

	if (n < 0) {
		l->gone = errno != EINTR && errno != EAGAIN;
		return;
	}
	l->written += n;
	if (waiting(l) == 0 || l->written > HIGH) {
		buf_consume(&l->m->out, l->written);
		l->written = 0;
	}
}

/* ---- Input ---- */

static void take_lines(struct loop *l)
{
	struct asker nobody = {.id = NULL};
	bool too_long = false;

	while (waiting(l) < HIGH) {
		size_t len;
		char *line = lines_next(&l->lines, &len, &too_long);

		if (too_long)
			rpc_error(l->m, &nobody, RPC_PARSE,
				  "a message is longer than %zu bytes (--max-message)",
				  l->lines.in.cap - 1);
		if (!line)
			break;
		if (len > 0 && line[len - 1] == '\r')
			line[--len] = '\0';
		if (len > 0)
			rpc_take(l->m, line, len);
	}
	if (l->lines.end && !l->end_ms)
		l->end_ms = clock_ms() + GRACE_MS;
}

/* ---- The daemon ---- */

static int own_says(struct loop *l, struct err *err)
{
	struct mcp *m = l->m;
	char *dir = NULL;
	int r = own_ready(l->own, &dir, err);

	if (r < 0) {
		call_end_all(m, err->text);
		return r;
	}
	free(m->mount.socket_dir);
	m->mount.socket_dir = dir;
	call_connect_all(m);
	return 0;
}

/* ---- One turn ---- */

static size_t fill(struct loop *l)
{
	bool room = waiting(l) < HIGH;
	size_t n = FIXED;

	l->fds[IN] = (struct pollfd){!l->lines.end && room ? STDIN_FILENO : -1, POLLIN, 0};
	/* Its end is seen without asking. */
	l->fds[OUT] = (struct pollfd){STDOUT_FILENO, waiting(l) > 0 ? POLLOUT : 0, 0};
	l->fds[SIGNALS] = (struct pollfd){l->signals, POLLIN, 0};
	l->fds[OWN] = (struct pollfd){l->own->pid ? l->own->fd : -1, POLLIN, 0};
	for (const struct call *c = l->m->calls; c && room; c = c->next)
		l->fds[n++] = call_poll(c);
	return n;
}

/* Milliseconds until there is something to do by itself; -1: never. */
static int next_ms(struct loop *l)
{
	uint64_t now = clock_ms(), next = l->end_ms;

	for (struct call *c = l->m->calls; c; c = c->next) {
		uint64_t tell = call_tell(c, now);

		if (tell && (!next || tell < next))
			next = tell;
	}
	return !next ? -1 : next <= now ? 0 : (int)(next - now);
}

/* In the order in which they were asked for: none has come since. */
static void serve_calls(struct loop *l, size_t n)
{
	struct call *c = l->m->calls, *next;

	for (size_t i = FIXED; i < n; i++, c = next) {
		next = c->next;
		if (l->fds[i].revents)
			call_ready(c, l->fds[i].revents);
	}
}

static bool is_over(const struct loop *l)
{
	if (l->gone)
		return true;
	if (!l->end_ms)
		return false;
	return clock_ms() >= l->end_ms || (!l->m->calls && waiting(l) == 0);
}

/* 1: the end. */
static int turn(struct loop *l, struct err *err)
{
	int timeout = next_ms(l), r = 0;
	struct signalfd_siginfo signal;
	size_t n = fill(l);

	if (poll(l->fds, n, timeout) < 0)
		return errno == EINTR ? 0 : err_set(err, -errno, "poll: %m");
	if (l->fds[SIGNALS].revents && read(l->signals, &signal, sizeof(signal)) > 0)
		return 1;
	if (l->fds[OUT].revents & POLLOUT)
		write_some(l);
	else if (l->fds[OUT].revents & (POLLERR | POLLNVAL))
		return 1;
	serve_calls(l, n);
	if (l->fds[IN].revents)
		r = lines_read(&l->lines, STDIN_FILENO);
	if (r < 0)
		return err_set(err, r, "standard input: %s", strerror(-r));
	take_lines(l);
	if (l->fds[OWN].revents)
		r = own_says(l, err);
	return r < 0 ? r : is_over(l);
}

/* ---- All of it ---- */

/* What has been answered is still to be read, where somebody reads. */
static void drain(struct loop *l)
{
	uint64_t end = clock_ms() + GRACE_MS, now;

	while (!l->gone && waiting(l) > 0 && (now = clock_ms()) < end) {
		struct pollfd out = {STDOUT_FILENO, POLLOUT, 0};

		if (poll(&out, 1, end - now) <= 0 || !(out.revents & POLLOUT))
			return;
		write_some(l);
	}
}

static int open_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int loop_run(struct mcp *m, struct own *own, struct err *err)
{
	struct loop l = {.m = m, .own = own, .lines = {.in = BUF_INIT(m->limits.message + 1)}};
	struct stat st;
	int r = 0;

	l.signals = open_signals();
	l.fds = calloc(FIXED + m->limits.requests, sizeof(*l.fds));
	if (l.signals < 0 || !l.fds)
		r = err_set(err, -ENOMEM, "out of memory or descriptors");
	l.out_is_socket = fstat(STDOUT_FILENO, &st) == 0 && S_ISSOCK(st.st_mode);
	while (r == 0)
		r = turn(&l, err);
	call_end_all(m, NULL);
	drain(&l);
	buf_done(&l.lines.in);
	free(l.fds);
	if (l.signals >= 0)
		close(l.signals);
	return r < 0 ? r : 0;
}
