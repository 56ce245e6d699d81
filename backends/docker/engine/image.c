/*
 * Images: what is there, pulling what is not, and removing.
 */
#include "messages.h"

#include "../../base/clock.h"
#include "../../base/printable.h"

#include <string.h>

#define PROGRESS_MS 300

int engine_image_inspect(struct bk_req *req, struct engine *e, const char *image, cJSON **ret,
			 struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	cJSON *json;
	int r = http_path(&path, "/images/%s/json", image);

	if (r == 0)
		r = engine_get(req, e, path.data, &json, err);
	else
		err_set(err, r, "engine %s: image name too long", engine_host(e));
	if (r < 0)
		return r;
	if (!cJSON_IsObject(json)) {
		cJSON_Delete(json);
		return engine_garbled(e, err, "a description of an image");
	}
	*ret = json;
	return 0;
}

struct pull {
	struct engine *e;
	void (*progress)(void *ctx, const char *text);
	void *ctx;
	uint64_t said_ms;
};

/* {"status", "id", "progress"} or {"error"}. */
static int pull_message(void *ctx, const cJSON *json, struct err *err)
{
	const char *error = json_string(json, "error"), *status = json_string(json, "status");
	const char *id = json_string(json, "id"), *bar = json_string(json, "progress");
	struct pull *p = ctx;
	uint64_t now = clock_ms();
	char text[256];

	if (error)
		return err_set(err, engine_errno_text(error), "engine %s: %s", engine_host(p->e),
			       error);
	if (!status || !p->progress || (bar && now - p->said_ms < PROGRESS_MS))
		return 0;
	snprintf(text, sizeof(text), "%s%s%s%s%s", id ? id : "", id ? ": " : "", status,
		 bar ? " " : "", bar ? bar : "");
	make_printable(text);
	p->progress(p->ctx, text);
	p->said_ms = now;
	return 0;
}

/* NAME without a tag gets one: "latest". A digest is a tag to the API. The registry is what comes
 * before the first slash where that is a host's name. */
static int split(const char *image, char **ret_name, char **ret_tag, char **ret_registry)
{
	const char *at = strchr(image, '@'), *slash = strrchr(image, '/');
	const char *colon = at ? at : strrchr(slash ? slash : image, ':');
	size_t host = strcspn(image, "/");
	bool named = image[host] && (memchr(image, '.', host) || memchr(image, ':', host) ||
				     strncmp(image, "localhost", host) == 0);

	*ret_name = colon ? strndup(image, colon - image) : strdup(image);
	*ret_tag = strdup(colon ? colon + 1 : "latest");
	*ret_registry = named ? strndup(image, host) : strdup("https://index.docker.io/v1/");
	return *ret_name && *ret_tag && *ret_registry ? 0 : -ENOMEM;
}

int engine_image_pull(struct bk_req *req, struct engine *e, const char *image,
		      void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	_cleanup_free_ char *name = NULL, *tag = NULL, *registry = NULL, *auth = NULL,
			    *header = NULL;
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	_cleanup_(http_endp) struct http_reply *x = NULL;
	struct pull p = {.e = e, .progress = progress, .ctx = ctx};
	struct http_request rq = {.method = "POST"};
	int r = split(image, &name, &tag, &registry);

	if (r == 0)
		r = http_path(&path, "/images/create?fromImage=%s&tag=%s", name, tag);
	if (r < 0)
		return err_set(err, r, "image %s: %s", image, strerror(-r));
	auth = registry_auth(registry);
	if (auth && asprintf(&header, "X-Registry-Auth: %s", auth) < 0)
		return err_set(err, -ENOMEM, "image %s: out of memory", image);
	rq.path = path.data;
	rq.header = header;
	r = engine_begin(req, e, &rq, &x, err);
	return r < 0 ? r : engine_messages(req, e, x, pull_message, &p, err);
}

int engine_image_need(struct bk_req *req, struct engine *e, struct engine *puller,
		      const char *image, const char *pull, uint64_t pull_ms,
		      void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	cJSON *found = NULL;
	int r = -ENOENT;

	if (!pull || strcmp(pull, "always") != 0) {
		r = engine_image_inspect(req, e, image, &found, err);
		cJSON_Delete(found);
		if (r != -ENOENT)
			return r;
		if (pull && strcmp(pull, "never") == 0)
			return err_set(err, r, "image %s is not on engine %s, and pull=never",
				       image, engine_host(e));
	}
	if (pull_ms)
		bk_req_extend(req, pull_ms);
	r = engine_image_pull(req, puller, image, progress, ctx, err);
	return r < 0 ? err_prefix(err, r, "pulling image %s", image) : 1;
}

int engine_image_list(struct bk_req *req, struct engine *e, const char *label, cJSON **ret,
		      struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	_cleanup_free_ char *filter = engine_label_filter(label);
	cJSON *json;
	int r = filter ? http_path(&path, "/images/json?filters=%s", filter) : -ENOMEM;

	if (r < 0)
		return err_set(err, r, "engine %s: %s", engine_host(e), strerror(-r));
	r = engine_get(req, e, path.data, &json, err);
	if (r < 0)
		return r;
	if (!cJSON_IsArray(json)) {
		cJSON_Delete(json);
		return engine_garbled(e, err, "a list of images");
	}
	*ret = json;
	return 0;
}

int engine_image_remove(struct bk_req *req, struct engine *e, const char *image, struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	struct http_request rq = {.method = "DELETE"};
	int r = http_path(&path, "/images/%s", image);

	if (r < 0)
		return err_set(err, r, "engine %s: image name too long", engine_host(e));
	rq.path = path.data;
	r = engine_call(req, e, &rq, NULL, err);
	return r == -ENOENT ? 0 : r;
}
