/*
 * PID 1 of the containers that aib creates: it reaps, ends when it is told to, and does nothing
 * else. It parses no message and opens no file, so that nothing in the container can confuse it.
 */
#include "guest.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MS 300 /* for processes that want to end in order; then the kernel kills them */
#define STEP_MS 10

/* Every process but ourselves gets TERM, and a moment. As PID 1 only: "every" is the container. */
static void end_all(void)
{
	struct timespec step = {.tv_nsec = STEP_MS * 1000000};

	if (getpid() != 1)
		return;
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	for (int ms = 0; ms < GRACE_MS && kill(-1, 0) == 0; ms += STEP_MS) {
		nanosleep(&step, NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

int guest_init(int argc, char **argv)
{
	sigset_t all;
	int sig;

	if (argc > 0) {
		fprintf(stderr, "aib-guest init: takes no argument\n");
		return GUEST_USAGE;
	}
	/* Blocked, not ignored: an ignored SIGCHLD or SIGPIPE would be inherited. */
	signal(SIGCHLD, SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (sigwait(&all, &sig) != 0)
			continue;
		if (sig == SIGTERM || sig == SIGINT || sig == SIGQUIT) {
			end_all();
			return 0;
		}
	}
}
