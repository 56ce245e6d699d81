#include "lifecycle.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

void lifecycle_init(void)
{
	struct rlimit files;
	int fd;

	/* A file that is opened later must not become a standard stream. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
	umask(0);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* ---- Into the background ---- */

static pid_t child;

static void forward(int sig)
{
	kill(child, SIGTERM);
}

/* The parent: its status is the child's where that ends before it is ready. */
static _Noreturn void wait_until_ready(int fd)
{
	struct sigaction act = {.sa_handler = forward};
	char byte;
	ssize_t n;
	int status;

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			_exit(1);
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
	if (WIFSIGNALED(status))
		fprintf(stderr, "aibfs: ended by signal %d (%s) before it was ready\n",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	_exit(1);
}

int lifecycle_background(struct lifecycle *l, struct err *err)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot go to the background: %m");
	child = fork();
	if (child < 0) {
		close(fds[0]);
		close(fds[1]);
		return err_set(err, -errno, "cannot go to the background: %m");
	}
	if (child > 0) {
		close(fds[1]);
		wait_until_ready(fds[0]);
	}
	close(fds[0]);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	l->background = true;
	l->ready_fd = fds[1];
	return 0;
}

/* ---- Signals and the end ---- */

static void signals(sigset_t *ret, bool background)
{
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGUSR1); /* lifecycle_done and lifecycle_ending wake the thread with it */
	if (!background)
		sigaddset(ret, SIGHUP);
}

/* Milliseconds until the end is overdue: 0 when it is, -1 for never. */
static int64_t left_ms(struct lifecycle *l, bool *ret_ended)
{
	uint64_t now = clock_ms();
	int64_t left = -1;

	pthread_mutex_lock(&l->lock);
	*ret_ended = l->ended;
	if (l->overdue_ms)
		left = now < l->overdue_ms ? (int64_t)(l->overdue_ms - now) : 0;
	pthread_mutex_unlock(&l->lock);
	return left;
}

static void *watch(void *arg)
{
	struct lifecycle *l = arg;
	sigset_t set;
	bool ended;

	signals(&set, l->background);
	for (;;) {
		int64_t left = left_ms(l, &ended);
		struct timespec ts = {left / 1000, left % 1000 * 1000000};
		int sig;

		if (ended)
			return NULL;
		if (left == 0) {
			log_error("the end takes too long: giving up");
			l->overdue(l->ctx);
			return NULL;
		}
		sig = left < 0 ? sigwaitinfo(&set, NULL) : sigtimedwait(&set, NULL, &ts);
		if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP) {
			log_info("signal %d (%s): ending", sig, strsignal(sig));
			l->stop(l->ctx);
		}
	}
}

int lifecycle_start(struct lifecycle *l, struct err *err)
{
	sigset_t set;
	int r;

	signals(&set, l->background);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (l->background)
		signal(SIGHUP, SIG_IGN);
	r = pthread_create(&l->thread, NULL, watch, l);
	if (r)
		return err_set(err, -r, "cannot start a thread: %s", strerror(r));
	l->started = true;
	return 0;
}

/* ---- Telling others ---- */

/* The protocol of sd_notify(3): one datagram; FLAGS of sendto(2). */
static void notify(const char *text, int flags)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(addr.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(addr.sun_path, path, n);
	if (*path == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL | flags,
			      (struct sockaddr *)&addr, offsetof(struct sockaddr_un, sun_path) + n);
}

/* Who supervises us hears it, else systemd, in words of its own. */
static void report(struct lifecycle *l, enum lifecycle_report what, const char *words)
{
	char byte = what;

	if (l->report_fd >= 0)
		(void)!write(l->report_fd, &byte, 1);
	else if (!l->background) /* only the first word is worth a wait */
		notify(words, what == LIFECYCLE_READY ? 0 : MSG_DONTWAIT);
}

static void leave_streams(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i <= 2; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

void lifecycle_ready(struct lifecycle *l)
{
	report(l, LIFECYCLE_READY, "READY=1");
	if (!l->background)
		return;
	prctl(PR_SET_PDEATHSIG, 0);
	leave_streams();
	if (l->ready_fd < 0)
		return;
	(void)!write(l->ready_fd, "", 1);
	close(TAKE_FD(l->ready_fd));
}

void lifecycle_alive(struct lifecycle *l)
{
	report(l, LIFECYCLE_ALIVE, "WATCHDOG=1");
}

/* As sd_watchdog_enabled(3). */
uint64_t lifecycle_alive_ms(void)
{
	const char *pid = getenv("WATCHDOG_PID"), *us = getenv("WATCHDOG_USEC");

	if (!us || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	return strtoull(us, NULL, 10) / 1000 / 4;
}

void lifecycle_ending(struct lifecycle *l, uint64_t ms)
{
	bool first;

	pthread_mutex_lock(&l->lock);
	first = !l->overdue_ms;
	if (first)
		l->overdue_ms = clock_ms() + ms;
	pthread_mutex_unlock(&l->lock);
	if (first)
		report(l, LIFECYCLE_ENDING, "STOPPING=1");
	if (l->started)
		pthread_kill(l->thread, SIGUSR1);
}

void lifecycle_done(struct lifecycle *l)
{
	pthread_mutex_lock(&l->lock);
	l->ended = true;
	pthread_mutex_unlock(&l->lock);
	if (l->started) {
		pthread_kill(l->thread, SIGUSR1);
		pthread_join(l->thread, NULL);
	}
	l->started = false;
	if (l->ready_fd >= 0)
		close(TAKE_FD(l->ready_fd));
}
