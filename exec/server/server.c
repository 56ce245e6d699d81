/*
 * The socket, the thread, and the end; see server.h.
 */
#include "server.h"

#include "../../backends/base/clock.h"
#include "../../backends/base/log.h"
#include "../../backends/base/pool.h"
#include "conn.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define START_THREADS 8
#define START_QUEUE 256
#define START_IDLE_MS 5000
#define START_TIMEOUT_MS (10 * 60 * 1000)
#define MAX_COMMANDS 1000
#define MAX_OPERATIONS 16

static bool allowed(const struct server *s, uid_t uid)
{
	if (uid == 0 || uid == s->conf.uid)
		return true;
	for (size_t i = 0; i < s->conf.n_users; i++)
		if (s->conf.users[i] == uid)
			return true;
	return false;
}

static void listener_ready(struct watch *w, uint32_t events)
{
	struct server *s = container_of(w, struct server, listener);
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC), r;

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || !allowed(s, peer.uid)) {
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

static void stop_run(struct task *task)
{
	struct errand *e = container_of(task, struct errand, task);

	e->server->ending = true;
	collector_close_all(e->server);
	conn_close_all(e->server);
	errand_done(e);
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
	for (size_t i = 0; i < s->conf.n_routes; i++)
		pool_end(TAKE(s->pools[i]));
	operations_end(s);
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
	    chmod(path, s->conf.n_users ? 0666 : 0600) < 0 ||
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

static int make_pools(struct server *s)
{
	const struct pool_conf conf = {
	    .threads = START_THREADS,
	    .queue = START_QUEUE,
	    .idle_ms = START_IDLE_MS,
	};
	int r = 0;

	s->pools = calloc(s->conf.n_routes + 1, sizeof(*s->pools));
	s->op_pools = calloc(s->conf.n_routes + 1, sizeof(*s->op_pools));
	if (!s->pools || !s->op_pools)
		return -ENOMEM;
	for (size_t i = 0; i < s->conf.n_routes && r == 0; i++)
		if (route_has_sandbox(&s->conf.routes[i]))
			r = pool_new(&conf, &s->pools[i]);
	return r;
}

static void server_done(struct server *s)
{
	for (size_t i = 0; s->pools && i < s->conf.n_routes; i++)
		pool_end(s->pools[i]);
	free(s->pools);
	operations_end(s);
	free(s->op_pools);
	if (s->listener.fd >= 0) {
		unlink(s->conf.socket_path);
		close(s->listener.fd);
	}
	loop_done(&s->loop);
	free(s);
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
	s->world = (struct request_world){conf->routes, conf->n_routes, conf->mountpoint};
	s->listener = (struct watch){.fd = -1, .ready = listener_ready};
	s->started_ms = clock_ms();
	r = loop_init(&s->loop);
	if (r < 0) {
		free(s);
		return err_set(err, r, "exec server: %s", strerror(-r));
	}
	r = make_pools(s);
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
