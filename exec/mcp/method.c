#include "method.h"

#include "resource.h"
#include "tool.h"

#include "base/json.h"

#include <string.h>

#define LIST_TTL_MS (60 * 60 * 1000) /* tools are the same for the program's life */

static const char *const handshakes[] = {MCP_HANDSHAKE, "2025-06-18", "2025-03-26", "2024-11-05"};

cJSON *method_revisions(void)
{
	cJSON *list = cJSON_CreateArray();

	cJSON_AddItemToArray(list, cJSON_CreateString(MCP_REVISION));
	for (size_t i = 0; i < ARRAY_SIZE(handshakes); i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(handshakes[i]));
	return list;
}

void method_server_info(cJSON *o)
{
	cJSON_AddStringToObject(o, "name", "aib");
	cJSON_AddStringToObject(o, "title", "aib: sandboxes as a filesystem");
	cJSON_AddStringToObject(o, "version", AIB_VERSION);
}

/* ---- Who we are ---- */

static void add_instructions(const struct mcp *m, cJSON *o)
{
	_cleanup_buf_ struct buf text = BUF_INIT(16384);
	const char *mountpoint = m->mount.mountpoint, *base = *m->base ? m->base : "/";

	(void)buf_addf(
	    &text,
	    "One tree of files, whose parts (routes) live in memory, in host directories and in "
	    "containers. Its root is %s; a path may be absolute or relative to %s. exec runs a "
	    "command in the sandbox that owns its directory (cwd), and a path below the root means "
	    "the same file to commands and to the other tools. ls of %s shows the routes.",
	    *mountpoint ? mountpoint : "/", base, *mountpoint ? mountpoint : "/");
	cJSON_AddStringToObject(o, "instructions", text.data ? text.data : "");
}

static void add_capabilities(cJSON *o)
{
	cJSON *all = cJSON_AddObjectToObject(o, "capabilities");

	cJSON_AddObjectToObject(all, "tools");
	cJSON_AddObjectToObject(all, "resources");
}

/* The revision asked for, where we have it; else the newest that begins so. */
static void initialize(const struct request *q)
{
	const char *wanted = json_text(q->params, "protocolVersion");
	cJSON *o = cJSON_CreateObject();
	struct mcp *m = q->mcp;

	m->legacy = handshakes[0];
	for (size_t i = 0; i < ARRAY_SIZE(handshakes); i++)
		if (strcmp(handshakes[i], wanted) == 0)
			m->legacy = handshakes[i];
	cJSON_AddStringToObject(o, "protocolVersion", m->legacy);
	add_capabilities(o);
	method_server_info(cJSON_AddObjectToObject(o, "serverInfo"));
	add_instructions(m, o);
	rpc_result(m, &q->asker, o);
}

static void discover(const struct request *q)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToObject(o, "supportedVersions", method_revisions());
	add_capabilities(o);
	add_instructions(q->mcp, o);
	rpc_result_cached(q->mcp, &q->asker, o, LIST_TTL_MS);
}

static void ping(const struct request *q)
{
	rpc_result(q->mcp, &q->asker, cJSON_CreateObject());
}

/* ---- Lists that fit one page ---- */

static void list_tools(const struct request *q)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToObject(o, "tools", tool_list());
	rpc_result_cached(q->mcp, &q->asker, o, LIST_TTL_MS);
}

static void list_templates(const struct request *q)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToObject(o, "resourceTemplates", resource_templates());
	rpc_result_cached(q->mcp, &q->asker, o, LIST_TTL_MS);
}

/* ---- The table ---- */

enum { LEGACY = 1, MODERN = 2, BOTH = 3, CALLS = 4 /* it may ask the daemon */ };

static const struct method {
	const char *name;
	unsigned when;
	void (*run)(const struct request *q);
} methods[] = {
    {"initialize", LEGACY, initialize},
    {"server/discover", MODERN, discover},
    {"ping", LEGACY, ping},
    {"tools/list", BOTH, list_tools},
    {"tools/call", BOTH | CALLS, tool_call},
    {"resources/list", BOTH | CALLS, resource_list},
    {"resources/templates/list", BOTH, list_templates},
    {"resources/read", BOTH | CALLS, resource_read},
};

void method_run(const struct request *q)
{
	unsigned era = q->asker.modern ? MODERN : LEGACY;
	struct mcp *m = q->mcp;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(methods[i].name, q->method) != 0 || !(methods[i].when & era))
			continue;
		if (methods[i].when & CALLS && m->n_calls >= m->limits.requests)
			rpc_error(m, &q->asker, RPC_INTERNAL,
				  "%u requests run already (--max-requests)", m->n_calls);
		else
			methods[i].run(q);
		return;
	}
	rpc_error(m, &q->asker, RPC_NO_METHOD, "there is no method \"%.64s\"", q->method);
}
