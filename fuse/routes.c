#include "routes.h"

#include "base/log.h"
#include "base/names.h"
#include "rules/rules.h"

#include <ctype.h>
#include <string.h>

/* ---- Names and numbers ---- */

/* The name of a route's sandbox: "/py" is py, "/a/b" a-b, with a number where that is taken. */
static char *name_of(const struct routes *r, const struct config_route *conf)
{
	const cJSON *given = cJSON_GetObjectItemCaseSensitive(conf->options, "name");
	char base[65], *name = NULL;

	snprintf(base, sizeof(base), "%.60s", conf->path[1] ? conf->path + 1 : "root");
	for (char *p = base; *p; p++)
		if (!isalnum((unsigned char)*p) && !(p > base && strchr("._", *p)))
			*p = p > base ? '-' : 'r';
	if (cJSON_IsString(given) && name_is_plain(given->valuestring))
		snprintf(base, sizeof(base), "%s", given->valuestring);
	if (!route_by_name(r->list, r->n, base))
		return strdup(base);
	for (unsigned i = 2;; i++) {
		if (asprintf(&name, "%s-%u", base, i) < 0)
			return NULL;
		if (!route_by_name(r->list, r->n, name))
			return name;
		free(name);
	}
}

static const char *source_of(const struct config_route *conf)
{
	const cJSON *v =
	    conf->type->source_key
		? cJSON_GetObjectItemCaseSensitive(conf->options, conf->type->source_key)
		: NULL;

	return cJSON_IsString(v) ? v->valuestring : "";
}

/* ---- Making ---- */

/* What goes from step to step: the lists have the same order. */
struct maker {
	const struct config *c;
	const struct bk_mount *mount;
	struct runtimes *runtimes;
	struct bk_req *req;
	struct progress *progress;
	struct routes *r;
	struct err *err;
};

/* A step of route I failed: what that means. */
static int failed(struct maker *m, size_t i, int error)
{
	const struct config_route *conf = &m->c->routes[i];
	struct route *route = &m->r->list[i];

	if (!m->err->text[0])
		err_set(m->err, error, "%s", strerror(-error));
	if (!conf->nofail || strcmp(conf->path, "/") == 0)
		return err_prefix(m->err, error, "route %s", conf->path);
	fprintf(stderr, "aibfs: warning: route %s: %s; mounting without it\n", conf->path,
		m->err->text);
	log_warning("route %s: %s; mounting without it", conf->path, m->err->text);
	bk_free(TAKE(route->bk));
	route->failure = strdup(m->err->text);
	m->err->text[0] = '\0';
	return 0;
}

static const char *option(const struct config_route *conf, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(conf->options, key));
}

/* The image of the route's runtime, built on ENGINE where it is missing there. */
static int image_on(struct maker *m, const struct config_route *conf, const char *engine,
		    struct runtime_image *ret)
{
	const struct runtime_want want = {
	    .name = config_runtime_of(conf),
	    .engine = engine,
	    .pull = option(conf, "pull"),
	};
	int r;

	bk_req_extend(m->req, m->c->opt.prepare_timeout_ms);
	progress_begin(m->progress, conf->path);
	r = runtimes_image(m->req, m->runtimes, &want, progress_line, m->progress, ret, m->err);
	progress_end(m->progress, r == 0);
	return r;
}

/* The same on each of ENGINES, "NAME,NAME…": one at least has to have it. */
static int image_on_all(struct maker *m, const struct config_route *conf, const char *engines,
			struct runtime_image *ret)
{
	_cleanup_free_ char *names = strdup(engines);
	char *rest = names, *name;
	int result = names ? -EINVAL : -ENOMEM;

	while (names && (name = strsep(&rest, ","))) {
		struct runtime_image image = {0};
		int r = image_on(m, conf, name, &image);

		if (r == 0) {
			runtime_image_done(ret);
			*ret = image;
		} else if (bk_req_check(m->req) == -EINTR) {
			return r;
		} else {
			log_warning("route %s: engine %s: %s", conf->path, name, m->err->text);
		}
		if (result < 0)
			result = r;
	}
	return result;
}

/* What a route that names a runtime gives its type instead: with the runtime's image. *RET is the
 * caller's, NULL where it names none. */
static int resolve_runtime(struct maker *m, const struct config_route *conf, cJSON **ret)
{
	_cleanup_(runtime_image_done) struct runtime_image image = {0};
	const char *engines = option(conf, "engines");
	int r;

	if (!config_runtime_of(conf))
		return 0;
	r = engines ? image_on_all(m, conf, engines, &image)
		    : image_on(m, conf, option(conf, "engine"), &image);
	return r < 0 ? r : runtimes_options(&image, conf->options, ret);
}

/* Put the route's rules before *BK. What fails frees it. */
static int guard(const struct config_route *conf, struct bk **bk, struct err *err)
{
	struct rules *rules;
	int r = conf->rules ? rules_parse(conf->rules, &rules, err) : 0;

	if (r < 0) {
		bk_free(TAKE(*bk));
		return r;
	}
	return conf->rules ? rules_wrap(TAKE(*bk), rules, bk) : 0;
}

static int make(struct maker *m, size_t i, const cJSON *binds)
{
	const struct config_route *conf = &m->c->routes[i];
	_cleanup_(cJSON_Deletep) cJSON *resolved = NULL;
	struct route *route = &m->r->list[i];
	struct bk *bk = NULL;
	int r = resolve_runtime(m, conf, &resolved);
	int space;

	if (r == 0)
		r = conf->type->make(m->mount, conf->path, resolved ? resolved : conf->options,
				     binds, &bk, m->err);
	if (r == 0)
		r = guard(conf, &bk, m->err);
	if (r < 0 && bk_req_check(m->req) == -EINTR)
		return err_set(m->err, -EINTR, "interrupted");
	if (r < 0)
		return failed(m, i, r);
	space = bk_space_take(m->mount->spaces, conf->path);
	if (space < 0) {
		bk_free(bk);
		return failed(m, i, space);
	}
	bk->ino_space = space;
	bk->readonly |= conf->readonly;
	if (conf->host_exec)
		bk->no_host_exec = false;
	route->bk = bk;
	if (!bk->ops->sandbox)
		return 0;
	route->name = name_of(m->r, conf);
	return route->name ? 0 : -ENOMEM;
}

/* Where commands of CONF, which has `exec`, have its directory, as a bind's place: the caller's. */
static char *place_of(const struct config_route *conf)
{
	struct rules *rules = NULL;
	char *place = NULL;
	bool readonly;

	if (conf->rules && rules_parse(conf->rules, &rules, &(struct err){""}) < 0)
		return NULL;
	readonly = conf->readonly || (rules && rules_only_readonly(rules));
	if (asprintf(&place, "%s:%s", conf->path, readonly ? "ro" : "rw") < 0)
		place = NULL;
	rules_free(rules);
	return place;
}

/* {host directory: place} of the routes that say `exec` = TARGET; the caller's. */
static int binds_of(struct maker *m, const char *target, cJSON **ret)
{
	_cleanup_(cJSON_Deletep) cJSON *binds = NULL;

	for (size_t i = 0; i < m->r->n; i++) {
		const struct config_route *conf = &m->c->routes[i];
		struct bk *bk = m->r->list[i].bk;
		_cleanup_free_ char *place = NULL;

		if (!conf->exec || strcmp(conf->exec, target) != 0 || !bk)
			continue;
		if (!binds)
			binds = cJSON_CreateObject();
		place = place_of(conf);
		if (!place || !cJSON_AddStringToObject(binds, bk->ops->host_dir(bk), place))
			return -ENOMEM;
	}
	*ret = TAKE(binds);
	return 0;
}

/* Those with `exec` first: what they are is bound into the others. */
static int make_all(struct maker *m)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->r->n; i++) {
		struct bk *bk;

		if (!m->c->routes[i].exec)
			continue;
		r = make(m, i, NULL);
		bk = m->r->list[i].bk;
		if (r == 0 && bk && (!bk->ops->host_dir || !bk->ops->host_dir(bk)))
			r = failed(
			    m, i,
			    err_set(m->err, -EINVAL,
				    "exec: only a route that is a host directory can have it"));
	}
	for (size_t i = 0; r == 0 && i < m->r->n; i++) {
		_cleanup_(cJSON_Deletep) cJSON *binds = NULL;

		if (m->c->routes[i].exec)
			continue;
		r = binds_of(m, m->c->routes[i].path, &binds);
		if (r == 0)
			r = make(m, i, binds);
	}
	return r;
}

static int link_exec(struct maker *m)
{
	for (size_t i = 0; i < m->r->n; i++) {
		const char *exec = m->c->routes[i].exec;
		const struct route *to = m->r->list;

		if (!exec || !m->r->list[i].bk)
			continue;
		while (strcmp(to->path, exec) != 0)
			to++;
		if (to->bk && !route_has_sandbox(to))
			return err_set(m->err, -EINVAL, "route %s: exec: %s has no sandbox",
				       m->r->list[i].path, exec);
		m->r->list[i].exec = to->bk ? to : NULL;
		/* What a command changes there is to be seen when it ends. */
		m->r->list[i].bk->recall = true;
	}
	return 0;
}

static int prepare_all(struct maker *m)
{
	struct progress *progress = m->progress;
	struct bk_req *req = m->req;

	for (size_t i = 0; i < m->r->n; i++) {
		struct bk *bk = m->r->list[i].bk;
		int r;

		if (!bk || !bk->ops->prepare)
			continue;
		bk_req_extend(req, m->c->opt.prepare_timeout_ms);
		progress_begin(progress, bk->route);
		r = bk->ops->prepare(req, bk, progress_line, progress, m->err);
		progress_end(progress, r == 0);
		if (r < 0 && bk_req_check(req) == -EINTR)
			return err_set(m->err, -EINTR, "interrupted");
		if (r < 0)
			r = failed(m, i, r);
		if (r < 0)
			return r;
	}
	return 0;
}

int routes_new(const struct config *c, const struct bk_mount *mount, struct runtimes *runtimes,
	       struct bk_req *req, struct progress *progress, struct routes *ret, struct err *err)
{
	_cleanup_(routes_free) struct routes routes = {0};
	struct maker m = {
	    .c = c,
	    .mount = mount,
	    .runtimes = runtimes,
	    .req = req,
	    .progress = progress,
	    .r = &routes,
	    .err = err,
	};
	int r;

	routes.list = calloc(c->n_routes, sizeof(*routes.list));
	if (!routes.list)
		return -ENOMEM;
	routes.n = c->n_routes;
	for (size_t i = 0; i < c->n_routes; i++) {
		routes.list[i].path = strdup(c->routes[i].path);
		routes.list[i].type = c->routes[i].type->name;
		routes.list[i].source = source_of(&c->routes[i]);
		if (!routes.list[i].path)
			return -ENOMEM;
	}
	r = make_all(&m);
	if (r == 0)
		r = link_exec(&m);
	if (r == 0)
		r = prepare_all(&m);
	if (r < 0)
		return r;
	*ret = routes;
	routes = (struct routes){0};
	return 0;
}

int routes_add(struct routes *r, struct bk_spaces *spaces, const char *path, const char *type,
	       struct bk *bk, bool hidden)
{
	int space = bk_space_take(spaces, path);
	struct route *old = r->list, *grown;
	char *copy = strdup(path);

	grown = copy && space >= 0 ? reallocarray(NULL, r->n + 1, sizeof(*grown)) : NULL;
	if (!grown) {
		free(copy);
		return -ENOMEM;
	}
	bk->ino_space = space;
	memcpy(grown, old, r->n * sizeof(*grown));
	for (size_t i = 0; i < r->n; i++)
		if (grown[i].exec)
			grown[i].exec = grown + (grown[i].exec - old);
	grown[r->n++] =
	    (struct route){.path = copy, .type = type, .source = "", .bk = bk, .hidden = hidden};
	r->list = grown;
	free(old);
	return 0;
}

const struct route *routes_waiting(const struct routes *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct bk *bk = r->list[i].bk;

		if (bk && (bk->blocking || bk->ops->sandbox || bk->ops->enter))
			return &r->list[i];
	}
	return NULL;
}

/* ---- The end ---- */

static void *destroy(void *bk)
{
	bk_free(bk);
	return NULL;
}

void routes_stop(struct routes *r, void (*say)(void *ctx, const char *text), void *ctx)
{
	pthread_t threads[CONFIG_MAX_ROUTES + 1];
	bool started[CONFIG_MAX_ROUTES + 1] = {0};

	/* The last first: the control tree, which was added to the others, may still use them. */
	for (size_t i = r->n; i-- > 0;) {
		struct bk *bk = r->list[i].bk;
		char line[512];

		if (bk && bk->blocking && say) {
			snprintf(line, sizeof(line), "ending %s", bk->route);
			say(ctx, line);
		}
		if (bk && bk->blocking)
			started[i] = pthread_create(&threads[i], NULL, destroy, bk) == 0;
		if (!started[i])
			bk_free(bk);
		r->list[i].bk = NULL;
	}
	for (size_t i = 0; i < r->n; i++)
		if (started[i])
			pthread_join(threads[i], NULL);
}

void routes_free(struct routes *r)
{
	routes_stop(r, NULL, NULL);
	for (size_t i = 0; i < r->n; i++) {
		free((char *)r->list[i].path);
		free((char *)r->list[i].name);
		free((char *)r->list[i].failure);
	}
	free(r->list);
	*r = (struct routes){0};
}
