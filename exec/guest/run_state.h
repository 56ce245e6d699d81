/*
 * The command of `run` as its two files share it: run.c has its streams, frames and the loop,
 * run_end.c all that ends it.
 */
#ifndef AIB_EXEC_GUEST_RUN_STATE_H
#define AIB_EXEC_GUEST_RUN_STATE_H

#include "job.h"
#include "run_options.h"

#define KILL_AGAIN_MS 20
#define DRAIN_QUIET_MS 200
#define DRAIN_LIMIT_MS 2000

enum phase { RUNNING, TERMINATING, KILLING };

/* One of the command's output streams. */
struct source {
	int fd; /* -1 at its end */
	uint8_t type;
	struct kept *kept; /* of a job, else NULL */
	size_t owed;	   /* bytes that the command itself had written when it ended */
};

struct run {
	struct run_options options;
	struct spawned child;
	struct link link;	/* the daemon; of a job -1 while there is none */
	struct door door;	/* of a job */
	bool link_new, started; /* it has not said ATTACH yet; the command has */
	struct source sources[2];
	int signals; /* signalfd */
	enum phase phase;
	bool input_ended;   /* the daemon sends no more */
	bool output_broken; /* nobody reads: output is dropped */
	bool stdin_ended;
	bool ended, reaped_all, exit_sent, exit_stored;
	struct proto_exit exit;
	char why[sizeof(((struct spawn_failure *)0)->why)]; /* not empty: told instead of `exit` */
	size_t credit;
	uint64_t stdin_came, stdin_used; /* bytes */
	/* Monotonic milliseconds; 0: not set. */
	uint64_t timeout_at, phase_at, kill_at, ended_at, last_output, give_up_at;
};

extern struct run run;
extern struct pump_queue to_command, to_daemon;
extern struct pump_input from_daemon;
extern struct kept kept[2];

uint64_t run_now_ms(void);
void run_close_fd(int *fd);
void run_close_source(struct source *s);

/* Go on to PHASE, where that is worse than the one it is in, and there is something left to end. */
void run_enter_phase(enum phase phase);
/* Either half of the daemon's stream is over. */
void run_stream_end(void);
/* The daemon of a job is gone, but may come back. */
void run_link_end(void);
/* Whether there is somebody to tell. */
bool run_is_linked(void);

void run_handle_signals(void);
/* What the passing of time brings. */
void run_handle_time(uint64_t now);

/* Whether the tree that had to be killed is gone, as far as that is possible. */
bool run_tree_done(uint64_t now);
/* Whether all output has been read, and of a job sent. */
bool run_drained(uint64_t now);

#endif
