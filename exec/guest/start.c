#include "start.h"

#include "command.h"
#include "guest.h"
#include "spawn.h"

#include "base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What is changed for serving, as it was. */
static struct {
	mode_t umask;
	struct rlimit files;
	bool has_files;
} before;

/* Open files and cached nodes are descriptors. */
static void raise_limit(void)
{
	struct rlimit limit;

	before.has_files = getrlimit(RLIMIT_NOFILE, &before.files) == 0;
	if (!before.has_files)
		return;
	limit = before.files;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

void start_init(void)
{
	before.umask = umask(0);
	raise_limit();
}

/* ---- A new process ---- */

/* The child of a vfork(2), in its parent's memory: system calls only. All other descriptors close
 * at the execve. */
_Noreturn static void execute(int socket, const char *const *argv, const char *const *env,
			      volatile int *failed)
{
	setsid();
	umask(before.umask);
	if (before.has_files)
		(void)setrlimit(RLIMIT_NOFILE, &before.files);
	if (dup2(socket, STDIN_FILENO) >= 0 && dup2(socket, STDOUT_FILENO) >= 0) {
		spawn_reset_signals();
		execve("/proc/self/exe", (char *const *)argv, (char *const *)env);
	}
	*failed = errno;
	_exit(GUEST_USAGE);
}

/* With every signal blocked, so that no handler runs in the child. posix_spawn(3) could set neither
 * umask nor limits. */
static pid_t start_on(int socket, const char *const *argv, const char *const *env)
{
	volatile int failed = 0;
	sigset_t all, mask;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
	if (pid == 0)
		execute(socket, argv, env, &failed); /* NOLINT(clang-analyzer-unix.Vfork) */
	if (pid < 0)
		failed = errno == EAGAIN ? EUSERS : errno; /* EAGAIN is no error to the client */
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return failed ? -failed : pid;
}

/* Its pid, or -errno. */
static pid_t start_new(const char *const *argv, const char *const *env, int *ret_fd)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = start_on(fds[1], argv, env);
	closep(&fds[1]);
	if (pid < 0)
		closep(&fds[0]);
	else
		*ret_fd = fds[0];
	return pid;
}

/* ---- The one in store ---- */

#define END_MS 1000 /* it has nothing to do but to go */

static struct {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	bool wanted, ends, has_thread;
	pthread_t thread;
	int fd; /* its socket; -1: there is none */
	pid_t pid;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .fd = -1};

static void fill(void)
{
	static const char *const argv[] = {"aib-guest", "next", NULL};
	pid_t pid;
	int fd;

	pid = start_new(argv, (const char *const *)environ, &fd);
	pthread_mutex_lock(&store.lock);
	store.fd = pid < 0 ? -1 : fd;
	store.pid = pid;
	pthread_mutex_unlock(&store.lock);
}

/* A thread of its own, since who was asked for a command answers first. */
static void *keep_store(void *arg)
{
	bool ends = false;

	while (!ends) {
		pthread_mutex_lock(&store.lock);
		while (!store.ends && (!store.wanted || store.fd >= 0))
			pthread_cond_wait(&store.changed, &store.lock);
		ends = store.ends;
		store.wanted = false;
		pthread_mutex_unlock(&store.lock);
		if (!ends)
			fill();
	}
	return NULL;
}

/* Take what is in store, and have it filled again. -1: nothing was. */
static int take_from_store(void)
{
	int fd;

	pthread_mutex_lock(&store.lock);
	if (!store.has_thread)
		store.has_thread = pthread_create(&store.thread, NULL, keep_store, NULL) == 0;
	fd = TAKE_FD(store.fd);
	store.wanted = true;
	pthread_cond_signal(&store.changed);
	pthread_mutex_unlock(&store.lock);
	return fd;
}

/* Left over, it would be for PID 1 to reap, which is anything in a container. */
void start_done(void)
{
	const struct timespec step = {.tv_nsec = 1000000};

	pthread_mutex_lock(&store.lock);
	store.ends = true;
	pthread_cond_signal(&store.changed);
	pthread_mutex_unlock(&store.lock);
	if (store.has_thread)
		pthread_join(store.thread, NULL);
	if (store.fd < 0)
		return;
	closep(&store.fd);
	for (int ms = 0; ms < END_MS && kill(store.pid, 0) == 0; ms++)
		nanosleep(&step, NULL);
}

int start(void *ctx, const char *const *argv, const char *const *env, int *ret_fd)
{
	int fd = -1;
	pid_t pid;

	if (!env)
		env = (const char *const *)environ;
	if (argv[1] && strcmp(argv[1], "run") == 0)
		fd = take_from_store();
	if (fd >= 0 && command_send(fd, argv, env) == 0) {
		*ret_fd = fd;
		return 0;
	}
	closep(&fd);
	pid = start_new(argv, env, ret_fd);
	return pid < 0 ? pid : 0;
}
