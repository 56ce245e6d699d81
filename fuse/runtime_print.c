#include "runtime_command.h"

#include "base/json.h"

#include <string.h>

cJSON *runtime_about(const struct runtime *rt, const struct built_images *images)
{
	cJSON *about = runtime_json(rt), *built = NULL;

	if (images && runtime_is_built(rt))
		built = cJSON_CreateBool(built_images_have(images, rt->name));
	else
		built = cJSON_CreateNull();
	if (about && cJSON_AddItemToObject(about, "built", built))
		return about;
	cJSON_Delete(built);
	cJSON_Delete(about);
	return NULL;
}

static int print_json(const cJSON *v)
{
	_cleanup_free_ char *text = cJSON_Print(v);

	if (!text)
		return -ENOMEM;
	puts(text);
	return 0;
}

static bool needs_build(const cJSON *about)
{
	return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(about, "packages")) > 0 ||
	       cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(about, "setup_commands")) > 0;
}

static const char *state_of(const cJSON *about)
{
	const cJSON *built = cJSON_GetObjectItemCaseSensitive(about, "built");

	if (!needs_build(about))
		return "no build needed";
	return cJSON_IsTrue(built) ? "built" : cJSON_IsFalse(built) ? "not built" : "unknown";
}

static const char *base_of(const cJSON *about)
{
	const char *image = json_text(about, "image");

	return *image ? image : json_text(about, "base_image");
}

static void print_row(const cJSON *about, int name, int base)
{
	const cJSON *packages = cJSON_GetObjectItemCaseSensitive(about, "packages"), *package;

	printf("%-*s  %-15s  %-*s  %s%s", name, json_text(about, "name"), state_of(about), base,
	       base_of(about), packages->child ? json_text(about, "package_manager") : "-",
	       packages->child ? ":" : "");
	cJSON_ArrayForEach (package, packages)
		printf(" %s", package->valuestring);
	printf("\n");
}

static void print_table(const cJSON *list)
{
	int name = 4, base = 4;
	const cJSON *about;

	cJSON_ArrayForEach (about, list) {
		if ((int)strlen(json_text(about, "name")) > name)
			name = strlen(json_text(about, "name"));
		if ((int)strlen(base_of(about)) > base)
			base = strlen(base_of(about));
	}
	printf("%-*s  %-15s  %-*s  %s\n", name, "NAME", "STATE", base, "BASE", "PACKAGES");
	cJSON_ArrayForEach (about, list)
		print_row(about, name, base);
}

int runtime_print_list(cJSON *list, bool json)
{
	int r = 0;

	if (json)
		r = print_json(list);
	else
		print_table(list);
	cJSON_Delete(list);
	return r;
}

/* `key value` lines: a list has one for each value. */
static void print_value(const char *key, const cJSON *v)
{
	const cJSON *child;

	if (cJSON_IsString(v))
		printf("%-16s %s\n", key, v->valuestring);
	else if (cJSON_IsBool(v))
		printf("%-16s %s\n", key, cJSON_IsTrue(v) ? "yes" : "no");
	cJSON_ArrayForEach (child, v)
		printf("%-16s %s%s%s\n", key, cJSON_IsObject(v) ? child->string : "",
		       cJSON_IsObject(v) ? "=" : "", child->valuestring);
}

static void print_values(const cJSON *about)
{
	const cJSON *v;

	printf("%-16s %s\n", "state", state_of(about));
	cJSON_ArrayForEach (v, about)
		if (strcmp(v->string, "built") != 0)
			print_value(v->string, v);
}

int runtime_print_one(cJSON *about, bool json)
{
	int r = 0;

	if (json)
		r = print_json(about);
	else
		print_values(about);
	cJSON_Delete(about);
	return r;
}
