/*
 * A request that the daemon answers, with a connection of its own: so its end is the end of what it
 * asked for, a command's whole tree included. Bytes go as poll(2) lets them; nothing here blocks.
 */
#ifndef AIB_MCP_CALL_H
#define AIB_MCP_CALL_H

#include "rpc.h"

#include "collect.h"
#include "scan.h"

#include <poll.h>

enum call_answer {
	CALL_OUTPUT,  /* standard output and error, and a status */
	CALL_TAIL,    /* the end of both together, then a REPLY */
	CALL_COMMAND, /* a command's, collected */
	CALL_REPLY,   /* JSON */
};

struct call;

/* What is asked for. */
struct call_want {
	cJSON *request;	   /* of exec/protocol.h; taken */
	const char *input; /* standard input, which lives as long as `holder` */
	cJSON *holder;	   /* taken; may be NULL */
	enum call_answer answer;
	void (*finish)(struct call *c); /* answer the client: the call is at its end */
	const struct tool *tool;
	char *uri;    /* of a resource; taken */
	size_t first; /* of a listing */
};

struct call {
	struct call *next;
	struct mcp *mcp;
	struct asker asker;
	struct call_want want;
	uint64_t started_ms, told_ms;

	int fd;	       /* -1: the daemon is not there yet */
	struct buf to; /* frames to the daemon */
	struct scan scan;
	uint32_t frame; /* bytes of the payload that goes by */

	/* What came. */
	struct buf out, err;	 /* out: also a REPLY's JSON; err: also an ERROR's text */
	struct buf exit;	 /* the payload of EXIT */
	struct collect *collect; /* of a command */
	char last[160];		 /* the end of a command's output, for progress */
	bool truncated;		 /* of a tail */
	int status;
	char *error; /* why there is no answer */
	bool over;
};

/* Ask. Takes what is in WANT; what fails is answered. */
void call_start(const struct request *q, struct call_want *want);
/* The call of this id that runs, or NULL. ID may be anything, also NULL. */
struct call *call_find(struct mcp *m, const cJSON *id);
/* End it without an answer. C may be NULL. */
void call_cancel(struct call *c);
/* End all; with WHY each is answered with an error. */
void call_end_all(struct mcp *m, const char *why);

/* The mount can be used now: ask what waited. */
void call_connect_all(struct mcp *m);
/* What to wait for. */
struct pollfd call_poll(const struct call *c);
/* It is ready for EVENTS. May free the call, after its answer. */
void call_ready(struct call *c, short events);
/* Tell its client that it runs, a second after the last time. Returns the time of the next, or 0.
 */
uint64_t call_tell(struct call *c, uint64_t now_ms);

#endif
