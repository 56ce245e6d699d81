/*
 * Commands of users. The guest's `run` starts the command and speaks the frames of exec/protocol.h
 * over the stream that is handed on as it is. `run` itself is started by `serve` where there is a
 * channel that can (about a millisecond), else by the Engine's exec (a quarter of a second): then
 * the engine gives it user and environment, which it otherwise has to be told.
 */
#include "live.h"

#include "spec.h"

#include "../remote/remote.h"

#include <string.h>

#define ARGS_MAX 65536
#define FLAGS_MAX 32

struct run_args {
	const char **argv;
	size_t n;
	char tty[32], timeout[32], wait[32];
};

static void add(struct run_args *a, const char *arg)
{
	a->argv[a->n++] = arg;
}

static void add_pair(struct run_args *a, const char *flag, const char *value)
{
	add(a, flag);
	add(a, value);
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* Room for all that add_… may add. */
static int begin_args(const struct bk_exec *x, struct run_args *a)
{
	size_t n = count(x->argv);

	if (n > ARGS_MAX)
		return -E2BIG;
	*a = (struct run_args){.argv = calloc(n + 2 * count(x->env) + FLAGS_MAX, sizeof(*a->argv))};
	if (!a->argv)
		return -ENOMEM;
	add_pair(a, GUEST_PATH, "run");
	return 0;
}

/* Of an image that names none, root with all groups that /etc/group gives him. */
static const char *user_of(const struct docker *d, const struct bk_exec *x)
{
	return x->user ? x->user : *d->sb.user ? d->sb.user : "0";
}

/* What an engine does for a command that it starts. */
static void add_identity(const struct docker *d, const struct bk_exec *x, struct run_args *a)
{
	add_pair(a, "-u", user_of(d, x));
	if (!x->cwd && !d->conf.workdir)
		add_pair(a, "-C", *d->sb.workdir ? d->sb.workdir : "/");
	if (*d->sb.home)
		add_pair(a, "-e", d->sb.home);
	for (size_t i = 0; x->env && x->env[i]; i++)
		add_pair(a, "-e", x->env[i]);
}

static void add_command(const struct docker *d, const struct bk_exec *x, struct run_args *a)
{
	const char *cwd = x->cwd ? x->cwd : d->conf.workdir;

	if (x->tty) {
		snprintf(a->tty, sizeof(a->tty), "%ux%u", x->rows, x->cols);
		add_pair(a, "-t", a->tty);
	}
	if (x->merged)
		add_pair(a, "-2", "1");
	if (x->timeout_ms) {
		snprintf(a->timeout, sizeof(a->timeout), "%llu", (unsigned long long)x->timeout_ms);
		add_pair(a, "-T", a->timeout);
	}
	if (cwd)
		add_pair(a, "-C", cwd);
	if (x->pwd)
		add_pair(a, "-P", x->pwd);
	if (x->job)
		add_pair(a, "-j", x->job);
	if (x->job && x->job_wait_ms) {
		snprintf(a->wait, sizeof(a->wait), "%llu", (unsigned long long)x->job_wait_ms);
		add_pair(a, "-J", a->wait);
	}
	add(a, "--");
	for (size_t i = 0; x->argv[i]; i++)
		add(a, x->argv[i]);
}

static int by_engine(struct bk_req *req, struct docker *d, const struct bk_exec *x,
		     struct bk_stream **ret, struct err *err)
{
	struct engine_exec ex = {
	    .env = x->env,
	    .user = user_of(d, x),
	    .workdir = x->cwd || d->conf.workdir ? "/" : NULL,
	};
	struct run_args a;
	int r = begin_args(x, &a);

	if (r < 0)
		return r;
	add_command(d, x, &a);
	ex.argv = a.argv;
	r = sandbox_exec(req, &d->sb, &ex, ret, NULL, err);
	free(a.argv);
	return r;
}

/* -EOPNOTSUPP, -E2BIG or, where the channel has ended, -EIO: the engine may still do it. */
static int by_guest(struct bk_req *req, struct docker *d, struct channel *c,
		    const struct bk_exec *x, struct bk_stream **ret, struct err *err)
{
	struct run_args a;
	int r = begin_args(x, &a);

	if (r < 0)
		return r;
	add_identity(d, x, &a);
	add_command(d, x, &a);
	r = remote_exec(req, channel_bk(c), a.argv, NULL, ret, err);
	free(a.argv);
	return r;
}

static int start(struct bk_req *req, struct docker *d, const struct bk_exec *x,
		 struct bk_stream **ret, struct err *err)
{
	_cleanup_(channel_unrefp) struct channel *c = NULL;
	int r = sandbox_running(req, &d->sb, err);

	if (r == 0)
		r = transport_find(req, d, &c, err);
	if (r < 0)
		return r;
	if (c) {
		r = by_guest(req, d, c, x, ret, err);
		if (r != -EOPNOTSUPP && r != -E2BIG && !(r == -EIO && channel_is_over(c)))
			return r;
	}
	return by_engine(req, d, x, ret, err);
}

static int docker_exec(struct bk_req *req, struct bk *bk, const struct bk_exec *x,
		       struct bk_stream **ret, struct err *err)
{
	struct docker *d = container_of(bk, struct docker, bk);
	int r = start(req, d, x, ret, err);

	if (r < 0 && r != -EINTR)
		return sandbox_fail(&d->sb, r, "%s", err->text);
	if (r == 0)
		sandbox_works(&d->sb);
	return r;
}

/* The job's `run` may be another user's; root comes through to each. */
static int attach(struct bk_req *req, struct docker *d, const char *job, struct bk_stream **ret,
		  struct err *err)
{
	const char *const argv[] = {GUEST_PATH, "attach", job, NULL};
	const struct engine_exec ex = {.argv = argv, .user = "0:0", .workdir = "/"};
	_cleanup_(channel_unrefp) struct channel *c = NULL;
	_cleanup_free_ char *id = NULL;
	int r = sandbox_see_running(req, &d->sb, err);

	if (r == 0)
		r = transport_find(req, d, &c, err);
	if (r == 0 && c) {
		r = remote_exec(req, channel_bk(c), argv, NULL, ret, err);
		if (r != -EOPNOTSUPP && !(r == -EIO && channel_is_over(c)))
			return r;
		r = 0;
	}
	return r < 0 ? r : engine_exec_start(req, d->sb.engine, d->sb.ref, &ex, ret, &id, err);
}

static int docker_attach(struct bk_req *req, struct bk *bk, const char *job, struct bk_stream **ret,
			 struct err *err)
{
	struct docker *d = container_of(bk, struct docker, bk);
	struct sandbox_look look;
	int r = attach(req, d, job, ret, err);

	/* What is only stopped for a while has lost nothing. */
	sandbox_look(&d->sb, &look);
	return r == -ENOTCONN && (look.state == SANDBOX_PAUSED || look.state == SANDBOX_STARTING)
		   ? -EAGAIN
		   : r;
}

static bool docker_lasts(struct bk *bk)
{
	const struct docker *d = container_of(bk, struct docker, bk);

	return d->sb.attached || d->conf.keep;
}

static void docker_changed(struct bk *bk)
{
	struct docker *d = container_of(bk, struct docker, bk);

	atomic_fetch_add(&d->sb.generation, 1);
	transport_forget(d);
}

/* Whether what runs after it is there to be looked into. */
static bool opens(const char *verb)
{
	return strcmp(verb, "stop") != 0 && strcmp(verb, "pause") != 0;
}

static int docker_ctl(struct bk_req *req, struct bk *bk, const char *verb, struct err *err)
{
	struct docker *d = container_of(bk, struct docker, bk);
	struct channel *c = NULL;
	bool open = opens(verb);
	int r;

	sandbox_set_opening(&d->sb, open);
	r = sandbox_ctl(req, &d->sb, verb, err);
	/* Where it runs now, the first look into it need not wait for this. */
	if (open && r == 0 && transport_get(req, d, &c) == 0)
		channel_unref(c);
	sandbox_set_opening(&d->sb, false);
	return r;
}

static int docker_status(struct bk *bk, struct buf *out)
{
	struct docker *d = container_of(bk, struct docker, bk);
	int r = sandbox_status(&d->sb, out);

	return r < 0 ? r : transport_status(d, out);
}

static int docker_limits(struct bk *bk, struct buf *out)
{
	return sandbox_limits(&container_of(bk, struct docker, bk)->sb, out);
}

static int docker_error(struct bk *bk, struct buf *out)
{
	return sandbox_error(&container_of(bk, struct docker, bk)->sb, out);
}

static int docker_bound_at(struct bk *bk, const char *host_dir, char **ret)
{
	return sandbox_bound_at(&container_of(bk, struct docker, bk)->sb, host_dir, ret);
}

const struct bk_sandbox_ops docker_sandbox_ops = {
    .exec = docker_exec,
    .attach = docker_attach,
    .lasts = docker_lasts,
    .changed = docker_changed,
    .ctl = docker_ctl,
    .status = docker_status,
    .limits = docker_limits,
    .error = docker_error,
    .bound_at = docker_bound_at,
};
