/*
 * The standard tree: what a mount says of itself and of its sandboxes. It reads the routes' table
 * and the contract's sandbox operations, and nothing else.
 */
#include "control.h"

#include "../base/log.h"
#include "metrics.h"
#include "sandbox.h"

static int show_version(void *object, struct buf *out)
{
	return buf_adds(out, AIB_VERSION "\n");
}

static int show_routes(void *object, struct buf *out)
{
	const struct control_mount *m = object;
	int r = 0;

	for (size_t i = 0; i < m->n_routes && r == 0; i++) {
		const struct route *t = &m->routes[i];

		r = buf_addf(out, "%s %s%s%s%s\n", t->path, t->type, *t->source ? ":" : "",
			     t->source, t->failure ? " failed" : "");
	}
	return r;
}

static int show_status(void *object, struct buf *out)
{
	const struct control_mount *m = object;
	size_t failed = 0;

	for (size_t i = 0; i < m->n_routes; i++)
		failed += m->routes[i].failure != NULL;
	return buf_addf(out,
			"version %s\npid %d\nmountpoint %s\nsocket %s\nroutes %zu\nfailed %zu\n",
			AIB_VERSION, getpid(), m->mountpoint, m->socket, m->n_routes, failed);
}

static uint64_t log_file_size(void *object)
{
	return log_end();
}

static ssize_t log_file_read(void *object, uint64_t pos, void *data, size_t size)
{
	return log_read(pos, data, size);
}

static const struct control_file_ops version_file = {.show = show_version};
static const struct control_file_ops routes_file = {.show = show_routes};
static const struct control_file_ops status_file = {.show = show_status};
static const struct control_file_ops log_file = {.live_size = log_file_size,
						 .live_read = log_file_read};

static int add_sandboxes(struct bk *control, const struct control_mount *m)
{
	struct control_dir *dir;
	int r = control_add_dir(control, NULL, "sandboxes", &(struct control_dir_conf){0}, &dir);

	for (size_t i = 0; i < m->n_routes && r == 0; i++)
		if (route_has_sandbox(&m->routes[i]))
			r = control_add_sandbox(control, dir, &m->routes[i]);
	return r;
}

int control_populate(struct bk *control, const struct control_mount *m)
{
	void *object = (void *)m;
	int r = control_add_file(control, NULL, "version", &version_file, object);

	if (r == 0)
		r = control_add_file(control, NULL, "status", &status_file, object);
	if (r == 0)
		r = control_add_file(control, NULL, "routes", &routes_file, object);
	if (r == 0)
		r = metrics_add_file(control);
	if (r == 0)
		r = control_add_metrics(control, metrics_of_routes, object);
	if (r == 0)
		r = control_add_file(control, NULL, "log", &log_file, NULL);
	if (r == 0)
		r = control_add_link(control, NULL, "socket", m->socket);
	return r < 0 ? r : add_sandboxes(control, m);
}
