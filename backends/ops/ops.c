/*
 * The operations by name, and their arguments by a table.
 */
#include "internal.h"

#include "base/options.h"

#include <string.h>

DEFINE_CLEANUP(cJSON *, cJSON_Delete)

#define ARG(f) offsetof(struct ops_args, f)
#define COMMON                                                                                     \
	{"at", OPTION_STRING, ARG(at)}, {"path", OPTION_STRING, ARG(path)},                        \
	{                                                                                          \
		"json", OPTION_BOOL, ARG(json)                                                     \
	}

static const struct option read_args[] = {COMMON,
					  {"offset", OPTION_UINT, ARG(offset)},
					  {"limit", OPTION_UINT, ARG(limit)},
					  {"raw", OPTION_BOOL, ARG(raw)},
					  {NULL}};
static const struct option write_args[] = {
    COMMON, {"expect", OPTION_STRING, ARG(expect)}, {"umask", OPTION_UINT, ARG(umask)}, {NULL}};
static const struct option edit_args[] = {COMMON,
					  {"old", OPTION_STRING, ARG(old)},
					  {"new", OPTION_STRING, ARG(new)},
					  {"replace_all", OPTION_BOOL, ARG(replace_all)},
					  {"expect", OPTION_STRING, ARG(expect)},
					  {NULL}};
static const struct option ls_args[] = {COMMON, {NULL}};
static const struct option glob_args[] = {COMMON,
					  {"pattern", OPTION_STRING, ARG(pattern)},
					  {"missing_ok", OPTION_BOOL, ARG(missing_ok)},
					  {"hidden", OPTION_BOOL, ARG(hidden)},
					  {"gitignore", OPTION_BOOL, ARG(gitignore)},
					  {"sort", OPTION_STRING, ARG(sort), "path|mtime"},
					  {"max", OPTION_UINT, ARG(max)},
					  {NULL}};
static const struct option grep_args[] = {COMMON,
					  {"pattern", OPTION_STRING, ARG(pattern)},
					  {"glob", OPTION_STRING, ARG(glob)},
					  {"mode", OPTION_STRING, ARG(mode), "content|files|count"},
					  {"ignore_case", OPTION_BOOL, ARG(ignore_case)},
					  {"gitignore", OPTION_BOOL, ARG(gitignore)},
					  {"max", OPTION_UINT, ARG(max)},
					  {NULL}};

static const struct operation {
	const char *name;
	const struct option *args;
	int (*run)(struct ops *);
	size_t required; /* an argument beside `at` and `path`; 0: none */
} operations[] = {
    {"read", read_args, ops_read},
    {"write", write_args, ops_write},
    {"edit", edit_args, ops_edit, ARG(old)},
    {"ls", ls_args, ops_ls},
    {"glob", glob_args, ops_glob, ARG(pattern)},
    {"grep", grep_args, ops_grep, ARG(pattern)},
};

static const struct operation *find_operation(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		if (strcmp(operations[i].name, name) == 0)
			return &operations[i];
	return NULL;
}

bool ops_known(const char *name)
{
	return find_operation(name) != NULL;
}

/* ---- Beginning and end ---- */

static int parse(struct ops *o, const cJSON *request, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *copy = cJSON_Duplicate(request, true);
	const struct operation *op = o->operation;
	int r;

	if (!copy)
		return -ENOMEM;
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "op");
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "version");
	r = options_parse(op->args, copy, &o->args, err);
	if (r < 0)
		return err_prefix(err, r, "%s", op->name);
	if (!o->args.at || !o->args.path ||
	    (op->required && !*(char **)((char *)&o->args + op->required)))
		return err_set(err, -EINVAL, "%s: an argument is missing", op->name);
	return 0;
}

int ops_new(const struct ops_tree *tree, const struct ops_who *who, const struct ops_io *io,
	    const cJSON *request, struct ops **ret, struct err *err)
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(request, "op");
	struct ops *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	ops_init(o, tree, who, io);
	o->args.limit = UINT64_MAX;
	o->args.umask = 022;
	o->operation = find_operation(cJSON_IsString(name) ? name->valuestring : "");
	r = o->operation ? parse(o, request, err) : err_set(err, -EINVAL, "unknown operation");
	if (r < 0) {
		ops_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

int ops_run(struct ops *o)
{
	int r = ops_may_enter(o), status;

	status = r < 0 ? ops_fail_errno(o, r) : o->operation->run(o);
	(void)ops_flush(o);
	return status;
}

void ops_free(struct ops *o)
{
	if (!o)
		return;
	if (o->operation)
		options_free(o->operation->args, &o->args);
	ops_done(o);
	free(o);
}
