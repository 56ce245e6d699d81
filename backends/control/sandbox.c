/*
 * Control files of one sandbox. A command written to `ctl` is answered when it is queued; one
 * worker of the sandbox runs it, so a dead engine holds up nothing but its own queue.
 */
#include "sandbox.h"

#include "../base/log.h"
#include "../base/pool.h"
#include "tree.h"

#include <string.h>

#define MAX_QUEUED 16
#define IDLE_MS 5000
#define COMMAND_TIMEOUT_MS (10 * 60 * 1000)

static const char *const verbs[] = {"start", "stop", "restart", "pause", "unpause", "reset"};

/* The object of `ctl`. */
struct queue {
	char *name;
	struct bk *bk;
	void (*release)(void *arg);
	void *arg;
	struct pool *pool; /* one thread: commands run in their order */
	pthread_mutex_t lock;
	struct bk_req *running; /* guarded by lock; cancelled at the end */
	bool ending;		/* guarded by lock */
};

struct command {
	struct work work;
	struct queue *queue;
	const char *verb;
};

/* Publish the request for cancellation. False: the mount ends, and the command is not to run. */
static bool set_running(struct queue *q, struct bk_req *req)
{
	bool go;

	pthread_mutex_lock(&q->lock);
	q->running = req;
	go = !q->ending;
	pthread_mutex_unlock(&q->lock);
	return go;
}

static void run_command(struct work *work)
{
	struct command *cmd = container_of(work, struct command, work);
	struct queue *q = cmd->queue;
	struct bk *bk = q->bk;
	struct bk_req req;
	struct err err = {""};
	int r = 0;

	bk_req_init(&req, 0, 0, 0, COMMAND_TIMEOUT_MS);
	if (set_running(q, &req))
		r = bk->ops->sandbox->ctl(&req, bk, cmd->verb, &err);
	set_running(q, NULL);
	bk_req_done(&req);
	if (r < 0)
		log_error("sandbox %s: %s: %s", q->name, cmd->verb,
			  *err.text ? err.text : strerror(-r));
	free(cmd);
}

static int queue_command(void *object, const struct bk_req *req, const char *text)
{
	struct queue *q = object;
	struct command *cmd;
	const char *verb = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i], text) == 0)
			verb = verbs[i];
	if (!verb)
		return -EINVAL;
	cmd = malloc(sizeof(*cmd));
	if (!cmd)
		return -ENOMEM;
	*cmd = (struct command){.work.run = run_command, .queue = q, .verb = verb};
	r = pool_submit(q->pool, &cmd->work, false);
	if (r < 0)
		free(cmd);
	return r;
}

static void queue_free(void *object)
{
	struct queue *q = object;

	pthread_mutex_lock(&q->lock);
	q->ending = true;
	if (q->running)
		bk_req_cancel(q->running);
	pthread_mutex_unlock(&q->lock);
	pool_end(q->pool);
	if (q->release)
		q->release(q->arg);
	pthread_mutex_destroy(&q->lock);
	free(q->name);
	free(q);
}

static struct queue *queue_new(const char *name, struct bk *bk)
{
	const struct pool_conf conf = {.threads = 1, .queue = MAX_QUEUED, .idle_ms = IDLE_MS};
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->name = strdup(name);
	q->bk = bk;
	if (!q->name || pool_new(&conf, &q->pool) < 0) {
		free(q->name);
		free(q);
		return NULL;
	}
	pthread_mutex_init(&q->lock, NULL);
	return q;
}

static int show_status(void *object, struct buf *out)
{
	const struct route *route = object;
	int r = buf_addf(out, "name %s\nroute %s\n", route->name, route->path);

	return r < 0 ? r : route->bk->ops->sandbox->status(route->bk, out);
}

static int show_error(void *object, struct buf *out)
{
	const struct route *route = object;

	return route->bk->ops->sandbox->error(route->bk, out);
}

static int show_limits(void *object, struct buf *out)
{
	const struct route *route = object;

	return route->bk->ops->sandbox->limits(route->bk, out);
}

static const struct control_file_ops limits_file = {.show = show_limits};
static const struct control_file_ops status_file = {.show = show_status};
static const struct control_file_ops error_file = {.show = show_error};
static const struct control_file_ops ctl_file = {.command = queue_command,
						 .object_free = queue_free};

int control_add_ctl(struct bk *control, struct control_dir *dir, const char *name, struct bk *bk,
		    void (*release)(void *arg), void *arg)
{
	struct queue *q = queue_new(name, bk);
	int r;

	if (!q)
		return -ENOMEM;
	r = control_add_file(control, dir, "ctl", &ctl_file, q);
	if (r < 0) {
		queue_free(q);
		return r;
	}
	q->release = release;
	q->arg = arg;
	return 0;
}

int control_add_sandbox(struct bk *control, struct control_dir *sandboxes,
			const struct route *route)
{
	struct control_dir *dir;
	int r =
	    control_add_dir(control, sandboxes, route->name, &(struct control_dir_conf){0}, &dir);

	if (r == 0)
		r = control_add_file(control, dir, "status", &status_file, (void *)route);
	if (r == 0)
		r = control_add_file(control, dir, "error", &error_file, (void *)route);
	if (r == 0 && route->bk->ops->sandbox->limits)
		r = control_add_file(control, dir, "limits", &limits_file, (void *)route);
	return r < 0 ? r : control_add_ctl(control, dir, route->name, route->bk, NULL, NULL);
}
