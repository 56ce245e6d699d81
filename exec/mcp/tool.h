/*
 * The tools: each an entry of a table (tools.c) with its arguments, from which come the schema that
 * clients see, the check of what they send, and the request to the daemon.
 */
#ifndef AIB_MCP_TOOL_H
#define AIB_MCP_TOOL_H

#include "call.h"

enum arg_type {
	ARG_TEXT,
	ARG_COUNT,   /* a whole number from 0 */
	ARG_SECONDS, /* a number from 0 */
	ARG_FLAG,
	ARG_LIST,  /* of strings */
	ARG_NAMES, /* an object of strings */
};

struct arg {
	const char *name;
	enum arg_type type;
	bool required;
	const char *choices; /* "a|b|c"; NULL: any */
	const char *help;
};

#define TOOL_ARGS 10

/* The hints of MCP's annotations. */
enum {
	TOOL_READS = 1,
	TOOL_DESTROYS = 2,
	TOOL_AGAIN = 4 /* a second call changes nothing */,
	TOOL_OPEN = 8
};

struct tool {
	const char *name, *title, *help;
	const char *op; /* of the request; of sessions what to "do" */
	unsigned hints;
	enum call_answer answer;
	/* Fill RET from ARGS, which were checked. 0, or -errno with text. */
	int (*make)(const struct tool *t, const struct mcp *m, const cJSON *args,
		    struct call_want *ret, struct err *err);
	/* What a model reads, of the answer's JSON; NULL: the JSON itself. */
	int (*text)(const cJSON *answer, struct buf *out);
	const char *output;	    /* the schema of the answer's JSON */
	struct arg args[TOOL_ARGS]; /* a NULL name ends them */
};

/* ---- tools.c ---- */

/* NULL behind the last. */
const struct tool *tool_at(size_t i);

/* ---- schema.c ---- */

/* As tools/list has it; the caller's. */
cJSON *tool_describe(const struct tool *t);
/* 0, or -EINVAL with text that names the argument. ARGS may be NULL. */
int tool_check(const struct tool *t, const cJSON *args, struct err *err);

/* ---- make.c: the `make` of each kind ---- */

int make_operation(const struct tool *t, const struct mcp *m, const cJSON *args,
		   struct call_want *ret, struct err *err);
int make_exec(const struct tool *t, const struct mcp *m, const cJSON *args, struct call_want *ret,
	      struct err *err);
int make_session(const struct tool *t, const struct mcp *m, const cJSON *args,
		 struct call_want *ret, struct err *err);
int make_job(const struct tool *t, const struct mcp *m, const cJSON *args, struct call_want *ret,
	     struct err *err);

/* ---- text.c: the `text` of each kind, as aib's commands print it ---- */

int text_read(const cJSON *answer, struct buf *out);
int text_write(const cJSON *answer, struct buf *out);
int text_edit(const cJSON *answer, struct buf *out);
int text_ls(const cJSON *answer, struct buf *out);
int text_glob(const cJSON *answer, struct buf *out);
int text_grep(const cJSON *answer, struct buf *out);
int text_exec(const cJSON *answer, struct buf *out);
int text_output(const cJSON *answer, struct buf *out);

/* ---- result.c ---- */

/* Answer the client: the call is at its end. */
void tool_finish(struct call *c);

/* ---- tool.c ---- */

cJSON *tool_list(void);
/* The method tools/call. */
void tool_call(const struct request *q);

#endif
