#include "spawn.h"

#include "../protocol.h"
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define CLOSE_RANGE_CLOEXEC_ (1U << 2)

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Both ends of each stream: ours and the child's. */
struct ends {
	int in[2], out[2], err[2], failed[2]; /* as pipe(2): read, write */
	int terminal, slave;
};

#define NO_ENDS ((struct ends){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, .terminal = -1, .slave = -1})

static void close_ends(struct ends *e)
{
	int *fds = (int *)e;

	for (size_t i = 0; i < sizeof(*e) / sizeof(int); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void spawn_resize(int terminal, uint16_t rows, uint16_t cols)
{
	struct winsize size = {.ws_row = rows, .ws_col = cols};

	ioctl(terminal, TIOCSWINSZ, &size);
}

/* The other end is opened through the first one, not by a path of the container. */
static int open_terminal(struct ends *e)
{
	int unlock = 0;

	e->terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (e->terminal < 0 || ioctl(e->terminal, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	e->slave = ioctl(e->terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return e->slave < 0 ? -errno : 0;
}

/* OURS: which end of it does not block. */
static int open_pipe(int ends[2], int ours)
{
	if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[ours], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int open_pipes(struct ends *e, bool merged)
{
	int r = open_pipe(e->in, 1);

	if (r == 0)
		r = open_pipe(e->out, 0);
	return r == 0 && !merged ? open_pipe(e->err, 0) : r;
}

void spawn_reset_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Does not return where it succeeds; the errno to report where not, as env(1) looks a program up.
 */
static int execute(char **argv)
{
	const char *path = getenv("PATH"), *end;
	char file[PATH_MAX];
	int found = ENOENT;

	if (strchr(argv[0], '/') || !argv[0][0]) {
		execv(argv[0], argv);
		return errno;
	}
	for (path = path ? path : DEFAULT_PATH;; path = end + 1) {
		end = strchrnul(path, ':');
		if (snprintf(file, sizeof(file), "%.*s%s%s", (int)(end - path), path,
			     end > path ? "/" : "", argv[0]) < (int)sizeof(file)) {
			execv(file, argv);
			if (errno == EACCES)
				found = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return errno;
		}
		if (!*end)
			return found;
	}
}

_Noreturn static void tell(int fd, const struct spawn_failure *f)
{
	_exit(write(fd, f, sizeof(*f)) < 0 ? PROTO_FAILED : 0);
}

_Noreturn static void fail(int fd, uint8_t how, int error)
{
	struct spawn_failure f = {.how = how, .error = error < 256 ? error : EIO};

	tell(fd, &f);
}

static int take_streams(const struct spawn_conf *conf, const struct ends *e)
{
	int in = conf->tty ? e->slave : e->in[0], out = conf->tty ? e->slave : e->out[1];
	int err = conf->tty ? e->slave : conf->merged ? out : e->err[1];

	setsid();
	if (conf->tty && ioctl(e->slave, TIOCSCTTY, 0) < 0)
		return -errno;
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		return -errno;
	/* What our own parent may have left open is not the command's. */
	syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC_);
	return 0;
}

/*
 * What the Engine's exec does for a user. The streams are his as well, so that he can open them
 * again (/dev/stderr); where that is not allowed he has to do without.
 */
static void become(const char *words, int failed)
{
	static struct user user;
	struct spawn_failure f = {.how = PROTO_FAILED, .error = EPERM};

	if (user_find(words, &user, f.why) < 0)
		tell(failed, &f);
	for (int fd = 0; fd < 3; fd++)
		if (user.uid != geteuid() && fchown(fd, user.uid, -1) < 0 && errno != EPERM)
			fail(failed, PROTO_FAILED, errno);
	if (user_become(&user, f.why) < 0)
		tell(failed, &f);
	setenv("HOME", user.home, 0);
}

_Noreturn static void child(const struct spawn_conf *conf, const struct ends *e)
{
	const char *pwd = conf->pwd ? conf->pwd : conf->cwd;
	int r = take_streams(conf, e);

	if (r < 0)
		fail(e->failed[1], PROTO_FAILED, -r);
	spawn_reset_signals();
	if (conf->user)
		become(conf->user, e->failed[1]);
	if (conf->cwd && chdir(conf->cwd) < 0)
		fail(e->failed[1], PROTO_NO_CWD, errno);
	if (pwd)
		setenv("PWD", pwd, 1);
	setenv("HOME", "/", 0);
	r = execute(conf->argv);
	fail(e->failed[1], r == ENOENT || r == ENOTDIR ? PROTO_NOT_FOUND : PROTO_NOT_EXEC, r);
}

int spawn(const struct spawn_conf *conf, struct spawned *ret)
{
	struct ends e = NO_ENDS;
	struct spawned s = {.err = -1};
	int r = conf->tty ? open_terminal(&e) : open_pipes(&e, conf->merged);

	if (r == 0 && pipe2(e.failed, O_CLOEXEC) < 0)
		r = -errno;
	if (r == 0 && conf->tty) {
		spawn_resize(e.terminal, conf->rows, conf->cols);
		e.out[0] = fcntl(e.terminal, F_DUPFD_CLOEXEC, 3);
		r = e.out[0] < 0 ? -errno : 0;
	}
	if (r == 0) {
		s.pid = fork();
		if (s.pid == 0)
			child(conf, &e);
		r = s.pid < 0 ? -errno : 0;
	}
	if (r == 0) {
		s.in = conf->tty ? e.terminal : e.in[1];
		s.out = e.out[0];
		s.err = e.err[0];
		s.failed = e.failed[0];
		e.terminal = e.in[1] = e.out[0] = e.err[0] = e.failed[0] = -1;
		fcntl(s.failed, F_SETFL, O_NONBLOCK);
		*ret = s;
	}
	close_ends(&e);
	return r;
}
