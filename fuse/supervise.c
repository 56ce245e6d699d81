#include "supervise.h"

#include "abort.h"
#include "base/clock.h"
#include "base/log.h"
#include "lifecycle.h"
#include "mounted.h"
#include "registry.h"
#include "serve.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define CRASHES_MS 60000 /* in which crashes are counted */
#define FIRST_PAUSE_MS 100
#define MAX_PAUSE_MS 5000
#define MAX_END_MS 15000 /* of an orderly end; the daemon itself gives up before */
#define LATE_MS 200	 /* more than this, and it was us who did not run */

struct supervisor {
	const struct config *c;
	const char *mountpoint;
	struct lifecycle life; /* ours, as who waits for us or systemd sees it */
	sigset_t signals, before;
	int signal_fd;
	bool asked; /* to end */
	bool served;
	unsigned restarts;
	uint64_t crashes_since_ms;
	unsigned crashes, failures; /* starts in a row that failed */

	/* Of the child that runs. */
	pid_t child; /* 0: none */
	int reports;
	bool ready, ending, killed;
	uint64_t heard_ms, ending_ms;
	int status; /* of waitpid(2), once it has ended */
};

/* ---- The child ---- */

/* Who asked for the mount reads standard error; of a later start, the log. */
static void say_failure(const struct supervisor *s, const char *text)
{
	if (!s->restarts) {
		fprintf(stderr, "aib: %s\n", text);
		return;
	}
	log_set_syslog(s->life.background);
	log_error("%s", text);
}

_Noreturn static void be_child(struct supervisor *s, int report_fd)
{
	const struct supervised by = {report_fd, getppid(), s->restarts};
	struct err err = {""};
	int r;

	log_set_syslog(false);
	closep(&s->signal_fd);
	closep(&s->life.ready_fd);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	sigprocmask(SIG_SETMASK, &s->before, NULL);
	r = serve(s->c, s->mountpoint, !s->life.background, &by, &err);
	if (r < 0)
		say_failure(s, err.text[0] ? err.text : strerror(-r));
	exit(r < 0);
}

static int start_child(struct supervisor *s, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(err, -errno, "cannot supervise: %m");
	s->child = fork();
	if (s->child == 0) {
		close(fds[0]);
		be_child(s, fds[1]);
	}
	close(fds[1]);
	if (s->child < 0) {
		s->child = 0;
		close(fds[0]);
		return err_set(err, -errno, "cannot supervise: %m");
	}
	s->reports = fds[0];
	s->ready = s->ending = s->killed = false;
	s->heard_ms = clock_ms();
	return 0;
}

static void kill_child(struct supervisor *s, const char *why)
{
	int r;

	if (s->killed)
		return;
	log_error("the daemon (pid %d) %s: killing it", (int)s->child, why);
	/* Callers go on even where a thread of it is in a wait that no signal ends. */
	r = abort_connection(s->mountpoint);
	if (r < 0 && r != -ENOENT)
		log_warning("its connection cannot be aborted: %s", strerror(-r));
	kill(s->child, SIGKILL);
	s->killed = true;
}

/* ---- What is heard ---- */

static void begin_end(struct supervisor *s)
{
	if (!s->ending_ms)
		s->ending_ms = clock_ms();
	lifecycle_ending(&s->life, MAX_END_MS);
}

static void take_report(struct supervisor *s, char what)
{
	s->heard_ms = clock_ms();
	/* A start that fails is no end. */
	if (what == LIFECYCLE_ENDING && s->ready) {
		s->ending = true;
		begin_end(s);
	}
	if (what != LIFECYCLE_READY)
		return;
	s->ready = true;
	if (!s->served)
		lifecycle_ready(&s->life);
	s->served = true;
}

static void take_reports(struct supervisor *s)
{
	char what[64];
	ssize_t n;

	while ((n = read(s->reports, what, sizeof(what))) > 0)
		for (ssize_t i = 0; i < n; i++)
			take_report(s, what[i]);
	if (n == 0)
		closep(&s->reports);
}

/* Whether the child has ended. */
static bool reap(struct supervisor *s)
{
	if (!s->child || waitpid(s->child, &s->status, WNOHANG) != s->child)
		return false;
	if (s->reports >= 0)
		take_reports(s);
	closep(&s->reports);
	s->child = 0;
	return true;
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		log_info("signal %u (%s): ending", info.ssi_signo, strsignal(info.ssi_signo));
		s->asked = true;
		begin_end(s);
		if (s->child)
			kill(s->child, SIGTERM);
	}
}

/* ---- Time ---- */

/* When something is due if nothing is heard: UINT64_MAX for never. */
static uint64_t due_ms(const struct supervisor *s)
{
	uint64_t watchdog = s->c->opt.watchdog_ms;

	if (!s->child || s->killed)
		return UINT64_MAX;
	if (s->ending_ms)
		return s->ending_ms + MAX_END_MS;
	return s->ready && watchdog ? s->heard_ms + watchdog : UINT64_MAX;
}

/* Signals and reports until something happens or UNTIL; systemd hears of us meanwhile. */
static void wait_until(struct supervisor *s, uint64_t until_ms)
{
	struct pollfd p[2] = {{s->signal_fd, POLLIN, 0}, {s->child ? s->reports : -1, POLLIN, 0}};
	uint64_t now = clock_ms(), alive_ms = lifecycle_alive_ms();

	if (alive_ms && now + alive_ms < until_ms)
		until_ms = now + alive_ms;
	poll(p, 2, until_ms == UINT64_MAX ? -1 : until_ms > now ? (int)(until_ms - now) : 0);
	/* A child that was stopped along with us is not the one that hangs. */
	if (until_ms != UINT64_MAX && clock_ms() > until_ms + LATE_MS)
		s->heard_ms = clock_ms();
	if (p[1].revents)
		take_reports(s);
	if (p[0].revents)
		take_signals(s);
	if (alive_ms)
		lifecycle_alive(&s->life);
}

static void see_to_its_end(struct supervisor *s)
{
	while (!reap(s)) {
		wait_until(s, due_ms(s));
		if (clock_ms() >= due_ms(s))
			kill_child(s, s->ending_ms ? "does not end" : "takes no request");
	}
}

/* ---- A crash ---- */

static void tell_crash(const struct supervisor *s)
{
	if (WIFSIGNALED(s->status))
		log_error("the daemon was ended by signal %d (%s)", WTERMSIG(s->status),
			  strsignal(WTERMSIG(s->status)));
	else
		log_error("the daemon ended with status %d", WEXITSTATUS(s->status));
}

/* Whether there have been too many. */
static bool count_crash(struct supervisor *s)
{
	uint64_t now = clock_ms();

	if (!s->crashes || now > s->crashes_since_ms + CRASHES_MS) {
		s->crashes_since_ms = now;
		s->crashes = 0;
	}
	return ++s->crashes > s->c->opt.restarts;
}

/* Before the next start: nothing after one that served, more after each one that failed. */
static uint64_t pause_ms(struct supervisor *s)
{
	uint64_t pause = FIRST_PAUSE_MS;

	if (s->ready) {
		s->failures = 0;
		return 0;
	}
	for (unsigned i = 0; i < s->failures && pause < MAX_PAUSE_MS; i++)
		pause *= 2;
	s->failures++;
	return pause < MAX_PAUSE_MS ? pause : MAX_PAUSE_MS;
}

/* Whether a child that has ended is to be followed by another one. */
static bool starts_again(struct supervisor *s)
{
	uint64_t until;

	if (s->asked || s->ending || !s->served)
		return false;
	tell_crash(s);
	/* Aborted, what it left answers at once; it covers the directory until the next mount. */
	(void)abort_connection(s->mountpoint);
	if (count_crash(s)) {
		log_error("%u crashes within a minute: giving up; see the lines above, then "
			  "aib mount %s again",
			  s->crashes, s->mountpoint);
		return false;
	}
	until = clock_ms() + pause_ms(s);
	while (!s->asked && clock_ms() < until)
		wait_until(s, until);
	if (!s->asked && mounted_look(s->mountpoint) == MOUNTED_LIVING)
		return true;
	log_info("%s was unmounted while its daemon was down: ending", s->mountpoint);
	s->asked = true;
	return false;
}

/* ---- All of it ---- */

/* Of a crash that is not to be followed by another daemon. */
static void clean(const struct supervisor *s)
{
	struct registry_entry entry = {.info_fd = -1};

	if (mounted_look(s->mountpoint) == MOUNTED_LIVING)
		(void)mounted_detach(s->mountpoint, true, NULL);
	if (registry_add(s->mountpoint, &entry, NULL) == 0)
		registry_remove(&entry);
}

static int set_up(struct supervisor *s, bool foreground, struct err *err)
{
	int r = foreground ? 0 : lifecycle_background(&s->life, err);

	if (r < 0)
		return r;
	log_set_syslog(!foreground);
	sigemptyset(&s->signals);
	sigaddset(&s->signals, SIGCHLD);
	sigaddset(&s->signals, SIGTERM);
	sigaddset(&s->signals, SIGINT);
	if (foreground)
		sigaddset(&s->signals, SIGHUP);
	else
		signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_BLOCK, &s->signals, &s->before);
	s->signal_fd = signalfd(-1, &s->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? err_set(err, -errno, "cannot supervise: %m") : 0;
}

int supervise(const struct config *c, const char *mountpoint, bool foreground, struct err *err)
{
	struct supervisor s = {.c = c,
			       .mountpoint = mountpoint,
			       .life = LIFECYCLE_INIT,
			       .signal_fd = -1,
			       .reports = -1};
	int r = set_up(&s, foreground, err);

	if (r == 0)
		r = start_child(&s, err);
	while (r == 0) {
		see_to_its_end(&s);
		if (!starts_again(&s))
			break;
		s.restarts++;
		r = start_child(&s, err);
	}
	closep(&s.signal_fd);
	lifecycle_done(&s.life);
	if (r < 0)
		return r;
	if (s.asked && !s.ending)
		clean(&s);
	return s.asked && !s.ending ? 0 : WIFEXITED(s.status) ? WEXITSTATUS(s.status) : 1;
}
