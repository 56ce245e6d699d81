/*
 * The socket, the thread, and the end; see server.h.
 */
#include "server.h"

#include "../../backends/base/clock.h"
#include "../../backends/base/log.h"
#include "conn.h"
#include "job.h"
#include "metrics.h"
#include "starters.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define START_TIMEOUT_MS (10 * 60 * 1000)
#define MAX_COMMANDS 1000
#define MAX_OPERATIONS 16
#define MAX_JOBS 1000
#define KEEP_JOBS 200
#define JOB_OUTPUT (16 << 20)

bool server_allows(const struct server *s, uid_t uid)
{
	if (uid == 0 || uid == s->conf.uid)
		return true;
	for (size_t i = 0; i < s->conf.n_users; i++)
		if (s->conf.users[i] == uid)
			return true;
	return false;
}

void server_changed(struct server *s, struct bk *bk)
{
	bk->ops->sandbox->changed(bk);
	if (s->conf.changed)
		s->conf.changed(s->conf.ctx, bk);
}

static void listener_ready(struct watch *w, uint32_t events)
{
	struct server *s = container_of(w, struct server, listener);
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC), r;

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    (!s->conf.open && !server_allows(s, peer.uid))) {
		close(fd);
		return;
	}
	r = conn_new(s, fd, peer.uid);
	if (r < 0)
		log_warning("exec socket: a client was turned away: %s", strerror(-r));
}

static void *server_thread(void *arg)
{
	struct server *s = arg;

	while (!s->loop.ending)
		loop_turn(&s->loop, -1);
	return NULL;
}

/* ---- Tasks from other threads ---- */

struct say {
	struct task task;
	struct server *server;
	char text[];
};

static void say_run(struct task *task)
{
	struct say *x = container_of(task, struct say, task);

	conn_progress(x->server, x->text);
	free(x);
}

void server_say(struct server *s, const char *text)
{
	size_t n = strlen(text) + 1;
	struct say *x = malloc(sizeof(*x) + n);

	if (!x)
		return;
	*x = (struct say){.task.run = say_run, .server = s};
	memcpy(x->text, text, n);
	loop_post(&s->loop, &x->task);
}

/* A task that its poster waits for. */
struct errand {
	struct task task;
	struct server *server;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done; /* guarded by lock */
};

static void errand_done(struct errand *e)
{
	pthread_mutex_lock(&e->lock);
	e->done = true;
	pthread_cond_signal(&e->cond);
	pthread_mutex_unlock(&e->lock);
}

static void run_errand(struct server *s, void (*run)(struct task *))
{
	struct errand e = {.task.run = run,
			   .server = s,
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .cond = PTHREAD_COND_INITIALIZER};

	loop_post(&s->loop, &e.task);
	pthread_mutex_lock(&e.lock);
	while (!e.done)
		pthread_cond_wait(&e.cond, &e.lock);
	pthread_mutex_unlock(&e.lock);
}

/* Commands that were starting come back to the loop first, where they end. */
static void stop_run(struct task *task)
{
	struct errand *e = container_of(task, struct errand, task);

	e->server->ending = true;
	e->server->stopping = e;
	collector_close_all(e->server);
	conn_close_all(e->server);
	jobs_close(e->server->jobs);
	server_started(e->server);
}

void server_started(struct server *s)
{
	if (!s->stopping || starters_busy(s))
		return;
	starters_end(s);
	errand_done(TAKE(s->stopping));
}

static void end_run(struct task *task)
{
	struct errand *e = container_of(task, struct errand, task);

	e->server->loop.ending = true;
	errand_done(e);
}

void server_stop(struct server *s)
{
	if (s->ending)
		return;
	run_errand(s, stop_run);
	operations_end(s);
	jobs_end(s->jobs);
}

/* ---- Beginning and end ---- */

static int bind_socket(struct server *s, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *path = s->conf.socket_path;
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG,
			       "exec socket %s: the path is too long (%zu bytes at most)", path,
			       sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "exec socket: %s", strerror(errno));
	/* What is there is a killed daemon's: the mount's own directory is ours alone. */
	unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    chmod(path, s->conf.n_users || s->conf.open ? 0666 : 0600) < 0 ||
	    (getuid() == 0 && chown(path, s->conf.uid, -1) < 0) || listen(fd, 128) < 0) {
		r = err_set(err, -errno, "exec socket %s: %s", path, strerror(errno));
		close(fd);
		return r;
	}
	r = loop_add(&s->loop, &s->listener, fd, EPOLLIN);
	if (r < 0) {
		close(fd);
		s->listener.fd = -1;
	}
	return r;
}

static void server_done(struct server *s)
{
	operations_end(s);
	free(s->op_pools);
	jobs_done(s->jobs);
	if (s->listener.fd >= 0) {
		unlink(s->conf.socket_path);
		close(s->listener.fd);
	}
	loop_done(&s->loop);
	free(s);
}

static void set_defaults(struct job_conf *c)
{
	if (!c->max_jobs)
		c->max_jobs = MAX_JOBS;
	if (!c->keep_jobs)
		c->keep_jobs = KEEP_JOBS;
	if (!c->output)
		c->output = JOB_OUTPUT;
}

static int make_jobs(struct server *s, struct err *err)
{
	int r = jobs_new(s, &s->conf.jobs, s->conf.control, &s->jobs, err);

	if (r < 0 || !s->conf.control)
		return r;
	r = control_add_file(s->conf.control, NULL, "exec", &collector_file, s);
	return r < 0 ? r : control_add_metrics(s->conf.control, server_metrics, s);
}

int server_new(const struct server_conf *conf, struct server **ret, struct err *err)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	if (!s->conf.max_commands)
		s->conf.max_commands = MAX_COMMANDS;
	if (!s->conf.max_operations)
		s->conf.max_operations = MAX_OPERATIONS;
	if (!s->conf.start_timeout_ms)
		s->conf.start_timeout_ms = START_TIMEOUT_MS;
	set_defaults(&s->conf.jobs);
	s->world = (struct request_world){conf->routes, conf->n_routes, conf->mountpoint};
	s->listener = (struct watch){.fd = -1, .ready = listener_ready};
	s->started_ms = clock_ms();
	r = loop_init(&s->loop);
	if (r < 0) {
		free(s);
		return err_set(err, r, "exec server: %s", strerror(-r));
	}
	s->op_pools = calloc(conf->n_routes + 1, sizeof(*s->op_pools));
	r = s->op_pools ? make_jobs(s, err) : -ENOMEM;
	if (r == 0)
		r = bind_socket(s, err);
	if (r == 0)
		r = -pthread_create(&s->thread, NULL, server_thread, s);
	if (r < 0) {
		server_done(s);
		return r;
	}
	*ret = s;
	return 0;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	server_stop(s);
	run_errand(s, end_run);
	pthread_join(s->thread, NULL);
	conn_answer_end(s);
	server_done(s);
}
