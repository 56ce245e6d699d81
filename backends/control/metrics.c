/*
 * `metrics`: what everything counts, in Prometheus' text format 0.0.4. The families of routes and
 * sandboxes are written here; whoever else counts adds a writer of its own.
 */
#include "metrics.h"

#include "tree.h"

#include <string.h>

struct metrics_source {
	struct metrics_source *next;
	int (*write)(void *object, struct buf *out);
	void *object;
};

int metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
	return buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

int metrics_label(struct buf *out, const char *key, const char *value)
{
	int r = buf_addf(out, "%s=\"", key);

	for (; *value && r == 0; value++)
		r = *value == '\n'		      ? buf_adds(out, "\\n")
		    : *value == '"' || *value == '\\' ? buf_addf(out, "\\%c", *value)
						      : buf_add(out, value, 1);
	return r < 0 ? r : buf_adds(out, "\"");
}

int metrics_value(struct buf *out, const char *name, const char *type, const char *help,
		  uint64_t value)
{
	int r = metrics_family(out, name, type, help);

	return r < 0 ? r : buf_addf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* ---- Routes ---- */

static int route_sample(struct buf *out, const char *name, const struct route *t)
{
	int r = buf_addf(out, "%s{", name);

	if (r == 0)
		r = metrics_label(out, "route", t->path);
	if (r == 0)
		r = buf_adds(out, ",");
	if (r == 0)
		r = metrics_label(out, "type", t->type);
	return r;
}

static int route_counter(struct buf *out, const struct control_mount *m, const char *name,
			 const char *help, size_t offset)
{
	int r = metrics_family(out, name, "counter", help);

	for (size_t i = 0; i < m->n_routes && r == 0; i++) {
		const struct bk *bk = m->routes[i].bk;
		const atomic_uint_fast64_t *at;

		if (!bk)
			continue;
		at = (const void *)((const char *)bk + offset);
		r = route_sample(out, name, &m->routes[i]);
		if (r == 0)
			r = buf_addf(out, "} %llu\n", (unsigned long long)atomic_load(at));
	}
	return r;
}

#define SECONDS "aib_route_request_seconds"

static int route_histogram(struct buf *out, const struct route *t)
{
	const struct histogram *h = &t->bk->latency;
	unsigned long long n = 0;
	int r = 0;

	for (int i = 0; i <= HISTOGRAM_BOUNDS && r == 0; i++) {
		n += atomic_load(&h->counts[i]);
		r = route_sample(out, SECONDS "_bucket", t);
		if (r == 0 && i < HISTOGRAM_BOUNDS)
			r = buf_addf(out, ",le=\"%g\"} %llu\n", histogram_bounds_us[i] / 1e6, n);
		else if (r == 0)
			r = buf_addf(out, ",le=\"+Inf\"} %llu\n", n);
	}
	if (r == 0)
		r = route_sample(out, SECONDS "_sum", t);
	if (r == 0)
		r = buf_addf(out, "} %.6f\n", atomic_load(&h->sum_us) / 1e6);
	if (r == 0)
		r = route_sample(out, SECONDS "_count", t);
	return r < 0 ? r : buf_addf(out, "} %llu\n", n);
}

static int route_histograms(struct buf *out, const struct control_mount *m)
{
	int r = metrics_family(out, SECONDS, "histogram",
			       "Time from a request's arrival to its answer.");

	for (size_t i = 0; i < m->n_routes && r == 0; i++)
		if (m->routes[i].bk)
			r = route_histogram(out, &m->routes[i]);
	return r;
}

/* ---- Sandboxes ---- */

/* The value of the line "state …" in TEXT, cut off there; "unknown" where there is none. */
static const char *state_in(char *text)
{
	char *line = text && strncmp(text, "state ", 6) == 0 ? text : NULL;

	if (text && !line) {
		line = strstr(text, "\nstate ");
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return "unknown";
	line[strcspn(line, "\n")] = '\0';
	return line + 6;
}

static int sandbox_state(struct buf *out, const struct route *t)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	int r = t->bk->ops->sandbox->status(t->bk, &text);

	if (r == 0)
		r = buf_add(&text, "", 1);
	if (r == 0)
		r = buf_adds(out, "aib_sandbox_state{");
	if (r == 0)
		r = metrics_label(out, "sandbox", t->name);
	if (r == 0)
		r = buf_adds(out, ",");
	if (r == 0)
		r = metrics_label(out, "state", state_in(text.data));
	return r < 0 ? r : buf_adds(out, "} 1\n");
}

static int sandbox_states(struct buf *out, const struct control_mount *m)
{
	int r = metrics_family(out, "aib_sandbox_state", "gauge",
			       "1 for the state that a route's sandbox is in.");

	for (size_t i = 0; i < m->n_routes && r == 0; i++)
		if (route_has_sandbox(&m->routes[i]))
			r = sandbox_state(out, &m->routes[i]);
	return r;
}

int metrics_of_routes(void *object, struct buf *out)
{
	const struct control_mount *m = object;
	int r = metrics_family(out, "aib_build_info", "gauge", "1, with the daemon's version.");

	if (r == 0)
		r = buf_adds(out, "aib_build_info{version=\"" AIB_VERSION "\"} 1\n");
	if (r == 0)
		r = route_counter(out, m, "aib_route_operations_total",
				  "Operations of a route's backend.", offsetof(struct bk, calls));
	if (r == 0)
		r = route_counter(out, m, "aib_route_errors_total",
				  "Operations that ended with an error, a missing name included.",
				  offsetof(struct bk, errors));
	if (r == 0)
		r = route_histograms(out, m);
	return r < 0 ? r : sandbox_states(out, m);
}

/* ---- The file ---- */

static int show_metrics(void *object, struct buf *out)
{
	const struct control *c = object;
	int r = 0;

	for (const struct metrics_source *s = c->metrics; s && r == 0; s = s->next)
		r = s->write(s->object, out);
	return r;
}

static const struct control_file_ops metrics_file = {.show = show_metrics};

int metrics_add_file(struct bk *control)
{
	return control_add_file(control, NULL, "metrics", &metrics_file, control_of(control));
}

int control_add_metrics(struct bk *control, int (*write)(void *object, struct buf *out),
			void *object)
{
	struct metrics_source *s = malloc(sizeof(*s)), **end = &control_of(control)->metrics;

	if (!s)
		return -ENOMEM;
	*s = (struct metrics_source){.write = write, .object = object};
	while (*end)
		end = &(*end)->next;
	*end = s;
	return 0;
}

void metrics_done(struct control *c)
{
	while (c->metrics) {
		struct metrics_source *next = c->metrics->next;

		free(c->metrics);
		c->metrics = next;
	}
}
