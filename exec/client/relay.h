/*
 * A running command's streams: the caller's standard input to the daemon, its output back, signals
 * and the terminal's size, until the command has ended.
 */
#ifndef AIB_EXEC_CLIENT_RELAY_H
#define AIB_EXEC_CLIENT_RELAY_H

#include "base/err.h"
#include "protocol.h"

#include <stdbool.h>

struct relay_conf {
	int fd; /* the connection, after the request; it is made non-blocking, and ended */
	bool tty, no_stdin;
};

enum relay_end {
	RELAY_EXIT,   /* the command ended: `exit` */
	RELAY_REPLY,  /* a REPLY came instead: `text` */
	RELAY_ERROR,  /* nothing ran, or the daemon lost it: `text` */
	RELAY_SIGNAL, /* a signal before it was started: `signal` */
};

struct relay_result {
	enum relay_end end;
	struct proto_exit exit;
	int signal;
	int lost_output; /* errno of a failed write to standard output or error, EPIPE apart */
	char *text;	 /* the caller's */
};

/*
 * Block the signals that the relay forwards, once there is something to forward them to. What the
 * caller ignores stays ignored.
 */
void relay_block_signals(void);
/* Before the request is sent: its command would go on while a stop holds us. relay_run takes it. */
void relay_block_stop(void);
/* Runs until the end. Returns 0, or -errno with text. */
int relay_run(const struct relay_conf *conf, struct relay_result *ret, struct err *err);

#endif
