/* A tool's result, from what the daemon has answered: text for the model, and the answer's JSON. */
#include "tool.h"

#include "base/json.h"
#include "base/utf8.h"

#include <string.h>

/* ---- The answer's JSON; the caller's ---- */

static cJSON *output_json(const struct call *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SIZE_MAX / 2);
	cJSON *o;

	if (utf8_add(&text, c->out.data, c->out.len, SIZE_MAX, NULL) < 0)
		return NULL;
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "output", text.data ? text.data : "");
	cJSON_AddBoolToObject(o, "truncated", c->truncated);
	return o;
}

/* A command's says itself that it could not be run. */
static cJSON *answer_json(const struct call *c)
{
	if (c->error && c->want.answer != CALL_COMMAND)
		return NULL;
	switch (c->want.answer) {
	case CALL_COMMAND:
		if (c->error)
			collect_fail(c->collect, c->error);
		return collect_response(c->collect);
	case CALL_TAIL:
		return output_json(c);
	default:
		return cJSON_ParseWithLength(c->out.data ? c->out.data : "", c->out.len);
	}
}

/* ---- What went wrong, or NULL ---- */

/* Those of the daemon's replies come as errors; in other answers there may be one with what was
 * found. */
static const char *error_of(const struct call *c, const cJSON *answer)
{
	const char *said = c->want.answer == CALL_REPLY ? "" : json_text(answer, "error");

	if (c->error)
		return c->error;
	if (*said)
		return said;
	if (!answer && c->status == 127)
		return "there is no such program in the sandbox";
	return answer ? NULL : "the daemon's answer is not understood";
}

/* ---- The result ---- */

static int answer_text(const struct call *c, const cJSON *answer, struct buf *out)
{
	_cleanup_free_ char *json = NULL;

	if (c->want.tool->text)
		return c->want.tool->text(answer, out);
	json = cJSON_PrintUnformatted(answer);
	return json ? buf_adds(out, json) : -ENOMEM;
}

static cJSON *make(const struct call *c, cJSON *answer)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SIZE_MAX / 2);
	const char *error = error_of(c, answer);
	cJSON *o = cJSON_CreateObject(), *list, *content;
	/* Of an error that came alone there is no more to say. */
	bool whole = answer && (!error || cJSON_GetArraySize(answer) > 1);
	int r = whole ? answer_text(c, answer, &text) : 0;

	if (r == 0 && error)
		r = buf_adds(&text, error);
	if (r == 0 && text.len == 0) /* some models take no empty text */
		r = buf_adds(&text, "(nothing)");
	if (r < 0) {
		cJSON_Delete(o);
		return NULL;
	}
	list = cJSON_AddArrayToObject(o, "content");
	content = cJSON_CreateObject();
	cJSON_AddStringToObject(content, "type", "text");
	cJSON_AddStringToObject(content, "text", text.data);
	cJSON_AddItemToArray(list, content);
	if (whole)
		cJSON_AddItemReferenceToObject(o, "structuredContent", answer);
	cJSON_AddBoolToObject(o, "isError", error != NULL);
	return o;
}

void tool_finish(struct call *c)
{
	_cleanup_(cJSON_Deletep) cJSON *answer = answer_json(c);

	rpc_result(c->mcp, &c->asker, make(c, answer));
}
