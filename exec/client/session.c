/*
 * `aib session`: sessions of a mount, each a request to its daemon (../protocol.h, "session").
 */
#include "aib.h"

#include "ask.h"
#include "base/json.h"
#include "registry.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS (11 * 60 * 1000) /* removing a workspace may take its time */

/* A verb: how many names it takes, and what is said of its answer. */
struct verb {
	const char *name;
	bool named;
	void (*print)(const cJSON *reply);
};

/* ---- Answers ---- */

/* Of a volume the directory that it is in the mount. */
static void print_workspace(const cJSON *reply)
{
	const char *directory = json_text(reply, "directory");

	puts(*directory ? directory : json_text(reply, "workspace"));
}

static void print_pairs(const cJSON *reply)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, reply)
		if (cJSON_IsString(v))
			printf("%s %s\n", v->string, v->valuestring);
}

static void print_list(const cJSON *reply)
{
	const cJSON *s;

	cJSON_ArrayForEach (s, cJSON_GetObjectItemCaseSensitive(reply, "sessions"))
		printf("%-20s %-10s owner %-6s idle %-8s %s\n", json_text(s, "name"),
		       json_text(s, "state"), json_text(s, "owner"), json_text(s, "idle_for"),
		       json_text(s, "workspace"));
}

static void print_count(const cJSON *reply)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(reply, "count");

	printf("%.0f\n", cJSON_IsNumber(n) ? n->valuedouble : 0);
}

static void print_nothing(const cJSON *reply)
{
}

static const struct verb verbs[] = {
    {"get", true, print_workspace},   {"release", true, print_nothing},
    {"ls", false, print_list},	      {"status", true, print_pairs},
    {"rm", true, print_nothing},      {"cleanup", false, print_count},
    {"shutdown", false, print_count},
};

/* ---- The command line ---- */

enum {
	OWNER = 256,
	RUNTIME,
	IMAGE,
	IDLE,
	ENGINE,
	NETWORK,
	MEMORY,
	CPUS,
	PIDS,
	WORKSPACE,
	JSON,
	MOUNT
};

static const struct option options[] = {
    {"owner", required_argument, NULL, OWNER},
    {"runtime", required_argument, NULL, RUNTIME},
    {"image", required_argument, NULL, IMAGE},
    {"idle-timeout", required_argument, NULL, IDLE},
    {"engine", required_argument, NULL, ENGINE},
    {"network", required_argument, NULL, NETWORK},
    {"memory", required_argument, NULL, MEMORY},
    {"cpus", required_argument, NULL, CPUS},
    {"pids", required_argument, NULL, PIDS},
    {"env", required_argument, NULL, 'e'},
    {"workspace", no_argument, NULL, WORKSPACE},
    {"json", no_argument, NULL, JSON},
    {"mount", required_argument, NULL, MOUNT},
    {"volume", required_argument, NULL, 'v'},
    {NULL},
};

/* The key of the request that an option with a value is. */
static const char *key_of(int option)
{
	static const char *const keys[] = {
	    [OWNER - OWNER] = "owner",	 [RUNTIME - OWNER] = "runtime",
	    [IMAGE - OWNER] = "image",	 [IDLE - OWNER] = "idle_timeout",
	    [ENGINE - OWNER] = "engine", [NETWORK - OWNER] = "network",
	    [MEMORY - OWNER] = "memory", [CPUS - OWNER] = "cpus",
	    [PIDS - OWNER] = "pids",
	};

	return option >= OWNER && option <= PIDS ? keys[option - OWNER] : NULL;
}

static int add_env(cJSON *request, const char *text)
{
	cJSON *env = cJSON_GetObjectItemCaseSensitive(request, "env");
	const char *value = strchr(text, '=');
	_cleanup_free_ char *name = value ? strndup(text, value - text) : NULL;

	if (!name || !*name) {
		fprintf(stderr, "aib: -e %s: expected NAME=VALUE\n", text);
		return 2;
	}
	if (!env)
		env = cJSON_AddObjectToObject(request, "env");
	cJSON_AddStringToObject(env, name, value + 1);
	return 0;
}

static void add_volume(cJSON *request, const char *text)
{
	cJSON *volumes = cJSON_GetObjectItemCaseSensitive(request, "volumes");

	if (!volumes)
		volumes = cJSON_AddArrayToObject(request, "volumes");
	cJSON_AddItemToArray(volumes, cJSON_CreateString(text));
}

struct how {
	const char *mount;
	bool json;
};

static int parse(int argc, char **argv, cJSON *request, struct how *how)
{
	int c;

	while ((c = getopt_long(argc, argv, "e:v:", options, NULL)) != -1) {
		const char *key = key_of(c);

		if (key)
			cJSON_AddStringToObject(request, key, optarg);
		else if (c == 'e' && add_env(request, optarg) != 0)
			return 2;
		else if (c == 'v')
			add_volume(request, optarg);
		else if (c == WORKSPACE)
			cJSON_AddBoolToObject(request, "workspace", true);
		else if (c == JSON)
			how->json = true;
		else if (c == MOUNT)
			how->mount = optarg;
		else if (c == '?')
			return aib_see_help("session");
	}
	return 0;
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	fprintf(stderr,
		"aib: session %s: there are get, release, ls, status, rm, cleanup and "
		"shutdown (aib session --help)\n",
		name);
	return NULL;
}

/* ---- Asking ---- */

static int ask_mount(const char *mount, const cJSON *request, cJSON **ret, struct err *err)
{
	_cleanup_registry_mount_ struct registry_mount m = {0};
	_cleanup_close_ int fd = -1;
	int r = registry_choose(mount, &m, err);

	if (r < 0)
		return r;
	fd = registry_connect(&m, err);
	return fd < 0 ? fd : ask(fd, request, TIMEOUT_MS, NULL, NULL, ret, err);
}

static int print(const struct verb *v, const struct how *how, const cJSON *reply)
{
	_cleanup_free_ char *text = how->json ? cJSON_Print(reply) : NULL;

	if (how->json)
		return text && puts(text) >= 0 ? 0 : 1;
	v->print(reply);
	return 0;
}

int cmd_session(int argc, char **argv)
{
	_cleanup_(cJSON_Deletep) cJSON *request = cJSON_CreateObject(), *reply = NULL;
	const struct verb *v = argc > 1 ? find_verb(argv[1]) : find_verb("");
	struct how how = {.mount = NULL};
	struct err err = {""};

	if (!v)
		return 2;
	cJSON_AddStringToObject(request, "op", "session");
	cJSON_AddStringToObject(request, "do", v->name);
	if (parse(argc - 1, argv + 1, request, &how) != 0)
		return 2;
	argc -= 1 + optind;
	argv += 1 + optind;
	if (argc != v->named) {
		fprintf(stderr, "aib: session %s takes %s (aib session --help)\n", v->name,
			v->named ? "one name" : "no name");
		return 2;
	}
	if (v->named)
		cJSON_AddStringToObject(request, "name", argv[0]);
	if (ask_mount(how.mount, request, &reply, &err) < 0)
		return aib_fail(&err);
	return print(v, &how, reply);
}
