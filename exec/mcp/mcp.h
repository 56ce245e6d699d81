/*
 * One MCP server: what its files share. A single thread (loop.c) reads messages, makes of each
 * request for the mount a call (call.h) with a connection to the daemon of its own, and writes
 * answers.
 */
#ifndef AIB_MCP_H
#define AIB_MCP_H

#include "base/buf.h"
#include "base/err.h"
#include "registry.h"

#include <cjson/cJSON.h>
#include <stdint.h>

DEFINE_CLEANUP(cJSON *, cJSON_Delete)

/* The current revision, which knows no handshake, and the newest of those with `initialize`. */
#define MCP_REVISION "2026-07-28"
#define MCP_HANDSHAKE "2025-11-25"

struct mcp_limits {
	uint64_t requests; /* that run at once */
	uint64_t message;  /* bytes of one line from the client */
	uint64_t result;   /* bytes of one answer of the daemon's */
};

struct mcp {
	struct mcp_limits limits;
	struct registry_mount mount; /* socket_dir NULL: not yet there, calls wait for it */
	char *base; /* what relative paths begin with: absolute, without a slash at the end */
	const char *legacy; /* the revision that `initialize` agreed on; NULL: there was none */
	struct buf out;	    /* messages to the client, each a line */
	struct call *calls;
	unsigned n_calls;
};

/* PATH as the daemon wants it: absolute, below the mount point; the caller's. NULL: out of memory.
 */
char *mcp_path(const struct mcp *m, const char *path);

#endif
