/* What the request "status" is answered with: the mount and its routes, as JSON. */
#include "conn.h"

#include "../../backends/base/clock.h"

#include <string.h>

static void add_sandbox(cJSON *o, const struct route *t)
{
	struct buf text = BUF_INIT(65536);
	cJSON *sandbox = cJSON_AddObjectToObject(o, "sandbox");
	char *save, *line;

	cJSON_AddStringToObject(sandbox, "name", t->name);
	if (t->bk->ops->sandbox->status(t->bk, &text) < 0 || !text.data) {
		buf_done(&text);
		return;
	}
	for (line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ' ');

		if (value)
			*value++ = '\0';
		cJSON_AddStringToObject(sandbox, line, value ? value : "");
	}
	buf_done(&text);
}

static void add_route(cJSON *list, const struct route *t)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "path", t->path);
	cJSON_AddStringToObject(o, "type", t->type);
	cJSON_AddStringToObject(o, "source", t->source);
	cJSON_AddStringToObject(o, "state", t->failure ? "failed" : "ok");
	if (t->failure)
		cJSON_AddStringToObject(o, "error", t->failure);
	if (t->exec)
		cJSON_AddStringToObject(o, "exec", t->exec->path);
	if (t->name && route_has_sandbox(t))
		add_sandbox(o, t);
	if (t->bk) {
		cJSON_AddNumberToObject(o, "calls", atomic_load(&t->bk->calls));
		cJSON_AddNumberToObject(o, "errors", atomic_load(&t->bk->errors));
	}
	cJSON_AddItemToArray(list, o);
}

char *status_text(const struct server *s)
{
	const struct server_conf *conf = &s->conf;
	cJSON *o = cJSON_CreateObject(), *routes;
	char *text;

	cJSON_AddStringToObject(o, "version", AIB_VERSION);
	cJSON_AddNumberToObject(o, "pid", getpid());
	cJSON_AddStringToObject(o, "mountpoint", conf->mountpoint);
	cJSON_AddNumberToObject(o, "uptime_s", (clock_ms() - s->started_ms) / 1000);
	cJSON_AddNumberToObject(o, "commands", s->n_conns - 1);
	routes = cJSON_AddArrayToObject(o, "routes");
	for (size_t i = 0; i < conf->n_routes; i++)
		if (!conf->routes[i].hidden)
			add_route(routes, &conf->routes[i]);
	if (conf->status)
		conf->status(conf->ctx, o);
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	return text;
}
