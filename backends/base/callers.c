/* See callers.h. */
#include "callers.h"

#define ROW 64		  /* requests */
#define IN_TURN (ROW / 4) /* changes of the caller in these: several ask in turn */
#define ALONE (ROW / 16)  /* fewer: one does, and now and then another */
#define LIVELY (ROW / 16) /* so many of its own: a caller counts */

static void note(struct callers *c, pid_t caller)
{
	unsigned i = 0;

	c->asked++;
	c->changes += caller != c->last;
	c->last = caller;
	while (i < c->n && c->known[i].id != caller)
		i++;
	if (i == CALLERS_MAX)
		return;
	if (i == c->n)
		c->known[c->n++].id = caller;
	c->known[i].asked++;
}

static unsigned count_lively(const struct callers *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		n += c->known[i].asked >= LIVELY;
	return n;
}

static void end_row(struct callers *c)
{
	unsigned in_turn = c->in_turn;

	if (c->changes < ALONE)
		in_turn = 1;
	else if (c->changes >= IN_TURN)
		in_turn = count_lively(c);
	*c = (struct callers){.in_turn = in_turn, .last = c->last};
}

unsigned callers_ask(struct callers *c, pid_t caller)
{
	if (caller != 0)
		note(c, caller);
	if (c->asked == ROW)
		end_row(c);
	return c->in_turn > 1 ? c->in_turn : 1;
}
