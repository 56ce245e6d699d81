#include "request.h"

#include "../protocol.h"

#include <limits.h>
#include <string.h>

#define MAX_STRINGS 65536 /* of argv and env each */

void request_done(struct request *r)
{
	bk_leave(&r->sandbox);
	cJSON_Delete(r->json);
	free(r->cwd);
	free(r->spelled);
	free(r->argv);
	free(r->env);
	*r = (struct request){0};
}

/* ---- Fields ---- */

static int get_string(const cJSON *o, const char *key, const char **ret, struct err *err)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	if (!v || cJSON_IsNull(v))
		return 0;
	if (!cJSON_IsString(v))
		return err_set(err, -EINVAL, "request: \"%s\" must be a string", key);
	*ret = v->valuestring;
	return 0;
}

static int get_number(const cJSON *o, const char *key, double max, double *ret, struct err *err)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	if (!v || cJSON_IsNull(v))
		return 0;
	if (!cJSON_IsNumber(v) || !(v->valuedouble >= 0 && v->valuedouble <= max))
		return err_set(err, -EINVAL, "request: \"%s\" must be a number from 0 to %.0f", key,
			       max);
	*ret = v->valuedouble;
	return 0;
}

static bool get_bool(const cJSON *o, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, key));
}

/* An array of strings as a NULL-terminated one. Missing: *ret stays NULL. */
static int get_strings(const cJSON *o, const char *key, const char ***ret, struct err *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, key), *v;
	int n = cJSON_GetArraySize(list), i = 0;
	const char **array;

	if (!list || cJSON_IsNull(list))
		return 0;
	if (!cJSON_IsArray(list) || n > MAX_STRINGS)
		return err_set(err, -EINVAL, "request: \"%s\" must be a list of at most %d strings",
			       key, MAX_STRINGS);
	array = calloc(n + 1, sizeof(*array));
	if (!array)
		return -ENOMEM;
	cJSON_ArrayForEach (v, list) {
		if (!cJSON_IsString(v)) {
			free(array);
			return err_set(err, -EINVAL, "request: \"%s\" must hold strings only", key);
		}
		array[i++] = v->valuestring;
	}
	*ret = array;
	return 0;
}

/* ---- Where ---- */

/* PATH below the mount's root ("/py/x"), or NULL where it is not in the mount. */
static const char *in_mount(const struct request_world *w, const char *path)
{
	size_t n = strlen(w->mountpoint);

	if (strncmp(path, w->mountpoint, n) != 0)
		return NULL;
	path += n;
	if (*path == '\0')
		return "/";
	return *path == '/' ? path : NULL;
}

char *request_host_path(const struct request_world *w, const char *path)
{
	char *s;

	if (in_mount(w, path))
		return strdup(path);
	return asprintf(&s, "%s%s%s", w->mountpoint, *path == '/' ? "" : "/", path) < 0 ? NULL : s;
}

static int no_sandbox(const struct route *t, struct err *err)
{
	return err_set(
	    err, -ENOEXEC,
	    "route %s (%s) has no sandbox: give it one with exec=ROUTE, or name one with "
	    "--sandbox",
	    t->path, t->type);
}

/* Use a route's own sandbox, which is always there. */
static int enter_route(uid_t uid, const struct route *t, struct bk_use *ret, struct err *err)
{
	if (uid != 0)
		return err_set(err, -EPERM, "sandbox %s is not yours to use", t->name);
	*ret = (struct bk_use){.bk = t->bk, .name = t->name};
	return 0;
}

/* REST of a host route T, as the sandbox has it in which commands of T run. */
static int map_bound(const struct route *t, const char *rest, char **ret_dir, struct err *err)
{
	const char *host_dir = t->bk->ops->host_dir ? t->bk->ops->host_dir(t->bk) : NULL;
	const struct bk_sandbox_ops *ops = t->exec->bk->ops->sandbox;
	_cleanup_free_ char *place = NULL;
	int r;

	if (!host_dir)
		return no_sandbox(t, err);
	r = ops->bound_at(t->exec->bk, host_dir, &place);
	if (r < 0)
		return err_set(err, r, "route %s: %s is not bound into sandbox %s", t->path,
			       host_dir, t->exec->name);
	return asprintf(ret_dir, "%s%s", place, rest) < 0 ? -ENOMEM : 0;
}

/* The sandbox that owns PATH of the mount, and the same directory in it. */
static int map_path(const struct request_world *w, uid_t uid, const char *path, struct bk_use *ret,
		    char **ret_dir, struct err *err)
{
	const char *rest;
	const struct route *t = route_find(w->routes, w->n_routes, path, &rest);
	int r;

	if (!t)
		return err_set(err, -ENOENT, "%s: no route serves it", path);
	if (t->bk->ops->enter)
		return bk_enter(t->bk, uid, rest, NULL, ret, ret_dir, err);
	if (!route_has_sandbox(t) && (!t->exec || !t->exec->bk))
		return no_sandbox(t, err);
	r = enter_route(uid, route_has_sandbox(t) ? t : t->exec, ret, err);
	if (r < 0)
		return r;
	if (!route_has_sandbox(t))
		return map_bound(t, rest, ret_dir, err);
	*ret_dir = strdup(*rest ? rest : "/");
	return *ret_dir ? 0 : -ENOMEM;
}

/* One of those that come and go. */
static int find_session(const struct request_world *w, uid_t uid, const char *name,
			struct bk_use *ret, struct err *err)
{
	for (size_t i = 0; i < w->n_routes; i++) {
		struct bk *bk = w->routes[i].bk;
		int r =
		    bk && bk->ops->enter ? bk_enter(bk, uid, NULL, name, ret, NULL, err) : -ENOENT;

		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

static int find_sandbox(const struct request_world *w, uid_t uid, const char *name,
			struct bk_use *ret, struct err *err)
{
	const struct route *t = route_by_name(w->routes, w->n_routes, name);
	int r;

	/* The route's path is as good a name. */
	for (size_t i = 0; i < w->n_routes && !t; i++)
		if (strcmp(w->routes[i].path, name) == 0)
			t = &w->routes[i];
	if (t && t->bk && route_has_sandbox(t))
		return enter_route(uid, t, ret, err);
	r = find_session(w, uid, name, ret, err);
	if (r == -ENOENT)
		return err_set(err, r,
			       "no sandbox \"%s\" in this mount (aib status and aib session ls "
			       "list them)",
			       name);
	return r;
}

/* The directory whose route decides: -w where it is relative or below the mount, else the
 * caller's own. */
static int calling_dir(const char *cwd, const char *workdir, bool inside, char **ret)
{
	if (workdir && !inside && *workdir != '/')
		return asprintf(ret, "%s/%s", cwd ? cwd : "", workdir) < 0 ? -ENOMEM : 0;
	if (workdir && !inside)
		cwd = workdir;
	*ret = cwd ? strdup(cwd) : NULL;
	return cwd && !*ret ? -ENOMEM : 0;
}

/* The sandbox by its name, by the directory, or by the fallback's name. */
static int choose(const struct request_world *w, uid_t uid, const cJSON *json, const char *dir,
		  struct bk_use *ret, char **ret_mapped, struct err *err)
{
	const char *sandbox = NULL, *fallback = NULL, *path = dir ? in_mount(w, dir) : NULL;
	_cleanup_(bk_leave) struct bk_use by_dir = {.bk = NULL};
	int unmapped = -ENOENT, r;

	r = get_string(json, "sandbox", &sandbox, err);
	if (r == 0)
		r = get_string(json, "default_sandbox", &fallback, err);
	if (r < 0)
		return r;
	if (path)
		unmapped = map_path(w, uid, path, &by_dir, ret_mapped, err);
	if (!sandbox && unmapped == 0) {
		*ret = by_dir;
		by_dir = (struct bk_use){.bk = NULL};
		return 0;
	}
	if (!sandbox && !fallback && path)
		return unmapped;
	if (!sandbox && !fallback)
		return err_set(err, -ENOENT,
			       "%s is outside the routes of %s: name a sandbox with --sandbox or "
			       "$AIB_SANDBOX",
			       dir ? dir : "the working directory", w->mountpoint);
	r = find_sandbox(w, uid, sandbox ? sandbox : fallback, ret, err);
	/* A directory of another sandbox means nothing in this one. */
	if (r < 0 || ret->bk != by_dir.bk)
		free(TAKE(*ret_mapped));
	return r;
}

/* Sets the directory, as the sandbox has it, and its name as the caller spells it: PWD, CWD, or
 * what -w says where that is below the mount. */
static int locate(const struct request_world *w, uid_t uid, struct request *q, const char *cwd,
		  const char *pwd, const char *workdir, struct err *err)
{
	bool inside = workdir && *workdir == '/' && !in_mount(w, workdir);
	_cleanup_free_ char *dir = NULL;
	_cleanup_free_ char *mapped = NULL;
	int r = calling_dir(cwd, workdir, inside, &dir);

	if (r == 0)
		r = choose(w, uid, q->json, dir, &q->sandbox, &mapped, err);
	if (r < 0)
		return r;
	if (inside) {
		q->cwd = strdup(workdir);
		return q->cwd ? 0 : -ENOMEM;
	}
	if (workdir && !mapped)
		return err_set(err, -EINVAL, "-w %s: give an absolute directory of sandbox %s",
			       workdir, q->sandbox.name);
	q->cwd = TAKE(mapped);
	if (!q->cwd)
		return 0;
	if (!workdir && pwd)
		q->exec.pwd = pwd;
	else if (!workdir || *workdir == '/')
		q->exec.pwd = q->spelled = TAKE(dir);
	return 0;
}

/* ---- The whole ---- */

static int parse_command(struct request *q, struct err *err)
{
	double rows = 0, cols = 0, timeout = 0;
	int r;

	r = get_strings(q->json, "argv", &q->argv, err);
	if (r == 0 && (!q->argv || !q->argv[0]))
		r = err_set(err, -EINVAL, "request: \"argv\" must name a command");
	if (r == 0)
		r = get_strings(q->json, "env", &q->env, err);
	for (const char **e = q->env; r == 0 && e && *e; e++)
		if (!strchr(*e, '=') || **e == '=')
			r = err_set(err, -EINVAL, "request: \"env\" must hold NAME=VALUE");
	if (r == 0)
		r = get_string(q->json, "user", &q->exec.user, err);
	if (r == 0)
		r = get_number(q->json, "rows", UINT16_MAX, &rows, err);
	if (r == 0)
		r = get_number(q->json, "cols", UINT16_MAX, &cols, err);
	if (r == 0)
		r = get_number(q->json, "timeout_ms", 1e12, &timeout, err);
	if (r < 0)
		return r;
	q->exec.argv = (const char *const *)q->argv;
	q->exec.env = (const char *const *)q->env;
	q->exec.tty = get_bool(q->json, "tty");
	q->exec.merged = get_bool(q->json, "merged");
	q->stream = get_bool(q->json, "stream");
	q->exec.rows = rows;
	q->exec.cols = cols;
	q->exec.timeout_ms = timeout;
	return 0;
}

static int check_version(const cJSON *json, struct err *err)
{
	double version = PROTO_VERSION;
	int r = get_number(json, "version", 1e6, &version, err);

	if (r == 0 && version != PROTO_VERSION)
		r = err_set(err, -EPROTO,
			    "the daemon speaks exec protocol %d, not %.0f: mount again after the "
			    "upgrade",
			    PROTO_VERSION, version);
	return r;
}

int request_parse(const struct request_world *world, uid_t uid, cJSON *json, struct request *ret,
		  struct err *err)
{
	struct request q = {.json = json};
	const char *cwd = NULL, *workdir = NULL, *pwd = NULL;
	int r = check_version(json, err);

	if (r == 0)
		r = parse_command(&q, err);
	if (r == 0)
		r = get_string(json, "cwd", &cwd, err);
	if (r == 0)
		r = get_string(json, "workdir", &workdir, err);
	if (r == 0)
		r = get_string(json, "pwd", &pwd, err);
	if (r == 0)
		r = locate(world, uid, &q, cwd, pwd, workdir, err);
	if (r < 0) {
		request_done(&q);
		return r;
	}
	q.exec.cwd = q.cwd;
	*ret = q;
	return 0;
}
