#include "brief.h"

#include "../backends/base/macros.h"
#include "protocol.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static cJSON *shell_argv(const char *command)
{
	const char *const argv[] = {"/bin/sh", "-c", command};

	return cJSON_CreateStringArray(argv, 3);
}

/* {"K": "V"} or ["K=V"] as the protocol's list. */
static cJSON *env_list(const cJSON *env)
{
	cJSON *list, *v;

	if (cJSON_IsArray(env))
		return cJSON_Duplicate(env, true);
	list = cJSON_CreateArray();
	cJSON_ArrayForEach (v, env) {
		_cleanup_free_ char *kv = NULL;

		if (!cJSON_IsString(v) || asprintf(&kv, "%s=%s", v->string, v->valuestring) < 0) {
			cJSON_Delete(list);
			return NULL;
		}
		cJSON_AddItemToArray(list, cJSON_CreateString(kv));
	}
	return list;
}

static int check_keys(const cJSON *in, struct err *err)
{
	static const char *const known[] = {"command", "argv",	"cwd",	"env",
					    "timeout", "stdin", "user", "sandbox"};
	const cJSON *v;

	cJSON_ArrayForEach (v, in) {
		size_t i = 0;

		while (i < ARRAY_SIZE(known) && strcmp(known[i], v->string) != 0)
			i++;
		if (i == ARRAY_SIZE(known))
			return err_set(err, -EINVAL,
				       "request: unknown key \"%s\"; there are command, argv, cwd, "
				       "env, timeout, stdin, user and sandbox",
				       v->string);
	}
	return 0;
}

static int check_strings(const cJSON *in, struct err *err)
{
	static const char *const strings[] = {"cwd", "stdin"};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(in, strings[i]);

		if (v && !cJSON_IsString(v))
			return err_set(err, -EINVAL, "request: \"%s\" must be a string",
				       strings[i]);
	}
	return 0;
}

static int add_command(const cJSON *in, cJSON *out, struct err *err)
{
	const cJSON *command = cJSON_GetObjectItemCaseSensitive(in, "command");
	const cJSON *argv = cJSON_GetObjectItemCaseSensitive(in, "argv");

	if (!cJSON_IsString(command) == !cJSON_IsArray(argv))
		return err_set(err, -EINVAL,
			       "request: give \"command\" (a string) or \"argv\" (a list)");
	cJSON_AddItemToObject(
	    out, "argv", command ? shell_argv(command->valuestring) : cJSON_Duplicate(argv, true));
	return 0;
}

static int add_env(const cJSON *in, cJSON *out, struct err *err)
{
	const cJSON *env = cJSON_GetObjectItemCaseSensitive(in, "env");
	cJSON *list = env ? env_list(env) : NULL;

	if (env && !list)
		return err_set(err, -EINVAL, "request: \"env\" must hold strings");
	if (list)
		cJSON_AddItemToObject(out, "env", list);
	return 0;
}

static int add_timeout(const cJSON *in, cJSON *out, struct err *err)
{
	const cJSON *timeout = cJSON_GetObjectItemCaseSensitive(in, "timeout");

	if (timeout && !(cJSON_IsNumber(timeout) && timeout->valuedouble >= 0))
		return err_set(err, -EINVAL, "request: \"timeout\" must be seconds");
	if (timeout)
		cJSON_AddNumberToObject(out, "timeout_ms", ceil(timeout->valuedouble * 1000));
	return 0;
}

static int expand(const cJSON *in, const char *dir, cJSON *out, struct err *err)
{
	static const char *const copied[] = {"user", "sandbox"};
	int r;

	if (!cJSON_IsObject(in))
		return err_set(err, -EINVAL, "request: not a JSON object");
	r = check_keys(in, err);
	if (r == 0)
		r = check_strings(in, err);
	if (r < 0)
		return r;
	cJSON_AddStringToObject(out, "op", "exec");
	cJSON_AddNumberToObject(out, "version", PROTO_VERSION);
	if (dir)
		cJSON_AddStringToObject(out, "cwd", dir);
	for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(in, copied[i]);

		if (v)
			cJSON_AddItemToObject(out, copied[i], cJSON_Duplicate(v, true));
	}
	r = add_command(in, out, err);
	if (r == 0)
		r = add_env(in, out, err);
	return r < 0 ? r : add_timeout(in, out, err);
}

int brief_expand(const cJSON *in, const char *dir, cJSON **ret, struct err *err)
{
	cJSON *out = cJSON_CreateObject();
	int r = out ? expand(in, dir, out, err) : -ENOMEM;

	if (r < 0)
		cJSON_Delete(out);
	else
		*ret = out;
	return r;
}
