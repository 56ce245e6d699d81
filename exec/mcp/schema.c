/* What clients are told of a tool, and what is said of arguments that are not so. */
#include "tool.h"

#include "base/macros.h"

#include <math.h>
#include <string.h>

static const struct {
	const char *schema, *called;
} types[] = {
    [ARG_TEXT] = {"{\"type\": \"string\"}", "a string"},
    [ARG_COUNT] = {"{\"type\": \"integer\", \"minimum\": 0}", "a whole number from 0"},
    [ARG_SECONDS] = {"{\"type\": \"number\", \"minimum\": 0}", "a number of seconds"},
    [ARG_FLAG] = {"{\"type\": \"boolean\"}", "true or false"},
    [ARG_LIST] = {"{\"type\": \"array\", \"items\": {\"type\": \"string\"}}", "a list of strings"},
    [ARG_NAMES] = {"{\"type\": \"object\", \"additionalProperties\": {\"type\": \"string\"}}",
		   "an object of strings"},
};

/* ---- Telling ---- */

static void add_choices(cJSON *o, const char *choices)
{
	cJSON *list = cJSON_AddArrayToObject(o, "enum");

	for (size_t n; *choices; choices += n + (choices[n] == '|')) {
		_cleanup_free_ char *one = NULL;

		n = strcspn(choices, "|");
		one = strndup(choices, n);
		cJSON_AddItemToArray(list, cJSON_CreateString(one ? one : ""));
	}
}

static cJSON *input_schema(const struct tool *t)
{
	cJSON *o = cJSON_CreateObject(), *all, *required = cJSON_CreateArray();

	cJSON_AddStringToObject(o, "type", "object");
	all = cJSON_AddObjectToObject(o, "properties");
	for (const struct arg *a = t->args; a->name; a++) {
		cJSON *one = cJSON_Parse(types[a->type].schema);

		cJSON_AddStringToObject(one, "description", a->help);
		if (a->choices)
			add_choices(one, a->choices);
		cJSON_AddItemToObject(all, a->name, one);
		if (a->required)
			cJSON_AddItemToArray(required, cJSON_CreateString(a->name));
	}
	if (cJSON_GetArraySize(required) > 0)
		cJSON_AddItemToObject(o, "required", required);
	else
		cJSON_Delete(required);
	cJSON_AddFalseToObject(o, "additionalProperties");
	return o;
}

static void add_hints(const struct tool *t, cJSON *o)
{
	cJSON *hints = cJSON_AddObjectToObject(o, "annotations");

	cJSON_AddStringToObject(hints, "title", t->title);
	cJSON_AddBoolToObject(hints, "readOnlyHint", (t->hints & TOOL_READS) != 0);
	cJSON_AddBoolToObject(hints, "destructiveHint", (t->hints & TOOL_DESTROYS) != 0);
	cJSON_AddBoolToObject(hints, "idempotentHint", (t->hints & (TOOL_READS | TOOL_AGAIN)) != 0);
	cJSON_AddBoolToObject(hints, "openWorldHint", (t->hints & TOOL_OPEN) != 0);
}

cJSON *tool_describe(const struct tool *t)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "name", t->name);
	cJSON_AddStringToObject(o, "title", t->title);
	cJSON_AddStringToObject(o, "description", t->help);
	cJSON_AddItemToObject(o, "inputSchema", input_schema(t));
	cJSON_AddItemToObject(o, "outputSchema", cJSON_Parse(t->output));
	add_hints(t, o);
	return o;
}

/* ---- Checking ---- */

static bool are_strings(const cJSON *v)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, v)
		if (!cJSON_IsString(one))
			return false;
	return true;
}

static bool is_number(const cJSON *v, bool whole)
{
	return cJSON_IsNumber(v) && v->valuedouble >= 0 && isfinite(v->valuedouble) &&
	       (!whole || v->valuedouble == trunc(v->valuedouble));
}

static bool is_of(const cJSON *v, enum arg_type type)
{
	switch (type) {
	case ARG_TEXT:
		return cJSON_IsString(v);
	case ARG_COUNT:
		return is_number(v, true);
	case ARG_SECONDS:
		return is_number(v, false);
	case ARG_FLAG:
		return cJSON_IsBool(v);
	case ARG_LIST:
		return cJSON_IsArray(v) && are_strings(v);
	case ARG_NAMES:
		return cJSON_IsObject(v) && are_strings(v);
	}
	return false;
}

static const struct arg *find_arg(const struct tool *t, const char *name)
{
	for (const struct arg *a = t->args; a->name; a++)
		if (strcmp(a->name, name) == 0)
			return a;
	return NULL;
}

static int unknown(const struct tool *t, const char *name, struct err *err)
{
	_cleanup_buf_ struct buf names = BUF_INIT(sizeof(err->text) / 2);

	for (const struct arg *a = t->args; a->name; a++)
		(void)buf_addf(&names, "%s%s", a == t->args ? "" : ", ", a->name);
	return err_set(err, -EINVAL, "%s: unknown argument \"%.64s\"; there are %s", t->name, name,
		       names.data ? names.data : "none");
}

int tool_check(const struct tool *t, const cJSON *args, struct err *err)
{
	const cJSON *v;

	if (args && !cJSON_IsObject(args))
		return err_set(err, -EINVAL, "%s: arguments must be an object", t->name);
	cJSON_ArrayForEach (v, args) {
		const struct arg *a = find_arg(t, v->string);

		if (!a)
			return unknown(t, v->string, err);
		if (!is_of(v, a->type))
			return err_set(err, -EINVAL, "%s: \"%s\" must be %s", t->name, a->name,
				       types[a->type].called);
	}
	for (const struct arg *a = t->args; a->name; a++)
		if (a->required && !cJSON_GetObjectItemCaseSensitive(args, a->name))
			return err_set(err, -EINVAL, "%s: \"%s\" is missing (%s)", t->name, a->name,
				       a->help);
	return 0;
}
