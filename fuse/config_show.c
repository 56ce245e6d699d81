/*
 * The resolved configuration as JSON, which is a valid file again. Values of every "env" object are
 * masked: they are where secrets are.
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

static void mask_env(cJSON *v)
{
	cJSON *child, *value;

	cJSON_ArrayForEach (child, v) {
		if (!child->string || strcmp(child->string, "env") != 0) {
			mask_env(child);
			continue;
		}
		cJSON_ArrayForEach (value, child) {
			if (cJSON_IsString(value))
				cJSON_SetValuestring(value, "***");
			else
				mask_env(value);
		}
	}
}

static cJSON *duration(uint64_t ms)
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
	char text[32];
	size_t i = 0;

	while (ms % units[i].ms != 0)
		i++;
	if (ms == 0)
		i = 3;
	snprintf(text, sizeof(text), "%" PRIu64 "%s", ms / units[i].ms, units[i].unit);
	return cJSON_CreateString(text);
}

/* The value of O in CONF, NULL where it has none (or memory is out). */
static cJSON *value_of(const struct option *o, const void *conf)
{
	const char *field = (const char *)conf + o->offset;

	switch (o->type) {
	case OPTION_STRING:
		return *(char **)field ? cJSON_CreateString(*(char **)field) : NULL;
	case OPTION_BOOL:
		return cJSON_CreateBool(*(bool *)field);
	case OPTION_UINT:
	case OPTION_SIZE:
		return cJSON_CreateNumber(*(uint64_t *)field);
	case OPTION_DURATION:
		return duration(*(uint64_t *)field);
	case OPTION_DOUBLE:
		return cJSON_CreateNumber(*(double *)field);
	case OPTION_JSON:
		return cJSON_Duplicate(*(cJSON **)field, true);
	}
	return NULL;
}

static void add_fields(cJSON *to, const struct option *table, const void *conf, bool only_set)
{
	for (const struct option *o = table; o->key; o++) {
		cJSON *v = value_of(o, conf);

		if (v && !(only_set && cJSON_IsFalse(v)))
			cJSON_AddItemToObject(to, o->key, v);
		else
			cJSON_Delete(v);
	}
}

static int add_route(cJSON *routes, const struct config_route *route)
{
	cJSON *obj = cJSON_AddObjectToObject(routes, route->path), *v;

	if (!obj || !cJSON_AddStringToObject(obj, "type", route->type->name))
		return -ENOMEM;
	cJSON_ArrayForEach (v, route->options) {
		cJSON *copy = cJSON_Duplicate(v, true);

		if (!copy)
			return -ENOMEM;
		cJSON_AddItemToObject(obj, v->string, copy);
	}
	add_fields(obj, config_route_table, route, true);
	return 0;
}

int config_show(const struct config *c, struct buf *out)
{
	_cleanup_(cJSON_Deletep) cJSON *doc = cJSON_CreateObject();
	_cleanup_free_ char *text = NULL;
	cJSON *routes = cJSON_AddObjectToObject(doc, "routes"),
	      *options = cJSON_AddObjectToObject(doc, "options");

	if (!routes || !options)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_routes; i++)
		if (add_route(routes, &c->routes[i]) < 0)
			return -ENOMEM;
	add_fields(options, config_option_table, &c->opt, false);
	if (c->engines)
		cJSON_AddItemToObject(doc, "engines", cJSON_Duplicate(c->engines, true));
	if (c->runtimes)
		cJSON_AddItemToObject(doc, "runtimes", cJSON_Duplicate(c->runtimes, true));
	mask_env(doc);
	text = cJSON_Print(doc);
	if (!text)
		return -ENOMEM;
	return buf_addf(out, "%s\n", text);
}
