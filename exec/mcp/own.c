#include "own.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* aibfs, beside this program. */
static int find_program(char path[PATH_MAX], struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 16);

	if (n < 0)
		return err_set(err, -errno, "/proc/self/exe: %m");
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, "aibfs");
	return 0;
}

static _Noreturn void become(const char *path, char *const *args, int out, pid_t parent)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent || null < 0 ||
	    dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(1);
	execv(path, args);
	fprintf(stderr, "aib: %s: %m; is the installation complete?\n", path);
	_exit(1);
}

int own_start(char *const *args, struct own *ret, struct err *err)
{
	char path[PATH_MAX];
	pid_t parent = getpid();
	int fds[2], r = find_program(path, err);

	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot start %s: %m", path);
	ret->pid = fork();
	if (ret->pid == 0)
		become(path, args, fds[1], parent);
	close(fds[1]);
	ret->fd = fds[0];
	if (ret->pid > 0)
		return 0;
	r = -errno;
	ret->pid = 0;
	return err_set(err, r, "cannot start %s: %s", path, strerror(-r));
}

int own_ready(struct own *o, char **ret, struct err *err)
{
	char line[PATH_MAX + 1];
	ssize_t n = read(o->fd, line, sizeof(line) - 1);

	/* It is written in one piece, shorter than a pipe's. */
	if (n <= 0 || line[n - 1] != '\n')
		return err_set(err, -EPIPE,
			       "the daemon has ended: what it said is on standard error");
	line[n - 1] = '\0';
	*ret = strdup(line);
	return *ret ? 0 : err_set(err, -ENOMEM, "out of memory");
}

void own_end(struct own *o)
{
	if (o->pid > 0) {
		kill(o->pid, SIGTERM);
		while (waitpid(o->pid, NULL, 0) < 0 && errno == EINTR)
			;
		close(o->fd);
	}
	o->pid = 0;
}
