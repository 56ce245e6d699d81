#include "serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/spin.h"
#include "composite/composite.h"
#include "control/control.h"
#include "figures.h"
#include "lifecycle.h"
#include "mounted.h"
#include "mountpoint.h"
#include "places.h"
#include "registry.h"
#include "routes.h"
#include "server/server.h"
#include "session.h"
#include "sessions/request.h"

#include <fcntl.h>
#include <fuse_opt.h>
#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>

/* SIGTERM to the end of the process; the design promises 10 s. */
#define MAX_END_MS 9000

struct daemon {
	const struct config *c;
	const char *mountpoint;
	const struct supervised *by; /* NULL: nobody */
	struct lifecycle life;
	struct bk_req preparing;

	struct registry_entry entry;
	char id[REGISTRY_ID_SIZE];
	char *guest, *socket, *job_dir;
	struct bk_spaces *spaces;
	struct bk_mount mount; /* what the backends of the routes borrow */
	struct runtimes *runtimes;
	struct routes routes;
	struct bk *control; /* one of the routes, or NULL */
	struct control_mount shown;
	struct sessions_control sessions;
	struct server *server;
	struct bk *composite;
	struct ops_tree tree; /* what operations work on */
	bool io_uring;

	pthread_mutex_t lock; /* guards the two below */
	struct fs *fs;
	bool stopping;
	pthread_cond_t stopped; /* for who waits without a mount */
};

/* Without a mount the tree is there for the socket alone. */
static bool is_mounted(const struct daemon *d)
{
	return *d->mountpoint;
}

/* ---- The end ---- */

static void stop(void *ctx)
{
	struct daemon *d = ctx;

	bk_req_cancel(&d->preparing);
	lifecycle_ending(&d->life, MAX_END_MS);
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_signal(&d->stopped);
	if (d->fs)
		fs_exit(d->fs);
	pthread_mutex_unlock(&d->lock);
}

/* Something does not answer. What it holds is found by the next mount here. */
static void overdue(void *ctx)
{
	struct daemon *d = ctx;

	if (d->fs)
		(void)mounted_detach(d->mountpoint, true, NULL);
	_exit(1);
}

/* ---- The parts ---- */

static int make_routes(struct daemon *d, struct err *err)
{
	const struct config_options *o = &d->c->opt;
	struct progress progress;
	int r;

	r = places_guest(o->guest, &d->guest, err);
	if (r < 0)
		return r;
	/* Root needs none, and by them it would be of a file's group where a caller is not. A user
	 * namespace may not let go of them. */
	if (geteuid() == 0 && setgroups(0, NULL) < 0 && errno != EPERM)
		return err_set(err, -errno, "cannot drop further groups: %s", strerror(errno));
	progress_init(&progress);
	r = bk_spaces_new(&d->spaces);
	if (r < 0)
		return r;
	d->mount = (struct bk_mount){
	    .id = d->id,
	    .mountpoint = d->mountpoint,
	    .alive = d->entry.info,
	    .uid = geteuid(),
	    .gid = getegid(),
	    .spool_dir = o->spool,
	    .guest = d->guest,
	    .engines = d->c->engines,
	    .spaces = d->spaces,
	    .can_switch_user = geteuid() == 0,
	    .follows = d->by && d->by->restarts,
	};
	r = config_runtimes(d->c, &d->runtimes, err);
	d->mount.runtimes = d->runtimes;
	return r < 0 ? r
		     : routes_new(d->c, &d->mount, d->runtimes, &d->preparing, &progress,
				  &d->routes, err);
}

/* Whether the session's requests come over io_uring. Of the control tree none waits where no route
 * has commands, so it is asked before that is there. */
static int choose_io_uring(struct daemon *d, struct err *err)
{
	const char *wanted = d->c->opt.io_uring;
	const struct route *waiting = routes_waiting(&d->routes);
	const char *refused = waiting ? "requests of a route may wait" : fs_uring_refused();

	if (strcmp(wanted, "no") == 0)
		refused = "it is not wanted";
	if (refused && strcmp(wanted, "yes") == 0)
		return err_set(err, -EOPNOTSUPP, "io_uring=yes: %s%s%s", refused,
			       waiting ? ": " : "", waiting ? waiting->path : "");
	log_info("io_uring: %s%s", refused ? "off: " : "on", refused ? refused : "");
	d->io_uring = !refused;
	return 0;
}

/* Nothing before the session is there. */
static int session_metrics(void *object, struct buf *out)
{
	struct daemon *d = object;
	struct fs_figures figures = {0};

	pthread_mutex_lock(&d->lock);
	if (d->fs)
		fs_figures(d->fs, &figures);
	pthread_mutex_unlock(&d->lock);
	return figures_write(&figures, out);
}

/* Whether there are sandboxes that may be others'. */
static bool is_open(const struct daemon *d)
{
	const struct routes *r = &d->routes;

	if (!is_mounted(d))
		return false;
	for (size_t i = 0; i < r->n; i++)
		if (r->list[i].bk && r->list[i].bk->ops->enter)
			return true;
	return false;
}

/* The control tree is a route as any other; what it shows are the routes before it. */
static int add_control(struct daemon *d)
{
	const char *how = d->c->opt.control;
	size_t n = d->routes.n;
	int r;

	if (strcmp(how, "none") == 0)
		return 0;
	r = control_new(
	    &(struct control_conf){
		.uid = geteuid(),
		.gid = getegid(),
		.users = d->c->control_users,
		.n_users = d->c->n_control_users,
		.open = is_open(d),
		.enter = sessions_control_enter,
		.ctx = &d->sessions,
	    },
	    &d->control);
	if (r < 0)
		return r;
	r = routes_add(&d->routes, d->mount.spaces, "/.aib", "control", d->control,
		       strcmp(how, "hidden") == 0);
	if (r < 0) {
		bk_free(TAKE(d->control));
		return r;
	}
	d->shown = (struct control_mount){
	    .routes = d->routes.list,
	    .n_routes = n,
	    .mountpoint = d->mountpoint,
	    .socket = d->socket,
	};
	r = control_populate(d->control, &d->shown);
	if (r == 0)
		r = runtimes_add_control(d->runtimes, d->control);
	if (r == 0)
		r = control_add_metrics(d->control, session_metrics, d);
	return r < 0 ? r : sessions_control_add(&d->sessions, d->control);
}

static void asked_to_end(void *ctx, bool force)
{
	stop(ctx);
}

/* The routes whose files a command in BK's sandbox may change: its own, and those bound into it. */
static bool may_change(const struct route *r, const struct bk *bk)
{
	return r->bk && (r->bk == bk || (r->exec && r->exec->bk == bk));
}

/* One that says itself what its commands may change. */
static void forget_tree(void *ctx, struct bk *bk)
{
	fs_changed(ctx, bk);
}

static void changed(void *ctx, struct bk *bk)
{
	const struct bk_sandbox_ops *ops = bk->ops->sandbox;
	struct daemon *d = ctx;
	struct fs *fs;

	/* It is freed after the server has stopped, which calls this. */
	pthread_mutex_lock(&d->lock);
	fs = d->fs;
	pthread_mutex_unlock(&d->lock);
	if (fs && ops->touches)
		ops->touches(bk, forget_tree, fs);
	for (size_t i = 0; fs && !ops->touches && i < d->routes.n; i++)
		if (may_change(&d->routes.list[i], bk))
			fs_changed(fs, d->routes.list[i].bk);
}

static void replaced(void *ctx, struct bk_node *dir, const char *name)
{
	struct daemon *d = ctx;
	struct fs *fs;

	/* As in changed. Once nobody answers requests any more, the kernel may not take it either.
	 */
	pthread_mutex_lock(&d->lock);
	fs = d->stopping ? NULL : d->fs;
	pthread_mutex_unlock(&d->lock);
	if (fs)
		fs_replaced(fs, dir, name);
}

static void add_status(void *ctx, cJSON *reply)
{
	struct daemon *d = ctx;

	/* The supervisor may be gone: then we are somebody else's child. */
	cJSON_AddBoolToObject(reply, "supervised", d->by && getppid() == d->by->supervisor);
	cJSON_AddNumberToObject(reply, "restarts", d->by ? d->by->restarts : 0);
}

static int answer_sessions(void *ctx, struct bk_req *req, bool all, const cJSON *request,
			   cJSON **ret, struct err *err)
{
	struct daemon *d = ctx;

	return sessions_answer(&d->sessions, req, all, request, ret, err);
}

static int add_server(struct daemon *d, struct err *err)
{
	const struct config_options *o = &d->c->opt;
	int r = places_job_dir(d->c->opt.job_dir, d->id, &d->job_dir, err);

	if (r < 0)
		return r;
	d->tree = (struct ops_tree){
	    .root = d->composite,
	    .mountpoint = d->mountpoint,
	    .owner = geteuid(),
	    .allow_other = d->c->opt.allow_other,
	    .readonly = d->c->opt.ro,
	    .nosymfollow = d->c->opt.nosymfollow,
	    .deadline_ms = d->c->opt.deadline_ms,
	    .replaced = replaced,
	    .ctx = d,
	};
	return server_new(
	    &(struct server_conf){
		.socket_path = d->socket,
		.mountpoint = d->mountpoint,
		.routes = d->routes.list,
		.n_routes = d->routes.n,
		.uid = geteuid(),
		.jobs = {.dir = d->job_dir,
			 .max_jobs = o->max_jobs,
			 .keep_jobs = o->keep_jobs,
			 .output = o->job_output,
			 .wait_ms = o->job_wait_ms,
			 .passing = !is_mounted(d)},
		.control = d->control,
		.users = d->c->control_users,
		.n_users = d->c->n_control_users,
		.tree = &d->tree,
		.max_operations = d->c->opt.max_operations,
		.ctx = d,
		.open = is_open(d),
		.changed = changed,
		.sessions = answer_sessions,
		.umount = asked_to_end,
		.status = add_status,
	    },
	    &d->server, err);
}

static void alive(void *ctx)
{
	struct daemon *d = ctx;

	lifecycle_alive(&d->life);
}

static int make_session(struct daemon *d)
{
	const struct config_options *o = &d->c->opt;
	struct fs_conf conf = fs_conf_default;
	struct fs *fs;
	int r;

	spin_limit(o->busy_poll_us);
	conf.timeout_ms = o->deadline_ms;
	conf.threads = o->threads;
	conf.pool_threads = o->pool_threads;
	conf.pool_queue = o->pool_queue;
	conf.pool_idle_ms = o->pool_idle_ms;
	conf.max_open = o->max_open;
	conf.max_nodes = o->max_nodes;
	conf.allow_other = o->allow_other;
	conf.passthrough = strcmp(o->passthrough, "no") != 0;
	conf.linger_ms = o->linger_ms;
	conf.follow_caller = strcmp(o->follow_caller, "no") != 0;
	conf.debug = o->debug;
	conf.alive = alive;
	conf.ctx = d;
	conf.alive_ms = d->by ? o->watchdog_ms / 4 : lifecycle_alive_ms();
	conf.io_uring = d->io_uring;
	r = fs_new(d->composite, &conf, &fs);
	if (r < 0)
		return r;
	pthread_mutex_lock(&d->lock);
	d->fs = fs;
	r = d->stopping ? -EINTR : 0;
	pthread_mutex_unlock(&d->lock);
	return r;
}

/* libfuse 3.14 does not know the flag, so it is set on the mount that is there. */
static int set_nosymfollow(const char *mountpoint, unsigned long flags, struct err *err)
{
	if (mount(NULL, mountpoint, NULL,
		  MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOSYMFOLLOW | flags, NULL) == 0)
		return 0;
	return err_set(err, -errno, "nosymfollow: %m%s",
		       errno == EPERM ? " (only root can set it)" : "");
}

static int do_mount(struct daemon *d, struct err *err)
{
	const struct config_options *o = &d->c->opt;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int r = 0;

	if (fuse_opt_add_arg(&args, "aibfs") ||
	    (o->noexec && fuse_opt_add_arg(&args, "-onoexec")) ||
	    (o->ro && fuse_opt_add_arg(&args, "-oro")))
		r = -ENOMEM;
	/* What the one before left covers the directory until here: nobody writes into that. */
	if (r == 0 && d->by && d->by->restarts)
		r = mountpoint_clear(d->mountpoint, err);
	if (r == 0)
		r = fs_mount(d->fs, d->mountpoint, &args);
	fuse_opt_free_args(&args);
	if (r < 0)
		return err_set(err, r,
			       "cannot mount at %s: %s (see the lines above, or aib doctor)",
			       d->mountpoint, strerror(-r));
	if (o->nosymfollow)
		return set_nosymfollow(d->mountpoint,
				       (o->noexec ? MS_NOEXEC : 0) | (o->ro ? MS_RDONLY : 0), err);
	return 0;
}

/* ---- All of it ---- */

/* Without a mount it is no path, so that no client takes the entry for a mount; and nobody else's.
 */
static int enter_registry(struct daemon *d, struct err *err)
{
	_cleanup_free_ char *own = NULL;
	const char *name = d->mountpoint;

	if (!is_mounted(d)) {
		if (asprintf(&own, "process %d since %llu", getpid(),
			     (unsigned long long)clock_us()) < 0)
			return -ENOMEM;
		name = own;
	}
	registry_id(name, d->id);
	return registry_add(name, &d->entry, err);
}

static int start(struct daemon *d, struct err *err)
{
	int r = lifecycle_start(&d->life, err);

	if (r == 0)
		r = enter_registry(d, err);
	if (r < 0)
		return r;
	if (asprintf(&d->socket, "%s/socket", d->entry.dir) < 0) {
		d->socket = NULL;
		return -ENOMEM;
	}
	r = make_routes(d, err);
	if (r == 0)
		r = choose_io_uring(d, err);
	if (r == 0)
		r = sessions_control_init(&d->sessions, d->routes.list, d->routes.n);
	if (r == 0)
		r = add_control(d);
	if (r == 0)
		r = composite_new(d->routes.list, d->routes.n, &d->composite, err);
	if (r == 0)
		r = add_server(d, err);
	if (r == 0 && is_mounted(d))
		r = make_session(d);
	if (r == 0 && is_mounted(d))
		r = do_mount(d, err);
	return r;
}

static void say(void *ctx, const char *text)
{
	struct daemon *d = ctx;

	log_info("%s", text);
	if (d->server)
		server_say(d->server, text);
}

/* STUCK: a call does not end and may go on using what it has until the process is gone: backends
 * and containers are left, for the next mount here to find. */
static void end(struct daemon *d, bool stuck)
{
	struct fs *fs;

	lifecycle_ending(&d->life, MAX_END_MS);
	pthread_mutex_lock(&d->lock);
	fs = TAKE(d->fs);
	pthread_mutex_unlock(&d->lock);
	/* Who asked for the end is answered when all has ended: the server stays until then. */
	if (d->server)
		server_stop(d->server);
	fs_free(fs);
	if (!stuck) {
		bk_free(d->composite);
		sessions_control_end(&d->sessions);
		routes_stop(&d->routes, say, d);
	}
	server_free(d->server);
	if (!stuck) {
		sessions_control_done(&d->sessions);
		routes_free(&d->routes);
		runtimes_free(d->runtimes);
		bk_spaces_free(d->spaces);
	}
	registry_remove(&d->entry);
	lifecycle_done(&d->life);
	bk_req_done(&d->preparing);
	free(d->guest);
	free(d->socket);
	free(d->job_dir);
}

/* Until the end: 0, or -errno with text; -ETIMEDOUT where a call does not end. */
static int serve_mount(struct daemon *d, struct err *err)
{
	int r = fs_run(d->fs);

	return r < 0 ? err_set(err, r, "cannot serve: %s", strerror(-r)) : 0;
}

static int serve_socket(struct daemon *d, struct err *err)
{
	if (printf("%s\n", d->entry.dir) < 0 || fflush(stdout) != 0)
		return err_set(err, -EIO, "cannot say where the socket is: %m");
	pthread_mutex_lock(&d->lock);
	while (!d->stopping)
		pthread_cond_wait(&d->stopped, &d->lock);
	pthread_mutex_unlock(&d->lock);
	return 0;
}

int serve(const struct config *c, const char *mountpoint, bool foreground,
	  const struct supervised *by, struct err *err)
{
	struct daemon d = {
	    .c = c,
	    .by = by,
	    .mountpoint = mountpoint,
	    .life = LIFECYCLE_INIT,
	    .entry = {.info_fd = -1},
	    .lock = PTHREAD_MUTEX_INITIALIZER,
	    .stopped = PTHREAD_COND_INITIALIZER,
	};
	bool stuck = false;
	int r;

	d.life.stop = stop;
	d.life.overdue = overdue;
	d.life.ctx = &d;
	if (by) {
		d.life.background = !foreground;
		d.life.report_fd = by->report_fd;
	} else if (!foreground) {
		r = lifecycle_background(&d.life, err);
		if (r < 0)
			return r;
	}
	if (strcmp(c->opt.passthrough, "no") != 0)
		fs_give_up_rights();
	bk_req_init(&d.preparing, geteuid(), getegid(), 0, c->opt.prepare_timeout_ms);
	r = start(&d, err);
	if (r == 0) {
		(void)!chdir("/");
		log_info(is_mounted(&d) ? "mounted at %s" : "serves the socket%s", mountpoint);
		lifecycle_ready(&d.life);
		r = is_mounted(&d) ? serve_mount(&d, err) : serve_socket(&d, err);
		stuck = r == -ETIMEDOUT;
	}
	end(&d, stuck);
	return r;
}
