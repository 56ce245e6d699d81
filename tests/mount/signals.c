/*
 * Calls under signals, for test_signals.py.
 *
 *	signals calls N DIR        N calls of files in DIR under a SIGURG each millisecond, whose
 *	                           handler does not restart: none may fail or be short
 *	signals waiters N FILE [urg]   N processes read FILE, which gives nothing, and are killed at
 *	                           once (urg: they get that first); all have to be gone within 30 s
 *
 * Both print one line of figures and return 0, or say what failed and return 1.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GONE_MS 30000

static volatile sig_atomic_t signals;

static void count(int sig)
{
	signals++;
}

static void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static void need(const char *what, int right)
{
	if (!right)
		fail(what);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void catch_urg(void)
{
	struct sigaction act = {.sa_handler = count};

	sigaction(SIGURG, &act, NULL);
}

/* ---- Calls ---- */

static pid_t start_sender(pid_t to)
{
	struct timespec next;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (kill(to, SIGURG) == 0) {
		next.tv_nsec += 1000000;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
	_exit(0);
}

static int list(void)
{
	DIR *d = opendir(".");
	struct dirent *e;
	int n = 0;

	need("opendir", d != NULL);
	errno = 0;
	while ((e = readdir(d)))
		n++;
	need("readdir", errno == 0);
	need("closedir", closedir(d) == 0);
	return n;
}

/* One turn is ten calls, whose answers are looked at. */
static void turn(int n)
{
	char text[4096], back[4096];
	struct stat st;
	int fd;

	memset(text, 'a' + n % 26, sizeof(text));
	fd = open("new", O_RDWR | O_CREAT | O_TRUNC, 0600);
	need("create", fd >= 0);
	errno = 0;
	need("write", write(fd, text, sizeof(text)) == sizeof(text));
	need("truncate", ftruncate(fd, sizeof(text) / 2) == 0);
	need("read", pread(fd, back, sizeof(back), 0) == sizeof(text) / 2);
	errno = 0;
	need("what was read", memcmp(text, back, sizeof(text) / 2) == 0);
	need("fsync", fsync(fd) == 0);
	need("close", close(fd) == 0);
	need("rename", rename("new", n % 2 ? "old" : "older") == 0);
	need("stat", stat(n % 2 ? "old" : "older", &st) == 0 && st.st_size == sizeof(text) / 2);
	need("access of what is not there", access("none", F_OK) < 0 && errno == ENOENT);
	if (n % 16 == 0)
		need("names", list() >= 3);
	if (n % 16 == 8) {
		need("mkdir", mkdir("dir", 0700) == 0);
		need("rmdir", rmdir("dir") == 0);
	}
}

static int calls(int n, const char *dir)
{
	long began = now_ms();
	pid_t sender;

	need(dir, chdir(dir) == 0);
	catch_urg();
	sender = start_sender(getpid());
	need("fork", sender > 0);
	for (int i = 0; i < n / 10; i++)
		turn(i);
	kill(sender, SIGKILL);
	while (waitpid(sender, NULL, 0) < 0 && errno == EINTR)
		;
	printf("%d calls, %d signals, %ld ms\n", n, (int)signals, now_ms() - began);
	need("no signals came", signals > 0);
	return 0;
}

/* ---- Waiters ---- */

static void wait_there(const char *file, int ready)
{
	char text[16];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	catch_urg();
	need("ready", write(ready, "", 1) == 1);
	/* Only a signal ends it; a parked read says EINTR to any, and reads again. */
	for (;;) {
		fd = open(file, O_RDONLY);
		if (fd >= 0)
			(void)!read(fd, text, sizeof(text));
		if (fd < 0 && errno != EINTR && errno != EBUSY && errno != ETIMEDOUT)
			fail(file);
		if (fd >= 0)
			close(fd);
		usleep(10000);
	}
}

static int waiters(int n, const char *file, int urg)
{
	pid_t *pids = calloc(n, sizeof(*pids));
	int ready[2], status, left = n;
	char text;
	long began;

	need("pipe", pids && pipe(ready) == 0);
	for (int i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			wait_there(file, ready[1]);
		need("fork", pids[i] > 0);
	}
	for (int i = 0; i < n; i++)
		need("ready", read(ready[0], &text, 1) == 1);
	sleep(1); /* they are in the kernel by then, or soon will be: either way they have to go */
	for (int i = 0; urg && i < n; i++)
		kill(pids[i], SIGURG);
	if (urg)
		usleep(300000);
	began = now_ms();
	for (int i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	while (left > 0 && now_ms() - began < GONE_MS) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid == 0) {
			usleep(1000);
			continue;
		}
		need("a waiter ended by itself",
		     WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		left--;
	}
	free(pids);
	printf("%d waiters, %d left, gone in %ld ms\n", n, left, now_ms() - began);
	return left > 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "calls") == 0)
		return calls(atoi(argv[2]), argv[3]);
	if (argc >= 4 && strcmp(argv[1], "waiters") == 0)
		return waiters(atoi(argv[2]), argv[3], argc > 4);
	return 2;
}
