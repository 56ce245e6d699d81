/*
 * The running operation, at whichever end it runs: cancellation that reaches every thread of it,
 * progress, output.
 */
#include "internal.h"

#include <stdarg.h>
#include <string.h>

/* ---- Life ---- */

void ops_init(struct ops *o, const struct ops_tree *tree, const struct ops_who *who,
	      const struct ops_io *io)
{
	o->tree = tree;
	o->who = who;
	o->io = io;
	o->root = who->uid == 0;
	o->out = BUF_INIT(OPS_BUFFER);
	pthread_mutex_init(&o->lock, NULL);
	ops_req_init(o, &o->req);
}

void ops_done(struct ops *o)
{
	ops_req_done(&o->req);
	buf_done(&o->out);
	pthread_mutex_destroy(&o->lock);
}

/* ---- Cancelling ---- */

void ops_req_init(struct ops *o, struct ops_req *r)
{
	const struct ops_who *w = o->who;

	bk_req_init(&r->req, w->uid, w->gid, w->pid, o->tree->deadline_ms);
	r->ops = o;
	r->prev = NULL;
	pthread_mutex_lock(&o->lock);
	r->next = o->reqs;
	if (r->next)
		r->next->prev = r;
	o->reqs = r;
	if (o->cancelled)
		bk_req_cancel(&r->req);
	pthread_mutex_unlock(&o->lock);
}

void ops_req_done(struct ops_req *r)
{
	struct ops *o = r->ops;

	pthread_mutex_lock(&o->lock);
	if (r->prev)
		r->prev->next = r->next;
	else
		o->reqs = r->next;
	if (r->next)
		r->next->prev = r->prev;
	pthread_mutex_unlock(&o->lock);
	bk_req_done(&r->req);
}

void ops_cancel(struct ops *o)
{
	pthread_mutex_lock(&o->lock);
	o->cancelled = true;
	for (struct ops_req *r = o->reqs; r; r = r->next)
		bk_req_cancel(&r->req);
	pthread_mutex_unlock(&o->lock);
}

int ops_step(struct ops_req *r)
{
	int ret = bk_req_check(&r->req);

	if (ret == 0) {
		bk_req_extend(&r->req, r->ops->tree->deadline_ms);
		atomic_fetch_add_explicit(&r->ops->steps, 1, memory_order_relaxed);
	}
	return ret;
}

/* ---- Output ---- */

int ops_flush(struct ops *o)
{
	int r = 0;

	if (o->out.len > 0)
		r = o->io->write(o->io->ctx, 1, o->out.data, o->out.len);
	buf_consume(&o->out, o->out.len);
	/* Waiting for the caller is no lack of progress. */
	bk_req_extend(&o->req.req, o->tree->deadline_ms);
	return r;
}

int ops_put(struct ops *o, const void *data, size_t len)
{
	int r = 0;

	if (o->out.len + len > OPS_BUFFER)
		r = ops_flush(o);
	if (r == 0 && len > OPS_BUFFER)
		return o->io->write(o->io->ctx, 1, data, len);
	return r < 0 ? r : buf_add(&o->out, data, len);
}

int ops_puts(struct ops *o, const char *s)
{
	return ops_put(o, s, strlen(s));
}

void ops_say(struct ops *o, const char *text)
{
	_cleanup_buf_ struct buf line = BUF_INIT(OPS_MAX_PATH + 4096);

	if (ops_flush(o) == 0 && buf_addf(&line, "%s\n", text) == 0)
		(void)o->io->write(o->io->ctx, 2, line.data, line.len);
}

int ops_fail(struct ops *o, const char *fmt, ...)
{
	_cleanup_buf_ struct buf out = BUF_INIT(SIZE_MAX / 2);
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		return 1;
	}
	if (!o->args.json) {
		ops_say(o, text);
		return 1;
	}
	if (buf_adds(&out, "{\"error\": ") == 0 && ops_json_string(&out, text, n) == 0 &&
	    buf_adds(&out, "}\n") == 0)
		(void)ops_put(o, out.data, out.len);
	return 1;
}

/* Whether a rule of the route is why the operation's path answered R: which one, in ROUTE and RULE.
 * The walk that failed is made again. */
static bool is_ruled(struct ops *o, int r, char **route, char **rule)
{
	_cleanup_found_ struct ops_found f = {0};
	const char *pattern;
	struct bk_node *node;

	if (ops_resolve_arg(o, true, &f) < 0)
		return false;
	node = f.node ? f.node : f.dir->node;
	if (bk_rule(node, f.node ? NULL : f.name, &pattern) != r)
		return false;
	*route = strdup(bk_serving(node, NULL)->route);
	*rule = strdup(pattern);
	return *route && *rule;
}

int ops_fail_errno(struct ops *o, int r)
{
	_cleanup_free_ char *route = NULL, *rule = NULL;
	const char *path = o->args.path;

	if ((r == -EACCES || r == -EROFS) && is_ruled(o, r, &route, &rule))
		return ops_fail(o, "Error: '%s': %s by the rule \"%s\" of route %s", path,
				r == -EROFS ? "readonly" : "denied", rule, route);
	switch (r) {
	case -EINTR:
	case -EPIPE: /* nobody is there to read it */
		return 1;
	case -EXDEV:
		return ops_fail(o, "Error: '%s' is outside the mount %s", path,
				*o->tree->mountpoint ? o->tree->mountpoint : "/");
	case -ENXIO:
		return ops_fail(o, "Error: '%s' is not a regular file", path);
	case -ETIMEDOUT:
		return ops_fail(o, "Error: '%s': no progress for %llu ms", path,
				(unsigned long long)o->tree->deadline_ms);
	default:
		return ops_fail(o, "Error: '%s': %s", path, strerror(-r));
	}
}
