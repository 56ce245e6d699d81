/* What ends a command (see run.c), and the end of whoever waits for it. */
#include "run_state.h"

#include "tree.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TERM_GRACE_MS 2000
#define KILL_LIMIT_MS 5000 /* a process in an uninterruptible wait does not keep us longer */
#define JOB_WAIT_MS (24ULL * 60 * 60 * 1000)

uint64_t run_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void run_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- Ending ---- */

void run_enter_phase(enum phase phase)
{
	if (run.phase >= phase || (run.ended && run.reaped_all))
		return;
	run.phase = phase;
	run.phase_at = run_now_ms();
	if (phase == TERMINATING) {
		tree_signal(SIGTERM);
		tree_signal(SIGCONT); /* what is stopped would not see it */
	}
	run.kill_at = phase == TERMINATING ? run.phase_at + TERM_GRACE_MS : run.phase_at;
}

/* Nobody waits for the command any more. */
static void abandon(void)
{
	run.input_ended = true;
	run.output_broken = true;
	to_daemon.len = 0;
	if (!run.ended)
		run_enter_phase(KILLING);
}

/* The daemon of a job is gone, but may come back. What it was told and has not stored is told anew.
 */
void run_link_end(void)
{
	run_close_fd(&run.link.in);
	run_close_fd(&run.link.out);
	run_close_fd(&run.link.line);
	to_daemon.len = 0;
	from_daemon.len = 0;
	run.exit_sent = false;
	run.give_up_at =
	    run_now_ms() + (run.options.job_wait_ms ? run.options.job_wait_ms : JOB_WAIT_MS);
}

/* Either half of the daemon's stream is over. */
void run_stream_end(void)
{
	if (run.options.job) {
		run_link_end();
		return;
	}
	run.stdin_ended = true;
	abandon();
}

/* Nobody has come for a job: its command goes on as one that nobody reads. */
static void give_up(void)
{
	door_close(&run.door);
	run.input_ended = run.output_broken = run.stdin_ended = true;
	run.give_up_at = 0;
}

bool run_is_linked(void)
{
	return run.link.out >= 0 && !run.link_new;
}

void run_close_source(struct source *s)
{
	run_close_fd(&s->fd);
	s->owed = 0;
}

static void command_ended(int status)
{
	int queued;

	run.ended = true;
	run.ended_at = run.last_output = run_now_ms();
	if (run.exit.how == PROTO_EXITED) {
		run.exit.how = WIFSIGNALED(status) ? PROTO_SIGNALLED : PROTO_EXITED;
		run.exit.value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	}
	for (int i = 0; i < 2; i++)
		if (run.sources[i].fd >= 0 && ioctl(run.sources[i].fd, FIONREAD, &queued) == 0)
			run.sources[i].owed = queued;
	run_close_fd(&run.child.in);
	to_command.len = 0;
}

static void reap(void)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == run.child.pid)
			command_ended(status);
	run.reaped_all = pid < 0 && errno == ECHILD;
}

void run_handle_signals(void)
{
	struct signalfd_siginfo info;

	while (read(run.signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap();
		else if (run.options.job)
			run_enter_phase(KILLING);
		else
			abandon();
	}
}

/* What the passing of time brings. */
void run_handle_time(uint64_t now)
{
	if (run.timeout_at && now >= run.timeout_at && !run.ended) {
		run.timeout_at = 0;
		run.exit.timed_out = 1;
		run_enter_phase(TERMINATING);
	}
	if (run.give_up_at && now >= run.give_up_at && run.link.in < 0)
		give_up();
	if (run.phase == RUNNING || run.reaped_all || now < run.kill_at)
		return;
	if (run.phase == TERMINATING)
		run_enter_phase(KILLING);
	tree_kill();
	reap();
	run.kill_at = now + KILL_AGAIN_MS;
}

/* Whether the tree that had to be killed is gone, as far as that is possible. */
bool run_tree_done(uint64_t now)
{
	return run.phase == RUNNING || run.reaped_all ||
	       (run.phase == KILLING && now >= run.phase_at + KILL_LIMIT_MS);
}

bool run_drained(uint64_t now)
{
	bool late = now >= run.ended_at + DRAIN_LIMIT_MS || now >= run.last_output + DRAIN_QUIET_MS;

	for (int i = 0; i < 2; i++)
		if (run.sources[i].fd >= 0 && (run.sources[i].owed > 0 || !late))
			return false;
	return kept[0].sent == kept[0].end && kept[1].sent == kept[1].end;
}
