#include "rpc.h"

#include "call.h"
#include "method.h"

#include "base/json.h"
#include "base/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#define META_VERSION "io.modelcontextprotocol/protocolVersion"
#define META_SERVER "io.modelcontextprotocol/serverInfo"
#define MAX_ID 9007199254740991.0 /* what every JSON library keeps */
#define PROGRESS_ROOM 65536	  /* bytes that wait for the client */

/* ---- Answers ---- */

int asker_copy(const struct asker *from, struct asker *ret)
{
	*ret = (struct asker){.id = cJSON_Duplicate(from->id, true),
			      .token = from->token ? cJSON_Duplicate(from->token, true) : NULL,
			      .modern = from->modern};
	if (ret->id && (ret->token || !from->token))
		return 0;
	asker_done(ret);
	return -ENOMEM;
}

void asker_done(struct asker *a)
{
	cJSON_Delete(a->id);
	cJSON_Delete(a->token);
	*a = (struct asker){.id = NULL};
}

/* An id or a token as it came: the library prints 15 digits of a number. */
static void add_same(cJSON *o, const char *key, const cJSON *v)
{
	char digits[32];

	if (cJSON_IsString(v)) {
		cJSON_AddStringToObject(o, key, v->valuestring);
		return;
	}
	snprintf(digits, sizeof(digits), "%.0f", v->valuedouble);
	cJSON_AddRawToObject(o, key, digits);
}

static cJSON *message(const struct asker *a)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "jsonrpc", "2.0");
	if (a && a->id)
		add_same(o, "id", a->id);
	return o;
}

/* A line; takes O. What there is no memory for is lost, and said on standard error. */
static void put(struct mcp *m, cJSON *o)
{
	char *text = cJSON_PrintUnformatted(o);
	size_t had = m->out.len;

	if (!text || buf_adds(&m->out, text) < 0 || buf_add(&m->out, "\n", 1) < 0) {
		m->out.len = had;
		fprintf(stderr, "aib: mcp: out of memory: an answer is lost\n");
	}
	free(text);
	cJSON_Delete(o);
}

void rpc_result(struct mcp *m, const struct asker *a, cJSON *result)
{
	cJSON *o = message(a), *meta, *server;

	if (!result) {
		cJSON_Delete(o);
		rpc_error(m, a, RPC_INTERNAL, "out of memory");
		return;
	}
	if (a->modern) {
		cJSON_AddStringToObject(result, "resultType", "complete");
		meta = cJSON_AddObjectToObject(result, "_meta");
		server = cJSON_AddObjectToObject(meta, META_SERVER);
		method_server_info(server);
	}
	cJSON_AddItemToObject(o, "result", result);
	put(m, o);
}

void rpc_result_cached(struct mcp *m, const struct asker *a, cJSON *result, unsigned ttl_ms)
{
	if (a->modern) {
		cJSON_AddNumberToObject(result, "ttlMs", ttl_ms);
		cJSON_AddStringToObject(result, "cacheScope", "private");
	}
	rpc_result(m, a, result);
}

void rpc_error_data(struct mcp *m, const struct asker *a, int code, cJSON *data, const char *text)
{
	cJSON *o = message(a), *error = cJSON_AddObjectToObject(o, "error");

	cJSON_AddNumberToObject(error, "code", code);
	cJSON_AddStringToObject(error, "message", text);
	if (data)
		cJSON_AddItemToObject(error, "data", data);
	put(m, o);
}

void rpc_error(struct mcp *m, const struct asker *a, int code, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	rpc_error_data(m, a, code, NULL, text ? text : "out of memory");
}

void rpc_progress(struct mcp *m, const struct asker *a, double progress, const char *text)
{
	cJSON *o, *params;

	if (!a->token || m->out.len > PROGRESS_ROOM)
		return;
	o = message(NULL);
	cJSON_AddStringToObject(o, "method", "notifications/progress");
	params = cJSON_AddObjectToObject(o, "params");
	add_same(params, "progressToken", a->token);
	cJSON_AddNumberToObject(params, "progress", progress);
	cJSON_AddStringToObject(params, "message", text);
	put(m, o);
}

/* ---- What a message is ---- */

static bool is_id(const cJSON *v)
{
	return cJSON_IsString(v) || (cJSON_IsNumber(v) && fabs(v->valuedouble) <= MAX_ID &&
				     v->valuedouble == trunc(v->valuedouble));
}

static bool is_utf8(const char *line, size_t len)
{
	const unsigned char *p = (const unsigned char *)line;

	for (int n; len > 0; p += n, len -= n) {
		n = utf8_length(p, len);
		if (n <= 0)
			return false;
	}
	return true;
}

/* Whether a string holds a NUL, where those of the JSON library end: what follows would be lost. */
static bool has_nul(const char *line)
{
	for (const char *p = strchr(line, '\\'); p && p[1]; p = strchr(p + 2, '\\'))
		if (strncmp(p + 1, "u0000", 5) == 0)
			return true;
	return false;
}

/* Why LINE cannot be taken, or NULL and *RET. */
static const char *parse(const char *line, size_t len, cJSON **ret)
{
	if (!is_utf8(line, len))
		return "the message is not UTF-8";
	if (has_nul(line))
		return "a string of the message holds \\u0000, which is not taken";
	*ret = cJSON_ParseWithLengthOpts(line, len + 1, NULL, true);
	return *ret ? NULL : "the message is not JSON, or too deep";
}

/* ---- Which era ---- */

/* The version that the request itself names, or NULL. */
static const cJSON *named_version(const cJSON *params)
{
	return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(params, "_meta"),
						META_VERSION);
}

static void refuse_version(struct mcp *m, const struct asker *a, const char *wanted)
{
	cJSON *data = cJSON_CreateObject();

	cJSON_AddItemToObject(data, "supported", method_revisions());
	cJSON_AddStringToObject(data, "requested", wanted);
	rpc_error_data(m, a, RPC_VERSION, data, "Unsupported protocol version");
}

/* False after an answer. */
static bool find_era(struct request *q)
{
	const cJSON *version = named_version(q->params);

	if (version && !cJSON_IsString(version)) {
		rpc_error(q->mcp, &q->asker, RPC_PARAMS,
			  "_meta: " META_VERSION " must be a string");
		return false;
	}
	q->asker.modern = version && strcmp(version->valuestring, MCP_REVISION) == 0;
	if (q->asker.modern)
		return true;
	/* Also one with a handshake: those are not named by request. */
	if (version && !q->mcp->legacy) {
		q->asker.modern = true;
		refuse_version(q->mcp, &q->asker, version->valuestring);
		return false;
	}
	if (q->mcp->legacy || strcmp(q->method, "initialize") == 0 ||
	    strcmp(q->method, "ping") == 0)
		return true;
	rpc_error(q->mcp, &q->asker, RPC_PARAMS,
		  "_meta lacks " META_VERSION ", and there was no initialize");
	return false;
}

/* ---- One message ---- */

static void take_request(struct mcp *m, const cJSON *o, const char *method)
{
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(o, "params");
	const cJSON *token = cJSON_GetObjectItemCaseSensitive(
	    cJSON_GetObjectItemCaseSensitive(params, "_meta"), "progressToken");
	struct request q = {.mcp = m, .method = method};

	q.asker.id = cJSON_GetObjectItemCaseSensitive(o, "id");
	if (!is_id(q.asker.id)) {
		q.asker.id = NULL;
		rpc_error(m, &q.asker, RPC_INVALID, "id: expected a string or an integer");
	} else if (call_find(m, q.asker.id)) {
		rpc_error(m, &q.asker, RPC_INVALID, "id: a request of this id runs");
	} else if (params && !cJSON_IsObject(params)) {
		rpc_error(m, &q.asker, RPC_PARAMS, "params: expected an object");
	} else {
		q.params = params;
		q.asker.token = is_id(token) ? (cJSON *)token : NULL;
		if (find_era(&q))
			method_run(&q);
	}
}

static void take_notification(struct mcp *m, const cJSON *o, const char *method)
{
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(o, "params");

	/* A request that is over, or never was, is none to cancel. */
	if (strcmp(method, "notifications/cancelled") == 0)
		call_cancel(call_find(m, cJSON_GetObjectItemCaseSensitive(params, "requestId")));
}

static void take_one(struct mcp *m, const cJSON *o)
{
	const cJSON *method = cJSON_GetObjectItemCaseSensitive(o, "method");
	struct asker nobody = {.id = NULL};

	if (strcmp(json_text(o, "jsonrpc"), "2.0") != 0 || (method && !cJSON_IsString(method)))
		rpc_error(m, &nobody, RPC_INVALID, "not a message of JSON-RPC 2.0");
	else if (!method)
		return; /* an answer: nothing was asked */
	else if (cJSON_GetObjectItemCaseSensitive(o, "id"))
		take_request(m, o, method->valuestring);
	else
		take_notification(m, o, method->valuestring);
}

void rpc_take(struct mcp *m, const char *line, size_t len)
{
	_cleanup_(cJSON_Deletep) cJSON *o = NULL;
	const char *why = parse(line, len, &o);
	struct asker nobody = {.id = NULL};
	const cJSON *one;

	if (why) {
		rpc_error(m, &nobody, RPC_PARSE, "%s", why);
	} else if (cJSON_IsArray(o) && m->legacy && strcmp(m->legacy, "2025-03-26") == 0) {
		/* The one revision that has batches; each is answered by itself. */
		cJSON_ArrayForEach (one, o)
			take_one(m, one);
	} else if (!cJSON_IsObject(o)) {
		rpc_error(m, &nobody, RPC_INVALID, "not a message: expected an object");
	} else {
		take_one(m, o);
	}
}
