/* What the exec server counts, for the control tree's metrics. */
#include "../../backends/control/metrics.h"

#include "conn.h"
#include "job.h"
#include "metrics.h"

static void count_jobs(struct jobs *t, unsigned ret[JOB_LOST + 1])
{
	pthread_mutex_lock(&t->lock);
	for (const struct job *j = t->first; j; j = j->next)
		ret[j->state]++;
	pthread_mutex_unlock(&t->lock);
}

static int write_jobs(struct jobs *t, struct buf *out)
{
	unsigned n[JOB_LOST + 1] = {0};
	int r = metrics_family(out, "aib_jobs", "gauge", "Jobs that are remembered, by state.");

	count_jobs(t, n);
	for (enum job_state s = JOB_NEW; s <= JOB_LOST && r == 0; s++)
		r = buf_addf(out, "aib_jobs{state=\"%s\"} %u\n", job_state_name(s), n[s]);
	return r;
}

int server_metrics(void *object, struct buf *out)
{
	struct server *s = object;
	int r = metrics_value(out, "aib_commands_total", "counter",
			      "Commands of clients that were started, jobs apart.",
			      atomic_load(&s->commands));

	if (r == 0)
		r = metrics_value(out, "aib_commands_running", "gauge", "Those that run now.",
				  atomic_load(&s->running));
	return r < 0 ? r : write_jobs(s->jobs, out);
}
