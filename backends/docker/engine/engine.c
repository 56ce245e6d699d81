/*
 * Opening an engine, agreeing on an API version, and the request that all others are made of.
 */
#include "client.h"

#include "../../base/log.h"
#include "address.h"
#include "ssh.h"

#include <string.h>

#define NEWEST "1.51"
#define OLDEST "1.24"
#define DEFAULT_TIMEOUT_MS 30000
#define BODY_STEP 16384

/* Both are "1.N". */
static int compare_versions(const char *a, const char *b)
{
	int am = 0, an = 0, bm = 0, bn = 0;

	if (sscanf(a, "%5d.%5d", &am, &an) != 2 || sscanf(b, "%5d.%5d", &bm, &bn) != 2)
		return -1;
	return am != bm ? am - bm : an - bn;
}

/* ---- Opening ---- */

/* http's name of the place: a base URL and, for a Unix socket, its path. */
static int place_to_conf(const struct place *p, struct buf *base, struct http_conf *conf,
			 struct err *err)
{
	struct address a;
	int r = address_parse(p->host, &a, err);

	if (r < 0)
		return r;
	if (a.kind == ADDRESS_UNIX)
		conf->unix_path = a.rest;
	if (a.kind == ADDRESS_UNIX || a.kind == ADDRESS_SSH)
		return buf_adds(base, "http://engine");
	return buf_addf(base, "%s://%.*s", a.kind == ADDRESS_TLS || p->tls ? "https" : "http",
			(int)strcspn(a.rest, "/"), a.rest);
}

int engine_open(const struct engine_conf *conf, struct engine **ret, struct err *err)
{
	static const struct engine_conf none;
	_cleanup_(engine_closep) struct engine *e = calloc(1, sizeof(*e));
	_cleanup_(place_done) struct place place = {0};
	_cleanup_buf_ struct buf base = BUF_INIT(1024);
	struct http_conf hc = {0};
	int r;

	if (!e)
		return -ENOMEM;
	conf = conf ? conf : &none;
	pthread_mutex_init(&e->lock, NULL);
	r = place_find(conf, &place, err);
	if (r == 0)
		r = place_to_conf(&place, &base, &hc, err);
	if (r == 0 && strncmp(place.host, "ssh://", 6) == 0)
		r = ssh_new(place.host, conf, &e->ssh, err);
	if (r < 0)
		return r;
	hc.name = place.host;
	hc.base = base.data;
	hc.cert = place.cert;
	hc.insecure = place.insecure;
	hc.connect_timeout_ms = conf->connect_timeout_ms;
	hc.timeout_ms = conf->timeout_ms ? conf->timeout_ms : DEFAULT_TIMEOUT_MS;
	hc.ssh = e->ssh;
	e->local = hc.unix_path != NULL;
	e->pinned = conf->api_version && compare_versions(conf->api_version, NEWEST) < 0;
	snprintf(e->newest, sizeof(e->newest), "%s", e->pinned ? conf->api_version : NEWEST);
	r = http_new(&hc, &e->http, err);
	if (r == -ENOMEM)
		return err_set(err, r, "engine %s: out of memory", place.host);
	if (r < 0)
		return r;
	*ret = TAKE(e);
	return 0;
}

void engine_close(struct engine *e)
{
	if (!e)
		return;
	http_free(e->http);
	ssh_free(e->ssh);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

const char *engine_host(const struct engine *e)
{
	return http_name(e->http);
}

bool engine_is_local(const struct engine *e)
{
	return e->local;
}

/* ---- Answers ---- */

const char *json_string(const cJSON *obj, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(obj, key));
}

double json_number(const cJSON *obj, const char *key, double def)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);

	return cJSON_IsNumber(v) ? v->valuedouble : def;
}

bool json_bool(const cJSON *obj, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(obj, key));
}

int engine_garbled(struct engine *e, struct err *err, const char *what)
{
	return err_set(err, -EIO, "engine %s: its answer is not %s", engine_host(e), what);
}

int engine_failed(struct engine *e, int status, const char *body, struct err *err)
{
	cJSON *json = cJSON_Parse(body);
	const char *message = json_string(json, "message");
	int r;

	if (!message)
		message = json_string(json, "cause"); /* Podman */
	if (!message)
		message = body;
	r = engine_errno(status, message);
	err_set(err, r, "engine %s: %.*s", engine_host(e), (int)strcspn(message, "\r\n"), message);
	if (!message[0])
		err_set(err, r, "engine %s: HTTP status %d", engine_host(e), status);
	cJSON_Delete(json);
	return r;
}

int engine_body(struct bk_req *req, struct engine *e, struct http_reply *x, struct buf *body,
		struct err *err)
{
	ssize_t n;

	do {
		size_t room = body->cap - body->len;
		int r;

		if (room == 0)
			return engine_garbled(e, err, "of a sane length");
		if (room > BODY_STEP)
			room = BODY_STEP;
		r = buf_reserve(body, room);
		if (r < 0)
			return err_set(err, r, "engine %s: out of memory", engine_host(e));
		n = http_read(req, x, body->data + body->len, room, err);
		if (n < 0)
			return n;
		body->len += n;
		body->data[body->len] = '\0';
	} while (n > 0);
	return 0;
}

/* ---- Versions ---- */

static int ping(struct bk_req *req, struct engine *e, char *version, struct err *err)
{
	static const struct http_request rq = {.method = "GET", .path = "/_ping"};
	_cleanup_(http_endp) struct http_reply *x = NULL;
	_cleanup_buf_ struct buf body = BUF_INIT(64 << 10);
	int a, b, r = http_begin(req, e->http, &rq, &x, err);
	const char *said;

	if (r == 0)
		r = engine_body(req, e, x, &body, err);
	if (r < 0)
		return r;
	if (http_status(x) != 200)
		return engine_failed(e, http_status(x), body.data, err);
	said = http_header(x, HTTP_API_VERSION);
	if (!said)
		said = OLDEST;
	if (sscanf(said, "%5d.%5d", &a, &b) != 2 || a < 0 || b < 0)
		return engine_garbled(e, err, "that of an engine (Api-Version)");
	if (compare_versions(said, OLDEST) < 0)
		return err_set(err, -EPROTONOSUPPORT,
			       "engine %s: its API version %d.%d is older than " OLDEST,
			       engine_host(e), a, b);
	snprintf(version, 16, "%d.%d", a, b);
	return 0;
}

static void agree_on(struct engine *e, const char *version)
{
	pthread_mutex_lock(&e->lock);
	snprintf(e->version, sizeof(e->version), "%s", version);
	pthread_mutex_unlock(&e->lock);
}

int engine_agree(struct bk_req *req, struct engine *e, char *version, struct err *err)
{
	int r;

	pthread_mutex_lock(&e->lock);
	memcpy(version, e->version, sizeof(e->version));
	pthread_mutex_unlock(&e->lock);
	if (version[0])
		return 0;
	r = ping(req, e, version, err);
	if (r < 0)
		return r;
	if (compare_versions(version, e->newest) > 0)
		strcpy(version, e->newest);
	agree_on(e, version);
	log_debug("engine %s: API version %s", engine_host(e), version);
	return 0;
}

int engine_ping(struct bk_req *req, struct engine *e, struct err *err)
{
	char version[16];
	int r = ping(req, e, version, err);

	if (r < 0)
		return r;
	agree_on(e, compare_versions(version, e->newest) > 0 ? e->newest : version);
	return 0;
}

int engine_refused(struct bk_req *req, struct engine *e, const char *message, struct err *err)
{
	char version[16];
	int r;

	if (!message || !strstr(message, "client version") || e->pinned)
		return 0;
	r = ping(req, e, version, err);
	if (r < 0)
		return r;
	/* An engine that no longer takes our newest is asked in its own version. */
	if (compare_versions(version, e->newest) > 0 && !strstr(message, "too old"))
		strcpy(version, e->newest);
	agree_on(e, version);
	return 1;
}

/* ---- Requests ---- */

static int begin_versioned(struct bk_req *req, struct engine *e, const struct http_request *rq,
			   struct http_reply **ret, struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	struct http_request versioned = *rq;
	char version[16];
	int r = engine_agree(req, e, version, err);

	if (r < 0)
		return r;
	if (buf_addf(&path, "/v%s%s", version, rq->path) < 0)
		return err_set(err, -ENAMETOOLONG, "engine %s: name too long", engine_host(e));
	versioned.path = path.data;
	return http_begin(req, e->http, &versioned, ret, err);
}

int engine_begin(struct bk_req *req, struct engine *e, const struct http_request *rq,
		 struct http_reply **ret, struct err *err)
{
	for (bool again = true;; again = false) {
		_cleanup_(http_endp) struct http_reply *x = NULL;
		_cleanup_buf_ struct buf body = BUF_INIT(64 << 10);
		int r = begin_versioned(req, e, rq, &x, err);

		if (r < 0)
			return r;
		if (http_status(x) / 100 == 2 || http_status(x) == 304) {
			*ret = TAKE(x);
			return 0;
		}
		r = engine_body(req, e, x, &body, err);
		if (r < 0)
			return r;
		/* An upload that has begun cannot be sent again. */
		if (again && http_status(x) == 400 && !rq->source) {
			r = engine_refused(req, e, body.data, err);
			if (r < 0)
				return r;
			if (r > 0)
				continue;
		}
		return engine_failed(e, http_status(x), body.data ? body.data : "", err);
	}
}

int engine_call(struct bk_req *req, struct engine *e, const struct http_request *rq, cJSON **ret,
		struct err *err)
{
	_cleanup_(http_endp) struct http_reply *x = NULL;
	_cleanup_buf_ struct buf body = BUF_INIT(ENGINE_MAX_JSON);
	int r = engine_begin(req, e, rq, &x, err);
	cJSON *json;

	if (r == 0)
		r = engine_body(req, e, x, &body, err);
	if (r < 0 || !ret)
		return r;
	json = cJSON_ParseWithLength(body.data, body.len);
	if (!json)
		return engine_garbled(e, err, "JSON");
	*ret = json;
	return 0;
}

int engine_get(struct bk_req *req, struct engine *e, const char *path, cJSON **ret, struct err *err)
{
	const struct http_request rq = {.method = "GET", .path = path};

	return engine_call(req, e, &rq, ret, err);
}

char *engine_label_filter(const char *label)
{
	cJSON *filter = cJSON_CreateObject(), *labels = cJSON_AddArrayToObject(filter, "label");
	char *text = NULL;

	if (cJSON_AddItemToArray(labels, cJSON_CreateString(label)))
		text = cJSON_PrintUnformatted(filter);
	cJSON_Delete(filter);
	return text;
}

int engine_version(struct bk_req *req, struct engine *e, cJSON **ret, struct err *err)
{
	return engine_get(req, e, "/version", ret, err);
}

int engine_info(struct bk_req *req, struct engine *e, cJSON **ret, struct err *err)
{
	return engine_get(req, e, "/info", ret, err);
}
