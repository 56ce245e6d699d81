/*
 * Rules of routes: written out where they are given, and held against the other routes. A rule that
 * another way into the same files passes is none, so such a configuration is refused.
 */
#include "config.h"

#include "base/path.h"
#include "rules/rules.h"

#include <string.h>

int config_resolve_rules(struct config_route *route, struct err *err)
{
	_cleanup_(rules_freep) struct rules *rules = NULL;
	cJSON *shown;
	int r = route->rules ? rules_parse(route->rules, &rules, err) : 0;

	if (r < 0)
		return r == -EINVAL ? err_prefix(err, r, "rules") : r;
	if (!rules)
		return 0;
	shown = rules_show(rules);
	if (!shown)
		return -ENOMEM;
	cJSON_Delete(route->rules);
	route->rules = shown;
	return 0;
}

/* ---- Directories of this machine that routes name ---- */

typedef int (*each_dir_fn)(void *ctx, const char *dir);

/* As the kernel finds it, or as it is written where it is not there. NULL: memory is out. */
static char *real(const char *dir)
{
	char *found = realpath(dir, NULL);

	return found ? found : strdup(dir);
}

/* TEXT of LEN bytes is one. */
static int hand(const char *text, size_t len, each_dir_fn each, void *ctx)
{
	_cleanup_free_ char *dir = strndup(text, len);
	_cleanup_free_ char *found = dir ? real(dir) : NULL;

	return found ? each(ctx, found) : -ENOMEM;
}

/* {"/dir": …}, "/dir:/place" or a list of these. */
static int each_of_volumes(const cJSON *v, each_dir_fn each, void *ctx)
{
	const cJSON *i;
	int r = 0;

	if (cJSON_IsString(v)) {
		const char *end = strstr(v->valuestring, ":/");

		return end ? hand(v->valuestring, end - v->valuestring, each, ctx) : 0;
	}
	cJSON_ArrayForEach (i, v) {
		r = i->string ? hand(i->string, strlen(i->string), each, ctx)
			      : each_of_volumes(i, each, ctx);
		if (r != 0)
			break;
	}
	return r;
}

/* Hands each to EACH until that answers another thing than 0. */
static int each_dir(const struct config_route *route, each_dir_fn each, void *ctx)
{
	int r = 0;

	for (const struct option *o = route->type->options; o && o->key && r == 0; o++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(route->options, o->key);

		if (!o->dirs || !v)
			continue;
		if (o->type == OPTION_JSON)
			r = each_of_volumes(v, each, ctx);
		else if (cJSON_IsString(v))
			r = hand(v->valuestring, strlen(v->valuestring), each, ctx);
	}
	return r;
}

/* ---- Two routes ---- */

struct meeting {
	const struct config_route *ruled, *other;
	bool same; /* they have the same rules, and no commands run in the other */
	char *dir; /* the ruled route's that is looked at */
	struct err *err;
};

static int meet(void *ctx, const char *dir)
{
	struct meeting *m = ctx;

	if (!path_below(dir, m->dir) && !path_below(m->dir, dir))
		return 0;
	if (m->same && strcmp(dir, m->dir) == 0)
		return 0;
	return err_set(m->err, -EINVAL,
		       "%s: rules: route %s has %s without them: leave it out there, or rules out "
		       "here",
		       m->ruled->place, m->other->path, dir);
}

static int meet_all(void *ctx, const char *dir)
{
	struct meeting *m = ctx;
	int r;

	m->dir = strdup(dir);
	if (!m->dir)
		return -ENOMEM;
	r = each_dir(m->other, meet, m);
	free(m->dir);
	return r;
}

static int check_other(const struct config_route *ruled, const struct rules *rules,
		       const struct config_route *other, struct err *err)
{
	_cleanup_(rules_freep) struct rules *others = NULL;
	struct meeting m = {.ruled = ruled, .other = other, .err = err};
	int r = other->rules ? rules_parse(other->rules, &others, err) : 0;

	if (r < 0)
		return r;
	m.same = others && !other->type->runs && rules_same(rules, others);
	return each_dir(ruled, meet_all, &m);
}

/* ---- One route ---- */

static int check_route(const struct config *c, const struct config_route *route, struct err *err)
{
	_cleanup_(rules_freep) struct rules *rules = NULL;
	int r = rules_parse(route->rules, &rules, err);

	if (r < 0)
		return r;
	if (route->type->runs)
		return err_set(
		    err, -EINVAL,
		    "%s: rules: commands run in a route of type %s, and would pass them; "
		    "rules are for host and memory routes",
		    route->place, route->type->name);
	if (route->exec && !rules_only_readonly(rules))
		return err_set(err, -EINVAL,
			       "%s: rules: commands in the sandbox of %s would pass them (exec); "
			       "there, only \"read-only\" can be held: leave out one of both",
			       route->place, route->exec);
	for (size_t i = 0; i < c->n_routes && r == 0; i++)
		if (&c->routes[i] != route)
			r = check_other(route, rules, &c->routes[i], err);
	return r;
}

int config_check_rules(const struct config *c, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < c->n_routes && r == 0; i++)
		if (c->routes[i].rules)
			r = check_route(c, &c->routes[i], err);
	return r;
}
