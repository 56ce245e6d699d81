/*
 * Commands of users: the Engine's exec starts the guest's `run`, which starts the command and
 * speaks the frames of exec/protocol.h over the stream that is handed on as it is.
 */
#include "docker.h"

#include "spec.h"

#include <string.h>

#define ARGS_MAX 65536

struct run_args {
	const char **argv;
	size_t n;
	char tty[32], timeout[32];
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

static int make_args(const struct docker *d, const struct bk_exec *x, struct run_args *a)
{
	const char *cwd = x->cwd ? x->cwd : d->conf.workdir;
	size_t n = 0;

	while (x->argv[n])
		if (++n > ARGS_MAX)
			return -E2BIG;
	*a = (struct run_args){.argv = calloc(n + 16, sizeof(*a->argv))};
	if (!a->argv)
		return -ENOMEM;
	add_pair(a, GUEST_PATH, "run");
	if (x->tty) {
		snprintf(a->tty, sizeof(a->tty), "%ux%u", x->rows, x->cols);
		add_pair(a, "-t", a->tty);
	}
	if (x->timeout_ms) {
		snprintf(a->timeout, sizeof(a->timeout), "%llu", (unsigned long long)x->timeout_ms);
		add_pair(a, "-T", a->timeout);
	}
	if (cwd)
		add_pair(a, "-C", cwd);
	if (x->pwd)
		add_pair(a, "-P", x->pwd);
	if (x->detach)
		add(a, "-d");
	add(a, "--");
	for (size_t i = 0; i < n; i++)
		add(a, x->argv[i]);
	return 0;
}

static int docker_exec(struct bk_req *req, struct bk *bk, const struct bk_exec *x,
		       struct bk_stream **ret, struct err *err)
{
	struct docker *d = container_of(bk, struct docker, bk);
	struct run_args a;
	struct engine_exec ex = {
	    .env = x->env,
	    .user = x->user	  ? x->user
		    : *d->sb.user ? d->sb.user
				  : "0:0",
	    .workdir = x->cwd || d->conf.workdir ? "/" : NULL,
	};
	int r = make_args(d, x, &a);

	if (r < 0)
		return r;
	ex.argv = a.argv;
	r = sandbox_exec(req, &d->sb, &ex, ret, NULL, err);
	free(a.argv);
	if (r < 0 && r != -EINTR)
		return sandbox_fail(&d->sb, r, "%s", err->text);
	if (r == 0)
		sandbox_works(&d->sb);
	return r;
}

static void docker_changed(struct bk *bk)
{
	struct docker *d = container_of(bk, struct docker, bk);

	atomic_fetch_add(&d->sb.generation, 1);
}

static int docker_ctl(struct bk_req *req, struct bk *bk, const char *verb, struct err *err)
{
	struct docker *d = container_of(bk, struct docker, bk);
	struct conn *c = NULL;
	int r = sandbox_ctl(req, &d->sb, verb, err);

	/* Where it runs now, the first look into it need not wait for this. */
	if (r == 0 && transport_get(req, d, &c) == 0)
		conn_unref(c);
	return r;
}

static int docker_status(struct bk *bk, struct buf *out)
{
	struct docker *d = container_of(bk, struct docker, bk);
	int r = sandbox_status(&d->sb, out);

	return r < 0 ? r : transport_status(d, out);
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
    .changed = docker_changed,
    .ctl = docker_ctl,
    .status = docker_status,
    .error = docker_error,
    .bound_at = docker_bound_at,
};
