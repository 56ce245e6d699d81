#include "tool.h"

#include "base/json.h"

#include <string.h>

cJSON *tool_list(void)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; tool_at(i); i++)
		cJSON_AddItemToArray(list, tool_describe(tool_at(i)));
	return list;
}

static const struct tool *find_tool(const char *name)
{
	for (size_t i = 0; tool_at(i); i++)
		if (strcmp(tool_at(i)->name, name) == 0)
			return tool_at(i);
	return NULL;
}

/* What is wrong with arguments is for the model to read, and to do better. */
static void refuse(const struct request *q, const char *text)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "content"),
	      *content = cJSON_CreateObject();

	cJSON_AddStringToObject(content, "type", "text");
	cJSON_AddStringToObject(content, "text", text);
	cJSON_AddItemToArray(list, content);
	cJSON_AddTrueToObject(o, "isError");
	rpc_result(q->mcp, &q->asker, o);
}

void tool_call(const struct request *q)
{
	const char *name = json_text(q->params, "name");
	const cJSON *args = cJSON_GetObjectItemCaseSensitive(q->params, "arguments");
	const struct tool *t = find_tool(name);
	struct call_want want = {.tool = t, .finish = tool_finish};
	struct err err = {""};
	int r;

	if (!t) {
		rpc_error(q->mcp, &q->asker, RPC_PARAMS, "there is no tool \"%.64s\"", name);
		return;
	}
	want.answer = t->answer;
	r = tool_check(t, args, &err);
	if (r == 0)
		r = t->make(t, q->mcp, args, &want, &err);
	if (r < 0)
		refuse(q, *err.text ? err.text : strerror(-r));
	else
		call_start(q, &want);
}
