/* Starting the command: its streams, its session, its directory, its program. */
#ifndef AIB_EXEC_GUEST_SPAWN_H
#define AIB_EXEC_GUEST_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn_conf {
	char **argv;
	const char *cwd;  /* NULL: stay */
	const char *pwd;  /* for PWD; NULL: cwd */
	const char *user; /* to become, as user_find takes it; NULL: stay */
	bool tty;
	bool merged; /* standard error is standard output */
	uint16_t rows, cols;
};

/* What the child tells where it could not execute: written whole or not at all. */
struct spawn_failure {
	uint8_t how;   /* enum proto_how */
	uint8_t error; /* errno */
	char why[256]; /* not empty: this is to be said instead of the two */
};

/* Our ends; all are non-blocking and close at exec. */
struct spawned {
	pid_t pid;  /* leader of its session and process group */
	int in;	    /* to its standard input, or the terminal */
	int out;    /* from its standard output, or the terminal */
	int err;    /* from its standard error; -1 with a terminal or where merged */
	int failed; /* a struct spawn_failure, or the end once it executes */
};

/* Returns 0 or -errno; then nothing is left open. */
int spawn(const struct spawn_conf *conf, struct spawned *ret);
/* Default actions, none blocked. System calls only. */
void spawn_reset_signals(void);
void spawn_resize(int terminal, uint16_t rows, uint16_t cols);

#endif
