#include "conf.h"

#include "../backends/base/state.h"

#include <pwd.h>
#include <string.h>

#define AT(field) offsetof(struct sessions_conf, field)

/* Keys that are the container's: they are kept for it whatever they say, and checked by its type.
 */
#define BOX(n, key, ...)                                                                           \
	{                                                                                          \
		key, OPTION_JSON, AT(given[n]), NULL, __VA_ARGS__                                  \
	}

#define COMMON_OPTIONS                                                                             \
	{"workspace_root",                                                                         \
	 OPTION_STRING,                                                                            \
	 AT(workspace_root),                                                                       \
	 NULL,                                                                                     \
	 "where sessions are kept (/var/lib/aib, or ~/.local/state/aib)",                          \
	 true},                                                                                    \
	    {"runtime", OPTION_STRING, AT(runtime), NULL, "recipe of the image, by name"},         \
	    {"owner", OPTION_STRING, AT(owner), NULL,                                              \
	     "user of new sessions, name or number (who makes one, or the mount's owner)"},        \
	    {"idle_timeout", OPTION_DURATION, AT(idle_timeout), NULL,                              \
	     "without commands, jobs and open files for so long, a session sleeps (1h)"},          \
	    {"idle_action", OPTION_STRING, AT(idle_action), "stop|pause|remove",                   \
	     "how the container sleeps (stop)"},                                                   \
	    {"remove_after", OPTION_DURATION, AT(remove_after), NULL,                              \
	     "a container that slept for so long is removed; the workspace stays (0: never)"},     \
	    {"cleanup_interval", OPTION_DURATION, AT(cleanup_interval), NULL,                      \
	     "how often is looked for idle sessions and leftovers, at the least (5m)"},            \
	    {"max_sessions", OPTION_UINT, AT(max_sessions), NULL,                                  \
	     "sessions of the workspace root (100; 0: no limit)"},                                 \
	    {"engines", OPTION_STRING, AT(engines), NULL,                                          \
	     "NAME,NAME…: a pool; a new session goes to the least loaded, and stays there"},       \
	    {"workspace", OPTION_STRING, AT(workspace), "host|volume",                             \
	     "a directory here, or a volume of the engine (host on engines of this machine)"},     \
	    {"host_paths", OPTION_BOOL, AT(host_paths), NULL,                                      \
	     "the mount's own absolute path exists in the sandbox (on)"},                          \
	    BOX(0, "image", "image of the sandbox"), BOX(1, "pull", "missing, always or never"),   \
	    BOX(2, "engine", "name of an engine of the config, or its URL"),                       \
	    BOX(3, "workdir", "where the workspace is in the sandbox (/workspace)"),               \
	    BOX(4, "volumes", "{\"/host/dir\": \"/in/sandbox[:ro]\"}", true),                      \
	    BOX(5, "volume", "/host/dir:/in/sandbox[:ro]", true),                                  \
	    BOX(6, "network", "none, bridge or a network's name (none)"),                          \
	    BOX(7, "memory", "memory and swap together (2G)"), BOX(8, "cpus", "processors (2)"),   \
	    BOX(9, "pids", "processes and threads (512)"),                                         \
	    BOX(10, "disk", "size of the sandbox's own layer"),                                    \
	    BOX(11, "env", "{\"NAME\": \"value\"}"),                                               \
	    BOX(12, "user", "user of commands (the owner)"),                                       \
	    BOX(13, "oci_runtime", "OCI runtime, such as runsc"),                                  \
	    BOX(14, "start_timeout", "how long a start or a pull may take (10m)"),                 \
	    BOX(15, "timeout", "how long an operation may go without progress (30s)"),             \
	    BOX(16, "transport", "auto, guest or archive, for the container's own tree"),          \
	    BOX(17, "guest", "auto, stream or direct: how the guest is reached"),                  \
	{                                                                                          \
		NULL                                                                               \
	}

const struct option sessions_options[] = {
    {"create", OPTION_STRING, AT(create), "owner|anyone",
     "who may make sessions: the mount's owner, or every user (owner)"},
    COMMON_OPTIONS,
};

const struct option session_options[] = {
    {"name", OPTION_STRING, AT(name), NULL, "name of the session"},
    COMMON_OPTIONS,
};

static bool is_boxs(const struct option *table, const char *key)
{
	for (; table->key; table++)
		if (strcmp(table->key, key) == 0)
			return table->type == OPTION_JSON;
	return false;
}

/* The container's options as its type takes them. */
static int gather_box(const struct option *table, struct sessions_conf *c)
{
	c->box = cJSON_CreateObject();
	if (!c->box)
		return -ENOMEM;
	for (; table->key; table++) {
		cJSON **field = (cJSON **)((char *)c + table->offset);

		if (table->type == OPTION_JSON && *field &&
		    !cJSON_AddItemToObject(c->box, table->key, TAKE(*field)))
			return -ENOMEM;
	}
	return 0;
}

int sessions_find_user(const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	bool number = *text && text[strspn(text, "0123456789")] == '\0' && strlen(text) < 10;
	char buf[16384];
	struct passwd pw, *found = NULL;
	uid_t uid = number ? strtoul(text, NULL, 10) : 0;

	if (number)
		(void)getpwuid_r(uid, &pw, buf, sizeof(buf), &found);
	else
		(void)getpwnam_r(text, &pw, buf, sizeof(buf), &found);
	if (!found && !number)
		return err_set(err, -EINVAL, "owner \"%.64s\": there is no such user", text);
	*ret_uid = found ? found->pw_uid : uid;
	*ret_gid = found ? found->pw_gid : uid;
	return 0;
}

static int check(struct sessions_conf *c, const struct bk_mount *mount, bool one, struct err *err)
{
	int r = 0;

	if (!c->workspace_root)
		c->workspace_root = state_dir();
	if (!c->workspace_root)
		return -ENOMEM;
	if (c->workspace_root[0] != '/')
		return err_set(err, -EINVAL, "\"workspace_root\" must be an absolute path");
	if (one && !c->name)
		return err_set(err, -EINVAL, "\"name\" is missing: session:NAME");
	if (c->idle_timeout < 1000 || c->cleanup_interval < 1000)
		return err_set(err, -EINVAL,
			       "\"idle_timeout\" and \"cleanup_interval\" must be at least 1s");
	if (!cJSON_GetObjectItemCaseSensitive(c->box, "image"))
		return err_set(err, -EINVAL, "\"image\" or \"runtime\" is missing");
	c->anyone = c->create && strcmp(c->create, "anyone") == 0;
	c->uid = mount->uid;
	c->gid = mount->gid;
	if (c->owner)
		r = sessions_find_user(c->owner, &c->uid, &c->gid, err);
	if (r == 0 && c->uid != mount->uid && mount->uid != 0)
		r = err_set(err, -EPERM, "\"owner\": only root makes sessions for other users");
	return r;
}

/* The names of `engines`, in their order. */
static int split_engines(struct sessions_conf *c, struct err *err)
{
	_cleanup_free_ char *copy = c->engines ? strdup(c->engines) : NULL;
	char *save = NULL;

	if (!c->engines)
		return 0;
	if (cJSON_GetObjectItemCaseSensitive(c->box, "engine"))
		return err_set(err, -EINVAL, "\"engine\" and \"engines\" exclude each other");
	c->pool = cJSON_CreateArray();
	if (!copy || !c->pool)
		return -ENOMEM;
	for (char *name = strtok_r(copy, ", ", &save); name; name = strtok_r(NULL, ", ", &save))
		cJSON_AddItemToArray(c->pool, cJSON_CreateString(name));
	return cJSON_GetArraySize(c->pool) > 0 ? 0
					       : err_set(err, -EINVAL, "\"engines\" names none");
}

/* What the container is told is right or wrong before there is one. */
static int check_box(const struct sessions_conf *c, const struct bk_mount *mount, struct err *err)
{
	const struct bk_type *type;
	struct bk *bk = NULL;
	int r = bk_type_find("docker", &type, err);

	if (r == 0)
		r = type->make(mount, "", c->box, NULL, &bk, err);
	bk_free(bk);
	return r;
}

int sessions_conf_check(const struct sessions_conf *conf, const struct bk_mount *mount,
			const cJSON *box, struct err *err)
{
	struct sessions_conf merged = *conf;
	const cJSON *v;
	int r = 0;

	merged.box = cJSON_Duplicate(conf->box, true);
	if (!merged.box)
		return -ENOMEM;
	cJSON_ArrayForEach (v, box) {
		cJSON_DeleteItemFromObjectCaseSensitive(merged.box, v->string);
		if (!is_boxs(sessions_options, v->string))
			r = err_set(err, -EINVAL, "a session has no option \"%.64s\"", v->string);
		else if (!cJSON_AddItemToObject(merged.box, v->string, cJSON_Duplicate(v, true)))
			r = -ENOMEM;
		if (r < 0)
			break;
	}
	if (r == 0)
		r = check_box(&merged, mount, err);
	cJSON_Delete(merged.box);
	return r;
}

/* Those of the container's that are ours too. */
static int take_timeouts(struct sessions_conf *c, struct err *err)
{
	static const struct option table[] = {
	    {"start_timeout", OPTION_DURATION, AT(start_timeout), NULL, NULL},
	    {"timeout", OPTION_DURATION, AT(timeout), NULL, NULL},
	    {NULL},
	};
	cJSON *given = cJSON_CreateObject(), *v;
	int r = given ? 0 : -ENOMEM;

	for (const struct option *o = table; o->key && r == 0; o++) {
		v = cJSON_GetObjectItemCaseSensitive(c->box, o->key);
		if (v && !cJSON_AddItemReferenceToObject(given, o->key, v))
			r = -ENOMEM;
	}
	if (r == 0)
		r = options_parse(table, given, c, err);
	cJSON_Delete(given);
	return r;
}

int sessions_conf_parse(struct sessions_conf *c, const struct bk_mount *mount, bool one,
			const cJSON *options, struct err *err)
{
	const struct option *table = one ? session_options : sessions_options;
	int r;

	*c = (struct sessions_conf){
	    .idle_timeout = 3600000,
	    .cleanup_interval = 300000,
	    .max_sessions = 100,
	    .host_paths = true,
	    .start_timeout = 600000,
	    .timeout = 30000,
	};
	r = options_parse(table, options, c, err);
	if (r == 0)
		r = gather_box(table, c);
	if (r == 0)
		r = take_timeouts(c, err);
	if (r == 0)
		r = split_engines(c, err);
	if (r == 0)
		r = check(c, mount, one, err);
	if (r == 0)
		r = check_box(c, mount, err);
	if (r < 0)
		sessions_conf_done(c);
	return r;
}

void sessions_conf_done(struct sessions_conf *c)
{
	options_free(sessions_options, c);
	options_free(session_options, c);
	cJSON_Delete(c->box);
	cJSON_Delete(c->pool);
	*c = (struct sessions_conf){.box = NULL};
}
