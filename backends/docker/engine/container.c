/*
 * Containers: create, inspect, start and the like, remove, list; their networks and volumes. Each
 * is one request.
 */
#include "client.h"

#include <string.h>

/* One request on a path that FMT and ID make; a NULL name or a path too long is an error of ours.
 */
static int call_on(struct bk_req *req, struct engine *e, const char *method, const char *fmt,
		   const char *id, const char *more, uint64_t patience_ms, cJSON **ret,
		   struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	struct http_request rq = {.method = method, .patience_ms = patience_ms};
	int r = http_path(&path, fmt, id);

	if (r == 0)
		r = buf_adds(&path, more);
	if (r < 0)
		return err_set(err, r, "engine %s: %s: %s", engine_host(e), id, strerror(-r));
	rq.path = path.data;
	return engine_call(req, e, &rq, ret, err);
}

/* The value is an object, as it has to be. Frees it where not. */
static int expect(struct engine *e, int r, cJSON *json, cJSON_bool (*is)(const cJSON *),
		  const char *what, cJSON **ret, struct err *err)
{
	if (r < 0)
		return r;
	if (!is(json)) {
		cJSON_Delete(json);
		return engine_garbled(e, err, what);
	}
	*ret = json;
	return 0;
}

int engine_container_create(struct bk_req *req, struct engine *e, const char *name,
			    const cJSON *spec, char **ret_id, struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	_cleanup_free_ char *body = cJSON_PrintUnformatted(spec);
	struct http_request rq = {.method = "POST", .body = body};
	const char *id;
	cJSON *json;
	int r;

	if (!body)
		return err_set(err, -ENOMEM, "engine %s: out of memory", engine_host(e));
	r = name ? http_path(&path, "/containers/create?name=%s", name)
		 : http_path(&path, "/containers/create");
	if (r < 0)
		return err_set(err, r, "engine %s: %s: %s", engine_host(e), name, strerror(-r));
	rq.path = path.data;
	rq.body_len = strlen(body);
	r = engine_call(req, e, &rq, &json, err);
	if (r < 0)
		return r;
	id = json_string(json, "Id");
	*ret_id = id && id[0] ? strdup(id) : NULL;
	r = !id || !id[0] ? engine_garbled(e, err, "the id of a container") : *ret_id ? 0 : -ENOMEM;
	cJSON_Delete(json);
	return r;
}

int engine_container_inspect(struct bk_req *req, struct engine *e, const char *id, cJSON **ret,
			     struct err *err)
{
	cJSON *json = NULL;
	int r = call_on(req, e, "GET", "/containers/%s/json", id, "", 0, &json, err);

	return expect(e, r, json, cJSON_IsObject, "a description of a container", ret, err);
}

int engine_volume_create(struct bk_req *req, struct engine *e, const char *name,
			 const cJSON *labels, cJSON **ret, struct err *err)
{
	cJSON *spec = cJSON_CreateObject(), *json = NULL;
	struct http_request rq = {.method = "POST", .path = "/volumes/create"};
	_cleanup_free_ char *body = NULL;
	int r;

	if (spec && cJSON_AddStringToObject(spec, "Name", name) &&
	    (!labels || cJSON_AddItemReferenceToObject(spec, "Labels", (cJSON *)labels)))
		body = cJSON_PrintUnformatted(spec);
	cJSON_Delete(spec);
	if (!body)
		return err_set(err, -ENOMEM, "engine %s: out of memory", engine_host(e));
	rq.body = body;
	rq.body_len = strlen(body);
	r = engine_call(req, e, &rq, &json, err);
	return expect(e, r, json, cJSON_IsObject, "a description of a volume", ret, err);
}

int engine_volume_remove(struct bk_req *req, struct engine *e, const char *name, struct err *err)
{
	int r = call_on(req, e, "DELETE", "/volumes/%s", name, "", 0, NULL, err);

	return r == -ENOENT ? 0 : r;
}

int engine_network_inspect(struct bk_req *req, struct engine *e, const char *name, cJSON **ret,
			   struct err *err)
{
	cJSON *json = NULL;
	int r = call_on(req, e, "GET", "/networks/%s", name, "", 0, &json, err);

	return expect(e, r, json, cJSON_IsObject, "a description of a network", ret, err);
}

int engine_container_action(struct bk_req *req, struct engine *e, const char *id, const char *verb,
			    unsigned grace_s, struct err *err)
{
	static const struct {
		const char *verb, *path;
		bool graceful;
		int done; /* the error that means that it is so already */
	} actions[] = {
	    {"start", "/containers/%s/start", false, 0},
	    {"stop", "/containers/%s/stop", true, 0},
	    {"restart", "/containers/%s/restart", true, 0},
	    {"pause", "/containers/%s/pause", false, -EALREADY},
	    {"unpause", "/containers/%s/unpause", false, -EALREADY},
	    {"kill", "/containers/%s/kill", false, -ENOTCONN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		char more[32] = "";
		int r;

		if (strcmp(actions[i].verb, verb) != 0)
			continue;
		if (actions[i].graceful)
			snprintf(more, sizeof(more), "?t=%u", grace_s);
		r = call_on(req, e, "POST", actions[i].path, id, more,
			    actions[i].graceful ? grace_s * 1000ULL : 0, NULL, err);
		return actions[i].done && r == actions[i].done ? 0 : r;
	}
	return err_set(err, -EINVAL, "no such action: %s", verb);
}

int engine_container_remove(struct bk_req *req, struct engine *e, const char *id, struct err *err)
{
	int r = call_on(req, e, "DELETE", "/containers/%s", id, "?force=1&v=1", 0, NULL, err);

	/* Somebody else removes it. */
	if (r == -EBUSY)
		r = call_on(req, e, "POST", "/containers/%s/wait", id, "?condition=removed", 0,
			    NULL, err);
	return r == -ENOENT ? 0 : r;
}

int engine_container_list(struct bk_req *req, struct engine *e, const char *label, cJSON **ret,
			  struct err *err)
{
	_cleanup_free_ char *filter = engine_label_filter(label);
	cJSON *json = NULL;
	int r;

	if (!filter)
		return err_set(err, -ENOMEM, "engine %s: out of memory", engine_host(e));
	r = call_on(req, e, "GET", "/containers/json?all=1&filters=%s", filter, "", 0, &json, err);
	return expect(e, r, json, cJSON_IsArray, "a list of containers", ret, err);
}
