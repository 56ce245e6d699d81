/*
 * A definition parsed and checked. What goes into a Dockerfile's line is without control characters
 * and of a grammar where it has one; how it is quoted there is recipe.c's.
 */
#include "runtime.h"

#include "base/suggest.h"
#include "package.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#define MAX_NAME 64
#define MAX_IMAGE 512
#define MAX_TEXT (32 << 10) /* a setup command, a value of env */
#define MAX_ITEMS 1000	    /* packages, commands, variables */

struct given {
	struct runtime rt;
	char *work_dir; /* the other spelling of workdir */
};

#define AT(field) offsetof(struct given, rt.field)

const struct option runtime_options[] = {
    {"image", OPTION_STRING, AT(image), NULL, "an image that is used as it is"},
    {"base_image", OPTION_STRING, AT(base_image), NULL, "the image to build on"},
    {"packages", OPTION_JSON, AT(packages), NULL, "[\"NAME\", …]: to install"},
    {"package_manager", OPTION_STRING, AT(package_manager), PACKAGE_MANAGERS,
     "what installs them (pip)"},
    {"setup_commands", OPTION_JSON, AT(setup_commands), NULL,
     "[\"COMMAND\", …]: shell lines that run before"},
    {"env", OPTION_JSON, AT(env), NULL, "{\"NAME\": \"value\"}"},
    {"workdir", OPTION_STRING, AT(workdir), NULL, "where commands start (/workspace)"},
    {"work_dir", OPTION_STRING, offsetof(struct given, work_dir), NULL, "the same"},
    {"cache_image", OPTION_BOOL, AT(cache_image), NULL, "build once (true), or at each use"},
    {NULL},
};

/* ---- Checks ---- */

static bool is_printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

/* A part of an image's name: lower case, with separators only between other characters. */
int runtime_check_name(const char *name, struct err *err)
{
	size_t n = strlen(name);
	bool ok = n > 0 && n <= MAX_NAME;

	for (size_t i = 0; ok && i < n; i++) {
		bool separator = strchr("._-", name[i]);

		ok = islower((unsigned char)name[i]) || isdigit((unsigned char)name[i]) ||
		     (separator && i > 0 && i < n - 1 &&
		      (name[i] == '-' || !strchr("._", name[i - 1])) &&
		      (name[i] != '-' || !strchr("._", name[i - 1])) &&
		      (name[i] == '-' || name[i - 1] != '-'));
	}
	return ok ? 0
		  : err_set(err, -EINVAL,
			    "a runtime's name is of lower case letters and digits, with single "
			    "dots, underscores or dashes between them, at most %d",
			    MAX_NAME);
}

/* What every engine takes for a reference; the rest of it is the engine's to judge. */
static int check_image(const char *key, const char *image, struct err *err)
{
	static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "._:/@+-";

	if (!image)
		return 0;
	if (isalnum((unsigned char)*image) && strlen(image) <= MAX_IMAGE &&
	    strspn(image, more) == strlen(image))
		return 0;
	return err_set(err, -EINVAL, "\"%s\": not the name of an image", key);
}

static int check_workdir(const char *dir, struct err *err)
{
	bool ok = dir[0] == '/' && strlen(dir) < PATH_MAX && is_printable(dir);

	for (const char *p = dir; ok && *p;) {
		size_t n = strcspn(p + 1, "/");

		ok = strcmp(dir, "/") == 0 ||
		     (n > 0 && !(n <= 2 && strspn(p + 1, ".") >= n) && n <= NAME_MAX);
		p += 1 + n;
	}
	return ok ? 0 : err_set(err, -EINVAL, "\"workdir\" must be a plain absolute path");
}

static int check_strings(const char *key, const cJSON *list, struct err *err)
{
	const cJSON *v;

	if (!cJSON_IsArray(list))
		return err_set(err, -EINVAL, "\"%s\" must be a list of strings", key);
	if (cJSON_GetArraySize(list) > MAX_ITEMS)
		return err_set(err, -EINVAL, "\"%s\": more than %d", key, MAX_ITEMS);
	cJSON_ArrayForEach (v, list) {
		if (!cJSON_IsString(v) || !*v->valuestring)
			return err_set(err, -EINVAL, "\"%s\" must be a list of strings", key);
		if (strlen(v->valuestring) > MAX_TEXT)
			return err_set(err, -EINVAL, "\"%s\": one is longer than %d bytes", key,
				       MAX_TEXT);
		if (!is_printable(v->valuestring))
			return err_set(err, -EINVAL,
				       "\"%s\": a control character (a newline?) in one", key);
	}
	return 0;
}

static int check_env(const cJSON *env, struct err *err)
{
	const cJSON *v;

	if (!cJSON_IsObject(env) || cJSON_GetArraySize(env) > MAX_ITEMS)
		return err_set(err, -EINVAL, "\"env\" must be an object of names and strings");
	cJSON_ArrayForEach (v, env) {
		const char *name = v->string;
		bool ok = isalpha((unsigned char)*name) || *name == '_';

		for (; ok && *name; name++)
			ok = isalnum((unsigned char)*name) || *name == '_';
		if (!ok)
			return err_set(err, -EINVAL, "\"env\": not the name of a variable");
		if (!cJSON_IsString(v))
			return err_set(err, -EINVAL, "\"env\": %s is not a string", v->string);
		if (!is_printable(v->valuestring) || strlen(v->valuestring) > MAX_TEXT)
			return err_set(err, -EINVAL,
				       "\"env\": %s has a control character, or is too long",
				       v->string);
	}
	return 0;
}

static int check_packages(const struct runtime *rt, struct err *err)
{
	int r = check_strings("packages", rt->packages, err);
	const cJSON *v;

	if (r == 0) {
		cJSON_ArrayForEach (v, rt->packages) {
			r = package_check(rt->package_manager, v->valuestring, err);
			if (r < 0)
				return err_prefix(err, r, "\"packages\"");
		}
	}
	return r;
}

static int check(const struct runtime *rt, struct err *err)
{
	int r = check_image("image", rt->image, err);

	if (r == 0)
		r = check_image("base_image", rt->base_image, err);
	if (r == 0)
		r = check_packages(rt, err);
	if (r == 0)
		r = check_strings("setup_commands", rt->setup_commands, err);
	if (r == 0)
		r = check_env(rt->env, err);
	if (r == 0)
		r = check_workdir(rt->workdir, err);
	if (r < 0)
		return r;
	if (!rt->image && !rt->base_image)
		return err_set(err, -EINVAL, "\"base_image\" (or \"image\") is missing");
	if (rt->image && (rt->base_image || runtime_is_built(rt)))
		return err_set(err, -EINVAL,
			       "\"image\" is used as it is: with \"packages\" or "
			       "\"setup_commands\" say \"base_image\"");
	return 0;
}

/* ---- Parsing ---- */

static int check_keys(const cJSON *obj, struct err *err)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, obj) {
		struct suggest s = {.word = v->string};
		const struct option *o = runtime_options;

		for (; o->key && strcmp(o->key, v->string) != 0; o++)
			suggest_offer(&s, o->key);
		if (o->key)
			continue;
		if (s.best)
			return err_set(err, -EINVAL, "unknown key \"%s\" (did you mean \"%s\"?)",
				       v->string, s.best);
		return err_set(err, -EINVAL, "unknown key \"%s\"", v->string);
	}
	return 0;
}

static int set_defaults(const char *name, struct given *g, struct err *err)
{
	struct runtime *rt = &g->rt;

	if (g->work_dir && rt->workdir)
		return err_set(err, -EINVAL, "\"workdir\" and \"work_dir\" are the same");
	if (g->work_dir)
		rt->workdir = TAKE(g->work_dir);
	rt->name = strdup(name);
	if (!rt->workdir)
		rt->workdir = strdup("/workspace");
	if (!rt->package_manager)
		rt->package_manager = strdup("pip");
	if (!rt->packages)
		rt->packages = cJSON_CreateArray();
	if (!rt->setup_commands)
		rt->setup_commands = cJSON_CreateArray();
	if (!rt->env)
		rt->env = cJSON_CreateObject();
	return rt->name && rt->workdir && rt->package_manager && rt->packages &&
		       rt->setup_commands && rt->env
		   ? 0
		   : -ENOMEM;
}

int runtime_parse(const char *name, const cJSON *obj, struct runtime *ret, struct err *err)
{
	struct given g = {.rt = {.cache_image = true}};
	int r = runtime_check_name(name, err);

	if (r == 0 && !cJSON_IsObject(obj))
		r = err_set(err, -EINVAL, "must be an object");
	if (r == 0)
		r = check_keys(obj, err);
	if (r == 0)
		r = options_parse(runtime_options, obj, &g, err);
	if (r == 0)
		r = set_defaults(name, &g, err);
	if (r == 0)
		r = check(&g.rt, err);
	if (r < 0) {
		free(g.rt.name);
		options_free(runtime_options, &g);
		return r;
	}
	*ret = g.rt;
	return 0;
}

void runtime_done(struct runtime *rt)
{
	struct given g = {.rt = *rt};

	free(rt->name);
	options_free(runtime_options, &g);
	*rt = (struct runtime){0};
}

bool runtime_is_built(const struct runtime *rt)
{
	return cJSON_GetArraySize(rt->packages) > 0 || cJSON_GetArraySize(rt->setup_commands) > 0;
}

const char *runtime_base(const struct runtime *rt)
{
	return rt->image ? rt->image : rt->base_image;
}

/* ---- Showing ---- */

static bool add_copy(cJSON *to, const char *key, const cJSON *v)
{
	cJSON *copy = cJSON_Duplicate(v, true);

	if (cJSON_AddItemToObject(to, key, copy))
		return true;
	cJSON_Delete(copy);
	return false;
}

cJSON *runtime_json(const struct runtime *rt)
{
	cJSON *obj = cJSON_CreateObject(), *env, *v;

	if (!cJSON_AddStringToObject(obj, "name", rt->name) ||
	    !cJSON_AddBoolToObject(obj, "builtin", rt->builtin) ||
	    !cJSON_AddStringToObject(obj, rt->image ? "image" : "base_image", runtime_base(rt)) ||
	    !add_copy(obj, "packages", rt->packages) ||
	    !cJSON_AddStringToObject(obj, "package_manager", rt->package_manager) ||
	    !add_copy(obj, "setup_commands", rt->setup_commands) ||
	    !add_copy(obj, "env", rt->env) ||
	    !cJSON_AddStringToObject(obj, "workdir", rt->workdir) ||
	    !cJSON_AddBoolToObject(obj, "cache_image", rt->cache_image)) {
		cJSON_Delete(obj);
		return NULL;
	}
	env = cJSON_GetObjectItemCaseSensitive(obj, "env");
	cJSON_ArrayForEach (v, env)
		cJSON_SetValuestring(v, "***");
	return obj;
}
