/*
 * A route's options with the runtime resolved: what the docker backend, which knows no runtimes,
 * takes.
 */
#include "runtimes.h"

#include <string.h>

static int add_string(cJSON *to, const char *key, const char *value)
{
	cJSON_DeleteItemFromObjectCaseSensitive(to, key);
	return cJSON_AddStringToObject(to, key, value) ? 0 : -ENOMEM;
}

/* The runtime's variables that ENV, an object, does not have. */
static int add_env(cJSON *env, const cJSON *defaults)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, defaults)
		if (!cJSON_GetObjectItemCaseSensitive(env, v->string) &&
		    !cJSON_AddStringToObject(env, v->string, v->valuestring))
			return -ENOMEM;
	return 0;
}

int runtimes_options(const struct runtime_image *image, const cJSON *options, cJSON **ret)
{
	cJSON *out = cJSON_Duplicate(options, true), *env;
	int r = out ? 0 : -ENOMEM;

	cJSON_DeleteItemFromObjectCaseSensitive(out, "runtime");
	if (r == 0)
		r = add_string(out, "image", image->image);
	if (r == 0 && image->built)
		r = add_string(out, "pull", "never");
	if (r == 0 && !cJSON_GetObjectItemCaseSensitive(out, "workdir"))
		r = add_string(out, "workdir", image->runtime->workdir);
	env = cJSON_GetObjectItemCaseSensitive(out, "env");
	if (r == 0 && !env)
		r = (env = cJSON_AddObjectToObject(out, "env")) ? 0 : -ENOMEM;
	/* Anything else is not an object, and the docker backend says so. */
	if (r == 0 && cJSON_IsObject(env))
		r = add_env(env, image->runtime->env);
	if (r < 0) {
		cJSON_Delete(out);
		return r;
	}
	*ret = out;
	return 0;
}
