/*
 * The struct itself: defaults, a route out of its JSON object, and the checks across routes.
 * Reading files is in config_file.c, command lines and environment in config_args.c, showing in
 * config_show.c.
 */
#include "config.h"

#include "base/suggest.h"
#include "docker/engine.h"

#include <ctype.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>

#define OPT(f) offsetof(struct config_options, f)

const struct option config_option_table[] = {
    {"control", OPTION_STRING, OPT(control), "hidden|visible|none",
     "the control tree .aib: reachable but not listed (default), listed, or left out"},
    {"control_users", OPTION_STRING, OPT(control_users), NULL,
     "further users of the control tree and of aib's commands: NAME or UID, with ':' between"},
    {"noexec", OPTION_BOOL, OPT(noexec), NULL, "no file of the mount can be executed on the host"},
    {"nosymfollow", OPTION_BOOL, OPT(nosymfollow), NULL,
     "the kernel follows no symlink of the mount"},
    {"ro", OPTION_BOOL, OPT(ro), NULL, "every route is read-only"},
    {"nonempty", OPTION_BOOL, OPT(nonempty), NULL, "mount over a directory that is not empty"},
    {"allow_other", OPTION_BOOL, OPT(allow_other), NULL,
     "other users may use the mount (always so for root)"},
    {"deadline", OPTION_DURATION, OPT(deadline_ms), NULL,
     "the end of an operation that makes no progress (default 30s)"},
    {"prepare_timeout", OPTION_DURATION, OPT(prepare_timeout_ms), NULL,
     "the end of making one route usable, pulls included (default 1h)"},
    {"threads", OPTION_UINT, OPT(threads), NULL, "threads that read requests, at most"},
    {"pool_threads", OPTION_UINT, OPT(pool_threads), NULL,
     "threads of one route that may wait for an engine, at most"},
    {"pool_queue", OPTION_UINT, OPT(pool_queue), NULL,
     "operations of one route that may wait for those threads"},
    {"pool_idle", OPTION_DURATION, OPT(pool_idle_ms), NULL, "after which an idle one of them ends"},
    {"busy_poll", OPTION_UINT, OPT(busy_poll_us), NULL,
     "microseconds for which who waits for a request or a guest's answer looks for it before it "
     "sleeps, where the "
     "last one came so soon (default 50; 0: never)"},
    {"follow_caller", OPTION_STRING, OPT(follow_caller), "auto|no",
     "who serves one caller's requests, one after the other, does so on the caller's processor, "
     "where the daemon is root (default auto)"},
    {"passthrough", OPTION_STRING, OPT(passthrough), "auto|no",
     "the kernel reads and writes files itself, where it can and the daemon is root (default "
     "auto)"},
    {"linger", OPTION_DURATION, OPT(linger_ms), NULL,
     "for how long after its last close the kernel keeps a file that was open for reading, for who "
     "opens it again (default 1s; 0: not at all)"},
    {"io_uring", OPTION_STRING, OPT(io_uring), "auto|yes|no",
     "requests come over io_uring: where the kernel has it enabled and no route may wait "
     "(default), "
     "always or never"},
    {"max_open", OPTION_UINT, OPT(max_open), NULL, "open files and directories"},
    {"max_nodes", OPTION_UINT, OPT(max_nodes), NULL, "files that the kernel may remember"},
    {"max_operations", OPTION_UINT, OPT(max_operations), NULL,
     "read, grep and so on at once on one route; further ones wait (default 16)"},
    {"debug", OPTION_BOOL, OPT(debug), NULL, "print every FUSE request to standard error"},
    {"pull", OPTION_STRING, OPT(pull), "missing|always|never",
     "pull images that are missing (default), always or never; a route's own `pull` wins"},
    {"build_network", OPTION_STRING, OPT(build_network), NULL,
     "network of the commands that build a runtime's image (default: the engine's)"},
    {"build_timeout", OPTION_DURATION, OPT(build_timeout_ms), NULL,
     "the end of such a build that prints nothing (default 15m)"},
    {"supervise", OPTION_BOOL, OPT(supervise), NULL,
     "a second process starts the daemon again when it crashes or hangs (as --supervise)"},
    {"watchdog", OPTION_DURATION, OPT(watchdog_ms), NULL,
     "with supervise: a daemon that takes no request for so long hangs (default 30s; 0: never)"},
    {"restarts", OPTION_UINT, OPT(restarts), NULL,
     "with supervise: crashes within a minute after which it gives up (default 10)"},
    {"log_level", OPTION_STRING, OPT(log_level), "error|warning|info|debug",
     "what is logged (default info)"},
    {"spool", OPTION_STRING, OPT(spool), NULL, "directory of temporary files (default /var/tmp)"},
    {"job_dir", OPTION_STRING, OPT(job_dir), NULL,
     "directory of jobs' state and output (default /var/lib/aib/.jobs for root, else "
     "$XDG_STATE_HOME/aib/.jobs)"},
    {"max_jobs", OPTION_UINT, OPT(max_jobs), NULL, "jobs that are not over (default 1000)"},
    {"keep_jobs", OPTION_UINT, OPT(keep_jobs), NULL,
     "jobs that are over and remembered; the oldest go first (default 200)"},
    {"job_output", OPTION_SIZE, OPT(job_output), NULL,
     "kept of each of a job's two outputs; what comes after is dropped (default 16M)"},
    {"job_wait", OPTION_DURATION, OPT(job_wait_ms), NULL,
     "how long a sandbox keeps a job's end, and holds up its output, for a daemon that comes back "
     "(default 1d)"},
    {"guest", OPTION_STRING, OPT(guest), NULL, "path of aib-guest (default: the installed one)"},
    {NULL},
};

#define ROUTE(f) offsetof(struct config_route, f)

const struct option config_route_table[] = {
    {"readonly", OPTION_BOOL, ROUTE(readonly), NULL, "changes are refused (EROFS)"},
    {"nofail", OPTION_BOOL, ROUTE(nofail), NULL, "mount without this route where it fails"},
    {"exec", OPTION_STRING, ROUTE(exec), NULL,
     "route of the sandbox in which commands run that start in this host directory"},
    {"host_exec", OPTION_BOOL, ROUTE(host_exec), NULL,
     "files of this sandbox may be executed on the host"},
    {"rules", OPTION_JSON, ROUTE(rules), NULL,
     "what may be read and changed: read-only, workspace, secrets-hidden, and "
     "(allow|deny|readonly):"
     "PATTERN; the last that matches wins. May repeat"},
    {NULL},
};

static void route_done(struct config_route *r)
{
	free(r->path);
	free(r->place);
	cJSON_Delete(r->options);
	options_free(config_route_table, r);
	*r = (struct config_route){0};
}

int config_init(struct config *c)
{
	*c = (struct config){0};
	c->opt = (struct config_options){
	    .control = strdup("hidden"),
	    .pull = strdup("missing"),
	    .log_level = strdup("info"),
	    .spool = strdup("/var/tmp"),
	    .passthrough = strdup("auto"),
	    .follow_caller = strdup("auto"),
	    .io_uring = strdup("auto"),
	    .deadline_ms = 30 * 1000,
	    .prepare_timeout_ms = 60 * 60 * 1000,
	    .max_operations = 16,
	    .watchdog_ms = 30 * 1000,
	    .restarts = 10,
	    .build_timeout_ms = 15 * 60 * 1000,
	};
	if (c->opt.control && c->opt.pull && c->opt.log_level && c->opt.spool &&
	    c->opt.passthrough && c->opt.follow_caller && c->opt.io_uring)
		return 0;
	config_done(c);
	return -ENOMEM;
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < c->n_routes; i++)
		route_done(&c->routes[i]);
	free(c->routes);
	free(c->control_users);
	cJSON_Delete(c->engines);
	cJSON_Delete(c->runtimes);
	options_free(config_option_table, &c->opt);
	*c = (struct config){0};
}

/* ---- Checking keys and values ---- */

static const struct option *find_option(const struct option *table, const char *key)
{
	for (const struct option *o = table; o && o->key; o++)
		if (strcmp(o->key, key) == 0)
			return o;
	return NULL;
}

int config_check_keys(const cJSON *obj, const struct option *table, const struct option *more,
		      struct err *err)
{
	const cJSON *v;

	if (!cJSON_IsObject(obj)) /* its parser says what it has to be */
		return 0;
	cJSON_ArrayForEach (v, obj) {
		struct suggest s = {.word = v->string};

		if (find_option(table, v->string) || find_option(more, v->string))
			continue;
		for (const struct option *o = table; o && o->key; o++)
			suggest_offer(&s, o->key);
		for (const struct option *o = more; o && o->key; o++)
			suggest_offer(&s, o->key);
		if (s.best)
			return err_set(err, -EINVAL, "unknown key \"%s\" (did you mean \"%s\"?)",
				       v->string, s.best);
		return err_set(err, -EINVAL, "unknown key \"%s\"", v->string);
	}
	return 0;
}

/* Whether values are of the types that the table wants; the parsed struct is thrown away. */
static int check_values(const cJSON *obj, const struct option *table, struct err *err)
{
	_cleanup_free_ char *scratch = NULL;
	size_t size = 0;
	int r;

	if (!table)
		return 0;
	for (const struct option *o = table; o->key; o++)
		if (o->offset > size)
			size = o->offset;
	scratch = calloc(1, size + sizeof(uint64_t));
	if (!scratch)
		return -ENOMEM;
	r = options_parse(table, obj, scratch, err);
	options_free(table, scratch);
	return r;
}

int config_normalise(const char *path, char **ret, struct err *err)
{
	_cleanup_free_ char *out = NULL;
	size_t n = 0, len = strlen(path);

	if (path[0] != '/')
		return err_set(err, -EINVAL, "route path \"%s\" must be absolute", path);
	if (len >= PATH_MAX)
		return err_set(err, -EINVAL, "route path is longer than %d bytes", PATH_MAX - 1);
	out = malloc(len + 2);
	if (!out)
		return -ENOMEM;
	for (const char *p = path; *p;) {
		size_t w = strcspn(p, "/");

		if (w > NAME_MAX)
			return err_set(err, -EINVAL, "route path has a name longer than %d bytes",
				       NAME_MAX);
		if (w > 0 && w <= 2 && strspn(p, ".") >= w)
			return err_set(err, -EINVAL, "route path \"%s\" must not have \"%.*s\"",
				       path, (int)w, p);
		for (size_t i = 0; i < w; i++)
			if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
				return err_set(err, -EINVAL, "route path has a control character");
		if (w > 0) {
			out[n++] = '/';
			memcpy(out + n, p, w);
			n += w;
		}
		p += w + (p[w] == '/');
	}
	if (n == 0)
		out[n++] = '/';
	out[n] = '\0';
	if (strcmp(out, "/.aib") == 0 || strncmp(out, "/.aib/", 6) == 0)
		return err_set(err, -EINVAL, "route path \"%s\" is the control tree's", out);
	*ret = TAKE(out);
	return 0;
}

/* ---- One route ---- */

/* Divide a route's keys: those of every route into *COMMON, the type's own into *OWN. */
static int divide(const cJSON *obj, cJSON *common, cJSON *own)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, obj) {
		cJSON *copy, *to = find_option(config_route_table, v->string) ? common : own;

		if (strcmp(v->string, "type") == 0)
			continue;
		copy = cJSON_Duplicate(v, true);
		if (!copy || !cJSON_AddItemToObject(to, v->string, copy)) {
			cJSON_Delete(copy);
			return -ENOMEM;
		}
	}
	return 0;
}

static int route_parse(const cJSON *obj, struct config_route *route, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *common = cJSON_CreateObject();
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(obj, "type");
	int r;

	route->options = cJSON_CreateObject();
	if (!common || !route->options)
		return -ENOMEM;
	if (!cJSON_IsString(type))
		return err_set(err, -EINVAL,
			       type ? "\"type\" must be a string" : "\"type\" is missing");
	r = bk_type_find(type->valuestring, &route->type, err);
	if (r == 0)
		r = divide(obj, common, route->options);
	if (r == 0)
		r = config_check_keys(route->options, route->type->options, config_route_table,
				      err);
	if (r == 0)
		r = options_parse(config_route_table, common, route, err);
	if (r == 0)
		r = config_resolve_rules(route, err);
	if (r == 0)
		r = check_values(route->options, route->type->options, err);
	return r;
}

/* The route with this path, or NULL. */
static struct config_route *find_route(const struct config *c, const char *path)
{
	for (size_t i = 0; i < c->n_routes; i++)
		if (strcmp(c->routes[i].path, path) == 0)
			return &c->routes[i];
	return NULL;
}

static int route_insert(struct config *c, struct config_route *route, struct err *err)
{
	struct config_route *old = find_route(c, route->path), *grown;

	if (old && old->layer == route->layer)
		return err_set(err, -EINVAL, "the route %s is given twice", route->path);
	if (old) {
		route_done(old);
		*old = *route;
		*route = (struct config_route){0};
		return 0;
	}
	if (c->n_routes == CONFIG_MAX_ROUTES)
		return err_set(err, -EINVAL, "more than %d routes", CONFIG_MAX_ROUTES);
	grown = reallocarray(c->routes, c->n_routes + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->routes = grown;
	c->routes[c->n_routes++] = *route;
	*route = (struct config_route){0};
	return 0;
}

int config_add_route_json(struct config *c, const char *path, const cJSON *obj, const char *place,
			  unsigned layer, struct err *err)
{
	_cleanup_(route_done) struct config_route route = {.layer = layer};
	int r;

	route.place = strdup(place);
	if (!route.place)
		return -ENOMEM;
	r = config_normalise(path, &route.path, err);
	if (r == 0 && !cJSON_IsObject(obj))
		r = err_set(err, -EINVAL, "must be an object");
	if (r == 0)
		r = route_parse(obj, &route, err);
	if (r == 0)
		r = route_insert(c, &route, err);
	return r == -EINVAL ? err_prefix(err, r, "%s", place) : r;
}

/* ---- All routes ---- */

static int check_exec(const struct config *c, struct config_route *route, struct err *err)
{
	_cleanup_free_ char *target = NULL;
	const struct config_route *to;
	int r;

	if (!route->exec)
		return 0;
	r = config_normalise(route->exec, &target, err);
	if (r < 0)
		return err_prefix(err, r, "%s: exec", route->place);
	to = find_route(c, target);
	if (!to || to == route || to->exec)
		return err_set(err, -EINVAL, "%s: exec: %s is not a route with a sandbox",
			       route->place, target);
	free(route->exec);
	route->exec = TAKE(target);
	return 0;
}

/* That the engine of a route is one, by name or by address. */
static int check_engine(const struct config *c, const struct config_route *route, struct err *err)
{
	_cleanup_(engine_conf_done) struct engine_conf conf = {0};
	const cJSON *name;
	int r;

	if (!find_option(route->type->options, "engine"))
		return 0;
	name = cJSON_GetObjectItemCaseSensitive(route->options, "engine");
	r = engine_conf_find(cJSON_GetStringValue(name), c->engines, &conf, err);
	return r < 0 ? err_prefix(err, r, "%s", route->place) : 0;
}

static int default_pull(struct config_route *route, const char *pull)
{
	if (!find_option(route->type->options, "pull") ||
	    cJSON_GetObjectItemCaseSensitive(route->options, "pull"))
		return 0;
	return cJSON_AddStringToObject(route->options, "pull", pull) ? 0 : -ENOMEM;
}

static int check_runtime(const struct runtimes *runtimes, const struct config_route *route,
			 struct err *err)
{
	const char *name = config_runtime_of(route);
	const struct runtime *rt;
	int r = 0;

	if (name)
		r = runtimes_find(runtimes, name, &rt, err);
	if (name && r == 0 && cJSON_GetObjectItemCaseSensitive(route->options, "image"))
		r = err_set(err, -EINVAL, "\"image\" and \"runtime\" exclude each other");
	return r < 0 ? err_prefix(err, r, "%s", route->place) : 0;
}

static int check_runtimes(const struct config *c, struct err *err)
{
	_cleanup_(runtimes_freep) struct runtimes *runtimes = NULL;
	int r = config_runtimes(c, &runtimes, err);

	for (size_t i = 0; r == 0 && i < c->n_routes; i++)
		r = check_runtime(runtimes, &c->routes[i], err);
	return r;
}

const char *config_runtime_of(const struct config_route *route)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(route->options, "runtime"));
}

int config_runtimes(const struct config *c, struct runtimes **ret, struct err *err)
{
	const struct runtimes_conf conf = {
	    .runtimes = c->runtimes,
	    .engines = c->engines,
	    .build_network = c->opt.build_network,
	    .build_timeout_ms = c->opt.build_timeout_ms,
	};

	return runtimes_new(&conf, ret, err);
}

static int add_default_root(struct config *c, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *obj = cJSON_CreateObject();

	if (!cJSON_AddStringToObject(obj, "type", "memory"))
		return -ENOMEM;
	return config_add_route_json(c, "/", obj, "default route", CONFIG_LAYER_DEFAULT, err);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct config_route *)a)->path,
		      ((const struct config_route *)b)->path);
}

static int find_user(const char *name, uid_t *ret, struct err *err)
{
	unsigned long long uid;
	char *end;
	const struct passwd *pw = getpwnam(name);

	if (pw) {
		*ret = pw->pw_uid;
		return 0;
	}
	errno = 0;
	uid = strtoull(name, &end, 10);
	if (!isdigit((unsigned char)*name) || *end || errno || uid >= UINT32_MAX)
		return err_set(err, -EINVAL, "control_users: no user \"%s\" on this machine", name);
	*ret = uid;
	return 0;
}

static int find_users(struct config *c, struct err *err)
{
	_cleanup_free_ char *names = c->opt.control_users ? strdup(c->opt.control_users) : NULL;
	char *rest = names, *name;

	free(TAKE(c->control_users));
	c->n_control_users = 0;
	if (!names)
		return c->opt.control_users ? -ENOMEM : 0;
	c->control_users = calloc(strlen(names) + 1, sizeof(*c->control_users));
	if (!c->control_users)
		return -ENOMEM;
	while ((name = strsep(&rest, ":"))) {
		int r = find_user(name, &c->control_users[c->n_control_users++], err);

		if (r < 0)
			return r;
	}
	return 0;
}

int config_finish(struct config *c, struct err *err)
{
	int r = find_users(c, err);

	if (r < 0)
		return r;
	if (!find_route(c, "/"))
		r = add_default_root(c, err);
	for (size_t i = 0; r == 0 && i < c->n_routes; i++) {
		struct config_route *route = &c->routes[i];

		route->readonly |= c->opt.ro;
		r = check_exec(c, route, err);
		if (r == 0)
			r = check_engine(c, route, err);
		if (r == 0)
			r = default_pull(route, c->opt.pull);
	}
	if (r == 0)
		r = check_runtimes(c, err);
	if (r == 0)
		r = config_check_rules(c, err);
	if (r < 0)
		return r;
	qsort(c->routes, c->n_routes, sizeof(*c->routes), by_path);
	return 0;
}
