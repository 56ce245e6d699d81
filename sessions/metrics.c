/* What is counted of sessions, for the control tree's metrics. */
#include "../backends/control/metrics.h"

#include "request.h"
#include "sessions.h"

static void count(struct sessions *all, unsigned *n, unsigned *in_use)
{
	pthread_mutex_lock(&all->lock);
	for (struct session *s = all->table; s; s = s->hh.next) {
		++*n;
		*in_use += session_in_use(s);
	}
	pthread_mutex_unlock(&all->lock);
}

int sessions_metrics(void *object, struct buf *out)
{
	const struct sessions_control *sc = object;
	unsigned n = 0, in_use = 0;
	int r;

	for (size_t i = 0; i < sc->n; i++)
		count(sc->list[i], &n, &in_use);
	r = metrics_value(out, "aib_sessions", "gauge", "Sessions that this mount has looked at.",
			  n);
	return r < 0 ? r
		     : metrics_value(out, "aib_sessions_in_use", "gauge",
				     "Those with a command or an open file.", in_use);
}
