/* From a tool's arguments to the daemon's request (exec/protocol.h). */
#include "tool.h"

#include "brief.h"
#include "pattern_dir.h"

#include "base/json.h"

#include <string.h>
#include <sys/stat.h>

char *mcp_path(const struct mcp *m, const char *path)
{
	char *s;

	if (*path == '/')
		return strdup(path);
	/* The tree's root has a name of its own only where it is mounted. */
	return asprintf(&s, "%s%s%s", m->base, *path || !*m->base ? "/" : "", path) < 0 ? NULL : s;
}

/* Every kind begins with what was given. */
static int begin(const cJSON *args, struct call_want *ret)
{
	ret->request = args ? cJSON_Duplicate(args, true) : cJSON_CreateObject();
	return ret->request ? 0 : -ENOMEM;
}

/* ---- Operations ---- */

/* A pattern without a path may name its directory itself. */
static int take_directory(cJSON *request, const char *pattern)
{
	_cleanup_free_ char *dir = NULL, *whole = strdup(pattern);
	const char *rest;
	int r = whole ? pattern_dir(whole, &dir, &rest) : -ENOMEM;

	if (r < 0 || !dir)
		return r;
	cJSON_AddStringToObject(request, "path", dir);
	cJSON_AddTrueToObject(request, "missing_ok");
	cJSON_ReplaceItemInObjectCaseSensitive(request, "pattern", cJSON_CreateString(rest));
	return 0;
}

static void take_content(struct call_want *ret)
{
	mode_t mask = umask(0);

	umask(mask);
	cJSON_AddNumberToObject(ret->request, "umask", mask);
	ret->holder = cJSON_DetachItemFromObjectCaseSensitive(ret->request, "content");
	ret->input = cJSON_GetStringValue(ret->holder);
}

int make_operation(const struct tool *t, const struct mcp *m, const cJSON *args,
		   struct call_want *ret, struct err *err)
{
	_cleanup_free_ char *at = NULL;
	cJSON *request;
	int r = begin(args, ret);

	if (r < 0)
		return r;
	request = ret->request;
	if (strcmp(t->op, "write") == 0)
		take_content(ret);
	if (strcmp(t->op, "glob") == 0 && !cJSON_GetObjectItemCaseSensitive(request, "path"))
		r = take_directory(request, json_text(request, "pattern"));
	if (r < 0)
		return r;
	if (!cJSON_GetObjectItemCaseSensitive(request, "path"))
		cJSON_AddStringToObject(request, "path", "");
	at = mcp_path(m, json_text(request, "path"));
	if (!at)
		return -ENOMEM;
	cJSON_AddStringToObject(request, "op", t->op);
	cJSON_AddStringToObject(request, "at", at);
	cJSON_AddTrueToObject(request, "json");
	return 0;
}

/* ---- Commands ---- */

int make_exec(const struct tool *t, const struct mcp *m, const cJSON *args, struct call_want *ret,
	      struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *given = NULL, *job = NULL;
	_cleanup_free_ char *dir = NULL;
	int r = begin(args, ret);

	if (r < 0)
		return r;
	given = TAKE(ret->request);
	job = cJSON_DetachItemFromObjectCaseSensitive(given, "name");
	dir = mcp_path(m, json_text(given, "cwd"));
	r = dir ? brief_expand(given, dir, &ret->request, err) : -ENOMEM;
	if (r < 0)
		return r;
	ret->holder = cJSON_DetachItemFromObjectCaseSensitive(given, "stdin");
	ret->input = cJSON_GetStringValue(ret->holder);
	if (t->answer != CALL_REPLY)
		return 0;
	cJSON_AddTrueToObject(ret->request, "detach");
	if (job)
		cJSON_AddItemToObject(ret->request, "job", TAKE(job));
	return 0;
}

/* ---- Jobs and sessions ---- */

int make_job(const struct tool *t, const struct mcp *m, const cJSON *args, struct call_want *ret,
	     struct err *err)
{
	int r = begin(args, ret);

	if (r == 0)
		cJSON_AddStringToObject(ret->request, "op", t->op);
	return r;
}

int make_session(const struct tool *t, const struct mcp *m, const cJSON *args,
		 struct call_want *ret, struct err *err)
{
	int r = begin(args, ret);

	if (r < 0)
		return r;
	cJSON_AddStringToObject(ret->request, "op", "session");
	cJSON_AddStringToObject(ret->request, "do", t->op);
	return 0;
}
