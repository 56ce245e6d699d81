/*
 * Waiting for input without sleeping at first. Who sleeps has to be woken, and to wake an idle
 * processor takes longer than most of what is asked for here does; so where the last wait was
 * short, the next one begins by looking again and again, for a moment. A wait that was long, or an
 * idle program, costs nothing.
 */
#ifndef AIB_BASE_SPIN_H
#define AIB_BASE_SPIN_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define SPIN_US 50

/* One place where one thread at a time waits. All zero: nothing is known yet. */
struct spin {
	bool worth; /* the last wait was short */
	uint64_t since_us, not_before_us;
};

/* How long that moment is, for the whole process: SPIN_US unless it was set, 0: there is none. On
 * one processor there never is one: whoever is waited for needs it. */
void spin_limit(uint64_t us);
/* What it is now. */
uint64_t spin_limit_us(void);

/* A wait begins: look for the moment, where that is worth it. Whether poll(2) has something to tell
 * of P; else the caller sleeps. */
bool spin_look(struct spin *s, struct pollfd *p, nfds_t n);
/* What was waited for has come. */
void spin_came(struct spin *s);

/* Wait as poll(2), until TIMEOUT_MS (-1: without end; 0: that is no wait) at the latest, and say
 * what it says. */
int spin_poll(struct spin *s, struct pollfd *p, nfds_t n, int timeout_ms);

#endif
