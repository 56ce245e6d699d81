/*
 * JSON-RPC 2.0 as MCP has it: messages in, answers out. Two eras: a request whose `_meta` names its
 * protocol version is answered by that alone; after `initialize` requests without it are answered
 * by the revision that was agreed on. Source: schema.ts of the revisions 2024-11-05 to 2026-07-28.
 */
#ifndef AIB_MCP_RPC_H
#define AIB_MCP_RPC_H

#include "mcp.h"

#include <stdbool.h>

enum rpc_code {
	RPC_PARSE = -32700,
	RPC_INVALID = -32600,
	RPC_NO_METHOD = -32601,
	RPC_PARAMS = -32602,
	RPC_INTERNAL = -32603,
	RPC_NOT_FOUND = -32002, /* a resource, before 2026-07-28 */
	RPC_VERSION = -32022,
};

/* Who is to be answered. */
struct asker {
	cJSON *id;    /* a string or an integer; NULL: it could not be read */
	cJSON *token; /* for progress; NULL: none is wanted */
	bool modern;  /* the request named its version */
};

/* A request as its method gets it; borrowed. */
struct request {
	struct mcp *mcp;
	struct asker asker; /* its values are the message's: asker_copy keeps them */
	const char *method;
	const cJSON *params; /* an object, or NULL */
};

int asker_copy(const struct asker *from, struct asker *ret);
void asker_done(struct asker *a);

/* Take one message: LINE, of LEN bytes, ends in a NUL that LEN does not count. */
void rpc_take(struct mcp *m, const char *line, size_t len);

/* Answer with RESULT, which is taken; NULL where memory is out. */
void rpc_result(struct mcp *m, const struct asker *a, cJSON *result);
/* The same with what clients may keep for a while: `ttlMs` and `cacheScope`. */
void rpc_result_cached(struct mcp *m, const struct asker *a, cJSON *result, unsigned ttl_ms);
void rpc_error(struct mcp *m, const struct asker *a, int code, const char *fmt, ...) _printf_(4, 5);
/* The same with DATA, which is taken. */
void rpc_error_data(struct mcp *m, const struct asker *a, int code, cJSON *data, const char *text);
/* PROGRESS grows from one to the next. Left out where the client does not read. */
void rpc_progress(struct mcp *m, const struct asker *a, double progress, const char *text);

#endif
