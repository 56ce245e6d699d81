/*
 * How many callers ask in turn: of a row of requests, who has a part in it, where they do not come
 * one after the other, as the programs of a script do. Not thread-safe.
 */
#ifndef AIB_BASE_CALLERS_H
#define AIB_BASE_CALLERS_H

#include <sys/types.h>

#define CALLERS_MAX 8 /* that are told apart */

/* All zero: nothing is known yet. */
struct callers {
	unsigned in_turn; /* of the last row: how many; 0 and 1: one */
	unsigned asked;	  /* in this row, and how often by another one than before */
	unsigned changes;
	pid_t last;
	unsigned n;
	struct {
		pid_t id;
		unsigned asked;
	} known[CALLERS_MAX]; /* the first n */
};

/* The thread CALLER asks; 0: nobody knows who. How many do: at least 1. */
unsigned callers_ask(struct callers *c, pid_t caller);

#endif
