/*
 * An operation's life: its arguments by a table, cancellation that reaches every thread of it, its
 * output.
 */
#include "internal.h"

#include "base/options.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>

DEFINE_CLEANUP(cJSON *, cJSON_Delete)

#define ARG(f) offsetof(struct ops_args, f)
#define COMMON                                                                                     \
	{"at", OPTION_STRING, ARG(at)}, {"path", OPTION_STRING, ARG(path)},                        \
	{                                                                                          \
		"json", OPTION_BOOL, ARG(json)                                                     \
	}

static const struct option read_args[] = {COMMON,
					  {"offset", OPTION_UINT, ARG(offset)},
					  {"limit", OPTION_UINT, ARG(limit)},
					  {"raw", OPTION_BOOL, ARG(raw)},
					  {NULL}};
static const struct option write_args[] = {
    COMMON, {"expect", OPTION_STRING, ARG(expect)}, {"umask", OPTION_UINT, ARG(umask)}, {NULL}};
static const struct option edit_args[] = {COMMON,
					  {"old", OPTION_STRING, ARG(old)},
					  {"new", OPTION_STRING, ARG(new)},
					  {"replace_all", OPTION_BOOL, ARG(replace_all)},
					  {"expect", OPTION_STRING, ARG(expect)},
					  {NULL}};
static const struct option ls_args[] = {COMMON, {NULL}};
static const struct option glob_args[] = {COMMON,
					  {"pattern", OPTION_STRING, ARG(pattern)},
					  {"missing_ok", OPTION_BOOL, ARG(missing_ok)},
					  {"hidden", OPTION_BOOL, ARG(hidden)},
					  {"gitignore", OPTION_BOOL, ARG(gitignore)},
					  {"sort", OPTION_STRING, ARG(sort), "path|mtime"},
					  {"max", OPTION_UINT, ARG(max)},
					  {NULL}};
static const struct option grep_args[] = {COMMON,
					  {"pattern", OPTION_STRING, ARG(pattern)},
					  {"glob", OPTION_STRING, ARG(glob)},
					  {"mode", OPTION_STRING, ARG(mode), "content|files|count"},
					  {"ignore_case", OPTION_BOOL, ARG(ignore_case)},
					  {"gitignore", OPTION_BOOL, ARG(gitignore)},
					  {"max", OPTION_UINT, ARG(max)},
					  {NULL}};

static const struct operation {
	const char *name;
	const struct option *args;
	int (*run)(struct ops *);
	size_t required; /* an argument beside `at` and `path`; 0: none */
} operations[] = {
    {"read", read_args, ops_read},
    {"write", write_args, ops_write},
    {"edit", edit_args, ops_edit, ARG(old)},
    {"ls", ls_args, ops_ls},
    {"glob", glob_args, ops_glob, ARG(pattern)},
    {"grep", grep_args, ops_grep, ARG(pattern)},
};

static const struct operation *find_operation(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		if (strcmp(operations[i].name, name) == 0)
			return &operations[i];
	return NULL;
}

bool ops_known(const char *name)
{
	return find_operation(name) != NULL;
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

	if (ret == 0)
		bk_req_extend(&r->req, r->ops->tree->deadline_ms);
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

/* ---- Beginning and end ---- */

static int parse(struct ops *o, const cJSON *request, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *copy = cJSON_Duplicate(request, true);
	const struct operation *op = o->operation;
	int r;

	if (!copy)
		return -ENOMEM;
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "op");
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "version");
	r = options_parse(op->args, copy, &o->args, err);
	if (r < 0)
		return err_prefix(err, r, "%s", op->name);
	if (!o->args.at || !o->args.path ||
	    (op->required && !*(char **)((char *)&o->args + op->required)))
		return err_set(err, -EINVAL, "%s: an argument is missing", op->name);
	return 0;
}

int ops_new(const struct ops_tree *tree, const struct ops_who *who, const struct ops_io *io,
	    const cJSON *request, struct ops **ret, struct err *err)
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(request, "op");
	struct ops *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->tree = tree;
	o->who = who;
	o->io = io;
	o->args.limit = UINT64_MAX;
	o->args.umask = 022;
	o->out = BUF_INIT(OPS_BUFFER);
	pthread_mutex_init(&o->lock, NULL);
	ops_req_init(o, &o->req);
	o->operation = find_operation(cJSON_IsString(name) ? name->valuestring : "");
	r = o->operation ? parse(o, request, err) : err_set(err, -EINVAL, "unknown operation");
	if (r < 0) {
		ops_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

int ops_run(struct ops *o)
{
	int r = ops_may_enter(o), status;

	status = r < 0 ? ops_fail_errno(o, r) : o->operation->run(o);
	(void)ops_flush(o);
	return status;
}

void ops_free(struct ops *o)
{
	if (!o)
		return;
	ops_req_done(&o->req);
	if (o->operation)
		options_free(o->operation->args, &o->args);
	buf_done(&o->out);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
