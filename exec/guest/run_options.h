/* The command line of `aib-guest run`. */
#ifndef AIB_EXEC_GUEST_RUN_OPTIONS_H
#define AIB_EXEC_GUEST_RUN_OPTIONS_H

#include "spawn.h"

struct run_options {
	struct spawn_conf conf; /* its strings are argv's */
	uint64_t timeout_ms;	/* 0: none */
	const char *job;	/* its id; NULL: no job */
	uint64_t job_wait_ms;	/* that a job waits for somebody who attaches; 0: a day */
};

/*
 * Parse what follows the verb, and make this process's environment the command's. Values of
 * variables are wiped from ARGV. 0, or GUEST_USAGE with text on standard error.
 */
int run_options_parse(int argc, char **argv, struct run_options *ret);

#endif
