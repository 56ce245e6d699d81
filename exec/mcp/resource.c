#include "resource.h"

#include "call.h"

#include "base/json.h"
#include "base/utf8.h"

#include <openssl/evp.h>
#include <string.h>

#define SCHEME "aib://"
#define PAGE 500 /* entries of a listing's page */
#define MAX_URI (64 << 10)

/* ---- URIs ---- */

static int add_uri(struct buf *out, const char *path, bool dir)
{
	int r = buf_adds(out, SCHEME);

	for (const unsigned char *p = (const unsigned char *)path; *p && r == 0; p++) {
		bool plain = (*p | 32) >= 'a' && (*p | 32) <= 'z';

		plain = plain || (*p >= '0' && *p <= '9') || strchr("/-._~", *p);
		r = plain ? buf_add(out, p, 1) : buf_addf(out, "%%%02X", *p);
	}
	return r < 0 || !dir ? r : buf_adds(out, "/");
}

/* Of the two digits at P, or -1; a NUL ends paths. */
static int hex_byte(const char *p)
{
	static const char digits[] = "0123456789abcdef";
	int byte = 0;

	for (int i = 0; i < 2; i++) {
		const char *digit =
		    p[i] ? strchr(digits, p[i] >= 'A' && p[i] <= 'F' ? p[i] | 32 : p[i]) : NULL;

		if (!digit)
			return -1;
		byte = byte * 16 + (digit - digits);
	}
	return byte ? byte : -1;
}

/* The path of URI, the caller's; NULL where it is none of ours. */
static char *path_of(const char *uri)
{
	_cleanup_free_ char *path = NULL;
	const char *p;
	char *to;

	if (strncmp(uri, SCHEME "/", strlen(SCHEME) + 1) != 0)
		return NULL;
	p = uri + strlen(SCHEME);
	path = to = malloc(strlen(p) + 1);
	for (; path && *p; p++) {
		int byte = *p == '%' ? hex_byte(p + 1) : *p;

		if (*p == '%' && byte < 0)
			return NULL;
		p += *p == '%' ? 2 : 0;
		*to++ = byte;
	}
	if (path)
		*to = '\0';
	return TAKE(path);
}

cJSON *resource_templates(void)
{
	cJSON *list = cJSON_CreateArray(), *one = cJSON_CreateObject();

	cJSON_AddStringToObject(one, "uriTemplate", SCHEME "{+path}");
	cJSON_AddStringToObject(one, "name", "file");
	cJSON_AddStringToObject(one, "title", "A file or directory");
	cJSON_AddStringToObject(one, "description",
				"A file by its absolute path; a directory, whose path ends in a "
				"slash, is its listing.");
	cJSON_AddItemToArray(list, one);
	return list;
}

/* ---- Listing ---- */

/* OP of the file at PATH, with the argument FLAG. */
static cJSON *request_of(const char *op, const char *path, const char *flag)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "op", op);
	cJSON_AddStringToObject(o, "at", path);
	cJSON_AddStringToObject(o, "path", path);
	cJSON_AddTrueToObject(o, flag);
	return o;
}

static cJSON *listing_request(const char *path)
{
	return request_of("ls", path, "json");
}

static cJSON *describe(const cJSON *entry)
{
	_cleanup_buf_ struct buf uri = BUF_INIT(MAX_URI);
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(entry, "size");
	bool dir = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(entry, "is_dir"));
	cJSON *o, *notes;

	if (add_uri(&uri, json_text(entry, "path"), dir) < 0)
		return NULL;
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "uri", uri.data);
	cJSON_AddStringToObject(o, "name", json_text(entry, "name"));
	if (dir)
		cJSON_AddStringToObject(o, "mimeType", "inode/directory");
	if (cJSON_IsNumber(size))
		cJSON_AddNumberToObject(o, "size", size->valuedouble);
	notes = cJSON_AddObjectToObject(o, "annotations");
	cJSON_AddStringToObject(notes, "lastModified", json_text(entry, "modified_at"));
	return o;
}

/* What went wrong, or NULL; what could not be looked at alone is left out. */
static const char *listing_error(const struct call *c, const cJSON *answer)
{
	if (c->error)
		return c->error;
	if (cJSON_GetObjectItemCaseSensitive(answer, "entries"))
		return NULL;
	return answer ? json_text(answer, "error") : "the daemon's answer is not understood";
}

static void finish_list(struct call *c)
{
	_cleanup_(cJSON_Deletep) cJSON *answer =
	    cJSON_ParseWithLength(c->out.data ? c->out.data : "", c->out.len);
	const char *error = listing_error(c, answer);
	const cJSON *entry;
	cJSON *o, *list;
	char cursor[24];
	size_t i = 0;

	if (error) {
		rpc_error(c->mcp, &c->asker, RPC_INTERNAL, "%s", error);
		return;
	}
	o = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(o, "resources");
	cJSON_ArrayForEach (entry, cJSON_GetObjectItemCaseSensitive(answer, "entries")) {
		if (i >= c->want.first && i < c->want.first + PAGE)
			cJSON_AddItemToArray(list, describe(entry));
		i++;
	}
	if (i > c->want.first + PAGE) {
		snprintf(cursor, sizeof(cursor), "%zu", c->want.first + PAGE);
		cJSON_AddStringToObject(o, "nextCursor", cursor);
	}
	rpc_result_cached(c->mcp, &c->asker, o, 0);
}

void resource_list(const struct request *q)
{
	const cJSON *cursor = cJSON_GetObjectItemCaseSensitive(q->params, "cursor");
	const char *text = cJSON_IsString(cursor) ? cursor->valuestring : "";
	size_t digits = strspn(text, "0123456789");
	struct call_want want = {.answer = CALL_OUTPUT, .finish = finish_list};

	if (cursor && (digits == 0 || digits > 9 || text[digits])) {
		rpc_error(q->mcp, &q->asker, RPC_PARAMS, "cursor: not one of ours");
		return;
	}
	want.first = strtoul(text, NULL, 10);
	want.request = listing_request(*q->mcp->base ? q->mcp->base : "/");
	call_start(q, &want);
}

/* ---- Reading ---- */

static bool is_text(const struct buf *b)
{
	const unsigned char *p = (const unsigned char *)b->data;

	for (size_t left = b->len; left > 0;) {
		int n = *p ? utf8_length(p, left) : 0;

		if (n <= 0)
			return false;
		p += n;
		left -= n;
	}
	return true;
}

static int add_blob(cJSON *o, const struct buf *b)
{
	_cleanup_free_ char *text = malloc(b->len / 3 * 4 + 5);

	if (!text)
		return -ENOMEM;
	EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)b->data, b->len);
	cJSON_AddStringToObject(o, "mimeType", "application/octet-stream");
	return cJSON_AddStringToObject(o, "blob", text) ? 0 : -ENOMEM;
}

static int add_content(cJSON *o, const struct call *c)
{
	bool listing = c->want.uri[strlen(c->want.uri) - 1] == '/';

	cJSON_AddStringToObject(o, "uri", c->want.uri);
	if (!is_text(&c->out))
		return add_blob(o, &c->out);
	cJSON_AddStringToObject(o, "mimeType", listing ? "application/json" : "text/plain");
	return cJSON_AddStringToObject(o, "text", c->out.data ? c->out.data : "") ? 0 : -ENOMEM;
}

/* The first line of what was said; of a listing it is in its JSON. */
static void finish_failed(struct call *c)
{
	_cleanup_(cJSON_Deletep) cJSON *answer =
	    cJSON_ParseWithLength(c->out.data ? c->out.data : "", c->out.len);
	const char *text = c->error ? c->error : json_text(answer, "error");

	if (!*text)
		text = c->err.data ? c->err.data : "it cannot be read";

	rpc_error(c->mcp, &c->asker, c->asker.modern ? RPC_PARAMS : RPC_NOT_FOUND, "%.*s",
		  (int)strcspn(text, "\n"), text);
}

static void finish_read(struct call *c)
{
	cJSON *o, *list, *one;

	if (c->error || c->status != 0) {
		finish_failed(c);
		return;
	}
	o = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(o, "contents");
	one = cJSON_CreateObject();
	cJSON_AddItemToArray(list, one);
	if (add_content(one, c) < 0) {
		cJSON_Delete(o);
		rpc_error(c->mcp, &c->asker, RPC_INTERNAL, "out of memory");
		return;
	}
	rpc_result_cached(c->mcp, &c->asker, o, 0);
}

void resource_read(const struct request *q)
{
	const char *uri = json_text(q->params, "uri");
	_cleanup_free_ char *path = path_of(uri);
	struct call_want want = {.answer = CALL_OUTPUT, .finish = finish_read};

	if (!path) {
		rpc_error(q->mcp, &q->asker, RPC_PARAMS,
			  "uri: expected " SCHEME " and an absolute path");
		return;
	}
	want.uri = strdup(uri);
	want.request =
	    path[strlen(path) - 1] == '/' ? listing_request(path) : request_of("read", path, "raw");
	if (want.uri)
		call_start(q, &want);
	else
		rpc_error(q->mcp, &q->asker, RPC_INTERNAL, "out of memory");
}
