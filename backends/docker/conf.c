/*
 * Options. What a route may ask for is checked before an engine hears of it: a container is made
 * of these values alone.
 */
#include "conf.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <sys/un.h>

#define AT(field) offsetof(struct docker_conf, field)

#define COMMON_OPTIONS                                                                             \
	{"engine", OPTION_STRING, AT(engine), NULL,                                                \
	 "name of an engine of the config, or its URL"},                                           \
	    {"user", OPTION_STRING, AT(user), NULL, "user of commands: name, uid or uid:gid"},     \
	    {"start_timeout", OPTION_DURATION, AT(start_timeout), NULL,                            \
	     "how long a start or a pull may take (10m)"},                                         \
	    {"timeout", OPTION_DURATION, AT(timeout), NULL,                                        \
	     "how long an operation may go without progress (30s)"},                               \
	    {"spool_max", OPTION_SIZE, AT(spool_max), NULL,                                        \
	     "bytes of temporary files for open files of this route (16G)"},                       \
	    {"index_max", OPTION_UINT, AT(index_max), NULL,                                        \
	     "entries kept of the listing of one tree (250000)"},                                  \
	    {"transport", OPTION_STRING, AT(transport), "auto|guest|archive",                      \
	     "auto: over aib-guest while the container runs, else by archives"},                   \
	    {"guest", OPTION_STRING, AT(guest), "auto|stream|direct",                              \
	     "how the guest is reached: over a socket of its own (direct: engine here, and "       \
	     "root), "                                                                             \
	     "or through the engine"},                                                             \
	    {"idmap", OPTION_STRING, AT(idmap), "user|none",                                       \
	     "user: files of the sandbox's user show as the mount's owner's, and back"},           \
	    {"symlinks", OPTION_STRING, AT(symlinks), "contain|verbatim",                          \
	     "contain: links never lead out of the route"},                                        \
	{                                                                                          \
		"pseudo", OPTION_STRING, AT(pseudo), "hide|show",                                  \
		    "hide: /proc, /sys and /dev list as empty"                                     \
	}

const struct option docker_options[] = {
    {"image", OPTION_STRING, AT(image), NULL, "image of the sandbox"},
    {"runtime", OPTION_STRING, AT(runtime), NULL, "runtime to make it of, in place of an image"},
    {"name", OPTION_STRING, AT(name), NULL, "name of the container (aib-MOUNT-ROUTE)"},
    {"pull", OPTION_STRING, AT(pull), "missing|always|never", "when to pull the image"},
    {"volumes", OPTION_JSON, AT(volumes_json), NULL, "{\"/host/dir\": \"/in/sandbox[:ro]\"}", true},
    {"volume", OPTION_JSON, AT(volume_json), NULL, "/host/dir:/in/sandbox[:ro]", true},
    {"network", OPTION_STRING, AT(network), NULL, "none, bridge or a network's name (none)"},
    {"memory", OPTION_SIZE, AT(memory), NULL, "memory and swap together (2G)"},
    {"cpus", OPTION_DOUBLE, AT(cpus), NULL, "processors (2)"},
    {"pids", OPTION_UINT, AT(pids), NULL, "processes and threads (512)"},
    {"disk", OPTION_SIZE, AT(disk), NULL, "size of the sandbox's own layer"},
    {"env", OPTION_JSON, AT(env_json), NULL, "{\"NAME\": \"value\"}"},
    {"workdir", OPTION_STRING, AT(workdir), NULL, "made where missing (/workspace)"},
    {"workspace", OPTION_JSON, AT(workspace_json), NULL,
     "{\"name\": \"NAME\", \"labels\": {}}: a volume of the engine at the workdir, made where "
     "missing"},
    {"keep", OPTION_BOOL, AT(keep), NULL, "keep the container at umount, stopped: end=stop"},
    {"end", OPTION_STRING, AT(end), "remove|stop|leave",
     "the container at umount: removed, or kept for the next mount here, stopped or as it is"},
    {"labels", OPTION_JSON, AT(labels_json), NULL, "{\"NAME\": \"value\"}, of the container"},
    {"links", OPTION_JSON, AT(links_json), NULL,
     "{\"/in/sandbox\": \"target\"}: links that are made where nothing is"},
    {"host_paths", OPTION_BOOL, AT(host_paths), NULL,
     "the mount's own absolute path exists in the sandbox (on)"},
    {"oci_runtime", OPTION_STRING, AT(oci_runtime), NULL, "OCI runtime, such as runsc"},
    COMMON_OPTIONS,
    {NULL},
};

const struct option container_options[] = {
    {"container", OPTION_STRING, AT(container), NULL, "name or id of an existing container"},
    COMMON_OPTIONS,
    {NULL},
};

bool path_is_plain(const char *path)
{
	size_t n = strlen(path);

	if (path[0] != '/' || n >= PATH_MAX)
		return false;
	if (n == 1)
		return true;
	for (const char *p = path; *p;) {
		size_t len = strcspn(p + 1, "/");

		if (len == 0 || (len == 1 && p[1] == '.') || (len == 2 && !memcmp(p + 1, "..", 2)))
			return false;
		p += 1 + len;
	}
	return true;
}

/* ---- Volumes ---- */

/* An engine's socket in a sandbox is the machine's root in it. */
static bool holds_engine(const char *host, const char *engine_host)
{
	const char *const sockets[] = {
	    "/var/run/docker.sock",
	    "/run/podman/podman.sock",
	    "/run/containerd/containerd.sock",
	    "/run/crio/crio.sock",
	    engine_host && strncmp(engine_host, "unix://", 7) == 0 ? engine_host + 7 : NULL,
	    getenv("DOCKER_HOST") && strncmp(getenv("DOCKER_HOST"), "unix://", 7) == 0
		? getenv("DOCKER_HOST") + 7
		: NULL,
	};
	struct stat a, b;

	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++) {
		char real[PATH_MAX];

		if (!sockets[i] || !realpath(sockets[i], real))
			continue;
		if (path_below(real, host))
			return true;
		if (stat(real, &a) == 0 && stat(host, &b) == 0 && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino)
			return true;
	}
	return false;
}

static int add_volume(struct docker_conf *c, const char *host, const char *place, bool readonly,
		      bool route, struct err *err)
{
	_cleanup_free_ char *real = realpath(host, NULL), *copy = strdup(place);
	_cleanup_free_ char *given = strdup(host);
	struct volume *grown;

	if (c->at.host && strncmp(c->at.host, "ssh://", 6) == 0)
		return err_set(err, -EINVAL,
			       "volume %s: a directory of this machine, but the engine (%s) is "
			       "another's",
			       host, c->at.host);
	if (!real)
		return err_set(err, -errno, "volume %s: %s", host, strerror(errno));
	if (!copy || !given)
		return -ENOMEM;
	if (!path_is_plain(place) || strcmp(place, "/") == 0)
		return err_set(err, -EINVAL, "volume %s: \"%s\" is not a plain absolute path", host,
			       place);
	if (holds_engine(real, c->at.host))
		return err_set(err, -EPERM,
			       "volume %s: the engine's socket is there; a sandbox that has it has "
			       "this machine",
			       host);
	grown = realloc(c->volumes, (c->n_volumes + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->volumes = grown;
	grown[c->n_volumes++] =
	    (struct volume){TAKE(real), TAKE(given), TAKE(copy), readonly, route};
	return 0;
}

/* PLACE may end in ":ro" or ":rw". */
static int add_volume_place(struct docker_conf *c, const char *host, const char *place, bool route,
			    struct err *err)
{
	_cleanup_free_ char *copy = strdup(place);
	size_t n = strlen(place);
	bool readonly = false;

	if (!copy)
		return -ENOMEM;
	if (n > 3 && (!strcmp(copy + n - 3, ":ro") || !strcmp(copy + n - 3, ":rw"))) {
		readonly = copy[n - 1] == 'o';
		copy[n - 3] = '\0';
	}
	if (host[0] != '/')
		return err_set(err, -EINVAL, "volume %s: must be an absolute path of this machine",
			       host);
	return add_volume(c, host, copy, readonly, route, err);
}

/* "/host:/place[:ro]" */
static int add_volume_text(struct docker_conf *c, const char *text, struct err *err)
{
	_cleanup_free_ char *host = strdup(text);
	char *colon;

	if (!host)
		return -ENOMEM;
	colon = strstr(host, ":/");
	if (!colon)
		return err_set(err, -EINVAL, "volume \"%s\": expected /host/dir:/in/sandbox[:ro]",
			       text);
	*colon = '\0';
	return add_volume_place(c, host, colon + 1, false, err);
}

static int add_volumes(struct docker_conf *c, const cJSON *v, struct err *err)
{
	const cJSON *i;
	int r = 0;

	if (cJSON_IsString(v))
		return add_volume_text(c, v->valuestring, err);
	if (v && !cJSON_IsObject(v) && !cJSON_IsArray(v))
		return err_set(err, -EINVAL, "\"volumes\" must be an object or a list of strings");
	cJSON_ArrayForEach (i, v) {
		if (!cJSON_IsString(i))
			return err_set(err, -EINVAL, "\"volumes\": a value is not a string");
		r = cJSON_IsObject(v) ? add_volume_place(c, i->string, i->valuestring, false, err)
				      : add_volume_text(c, i->valuestring, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_binds(struct docker_conf *c, const cJSON *binds, struct err *err)
{
	const cJSON *b;

	cJSON_ArrayForEach (b, binds) {
		bool by_volume = false;
		int r;

		if (!cJSON_IsString(b))
			return err_set(err, -EINVAL, "bind %s: not a string", b->string);
		for (size_t i = 0; i < c->n_volumes; i++)
			by_volume |=
			    !c->volumes[i].route && path_below(b->string, c->volumes[i].host);
		if (by_volume) /* it is there already, where the user wants it */
			continue;
		r = add_volume_place(c, b->string, b->valuestring, true, err);
		if (r < 0)
			return r;
	}
	return 0;
}

bool conf_is_owners(const struct docker_conf *c)
{
	if (c->workspace)
		return true;
	for (size_t i = 0; i < c->n_volumes; i++)
		if (c->volumes[i].route)
			return true;
	return false;
}

/* ---- The rest ---- */

static int add_env(struct docker_conf *c, struct err *err)
{
	const cJSON *v;

	c->env = cJSON_CreateArray();
	if (!c->env)
		return -ENOMEM;
	if (c->env_json && !cJSON_IsObject(c->env_json))
		return err_set(err, -EINVAL, "\"env\" must be an object of names and strings");
	cJSON_ArrayForEach (v, c->env_json) {
		_cleanup_free_ char *text = NULL;
		cJSON *item;

		if (!cJSON_IsString(v) || !*v->string || strchr(v->string, '='))
			return err_set(err, -EINVAL, "\"env\": \"%s\" is not a name with a string",
				       v->string);
		if (asprintf(&text, "%s=%s", v->string, v->valuestring) < 0)
			return -ENOMEM;
		item = cJSON_CreateString(text);
		if (!item)
			return -ENOMEM;
		cJSON_AddItemToArray(c->env, item);
	}
	return 0;
}

static int set_default(char **field, const char *value)
{
	if (!*field)
		*field = strdup(value);
	return *field ? 0 : -ENOMEM;
}

static bool are_strings(const cJSON *object)
{
	const cJSON *v;

	if (object && !cJSON_IsObject(object))
		return false;
	cJSON_ArrayForEach (v, object)
		if (!cJSON_IsString(v))
			return false;
	return true;
}

static bool is_volume_name(const char *name)
{
	size_t n = strlen(name);

	return n > 1 && n < 256 && isalnum((unsigned char)*name) &&
	       name[strspn(name,
			   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] ==
		   '\0';
}

/* The volume at the workdir. */
static int take_workspace(struct docker_conf *c, struct err *err)
{
	const cJSON *w = c->workspace_json;

	if (!w)
		return 0;
	c->workspace = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(w, "name"));
	c->workspace_labels = cJSON_GetObjectItemCaseSensitive(w, "labels");
	if (!c->workspace || !is_volume_name(c->workspace) || !are_strings(c->workspace_labels))
		return err_set(err, -EINVAL,
			       "\"workspace\" must be {\"name\": \"NAME\", \"labels\": {…}}, the "
			       "name of letters, digits, '_', '.' and '-'");
	if (strcmp(c->workdir, "/") == 0)
		return err_set(err, -EINVAL, "\"workspace\": the workdir may not be /");
	return 0;
}

static int check(struct docker_conf *c, const struct bk_mount *mount, bool attach, struct err *err)
{
	if (set_default(&c->symlinks, "contain") < 0 || set_default(&c->pseudo, "hide") < 0 ||
	    set_default(&c->transport, "auto") < 0 || set_default(&c->guest, "auto") < 0 ||
	    set_default(&c->idmap, mount->uid == 0 ? "none" : "user") < 0)
		return -ENOMEM;
	if (attach)
		return c->container && *c->container
			   ? 0
			   : err_set(err, -EINVAL, "\"container\" (a name or id) is missing");
	if (!c->image || !*c->image)
		return err_set(err, -EINVAL, "\"image\" is missing");
	if (set_default(&c->pull, "missing") < 0 || set_default(&c->network, "none") < 0 ||
	    set_default(&c->workdir, "/workspace") < 0)
		return -ENOMEM;
	if (!path_is_plain(c->workdir))
		return err_set(err, -EINVAL, "\"workdir\" must be a plain absolute path");
	if (c->end)
		c->keep = strcmp(c->end, "remove") != 0;
	if (!are_strings(c->labels_json) || !are_strings(c->links_json))
		return err_set(err, -EINVAL,
			       "\"labels\" and \"links\" must be objects of names and strings");
	if (strncmp(c->network, "container:", 10) == 0)
		return err_set(err, -EINVAL, "\"network\" may not be another container's");
	if (c->memory < 6 << 20)
		return err_set(err, -EINVAL, "\"memory\" must be at least 6M");
	if (c->pids < 2)
		return err_set(err, -EINVAL, "\"pids\" must be at least 2");
	return take_workspace(c, err);
}

int docker_conf_parse(struct docker_conf *c, const struct bk_mount *mount, bool attach,
		      const cJSON *options, const cJSON *binds, struct err *err)
{
	int r;

	*c = (struct docker_conf){
	    .memory = 2ULL << 30,
	    .pids = 512,
	    .start_timeout = 600000,
	    .timeout = 30000,
	    .spool_max = 16ULL << 30,
	    .index_max = 250000,
	    .host_paths = true,
	};
	r = options_parse(attach ? container_options : docker_options, options, c, err);
	if (r == 0)
		r = check(c, mount, attach, err);
	if (r == 0)
		r = engine_conf_find(c->engine, mount->engines, &c->at, err);
	if (r == 0)
		r = add_volumes(c, c->volumes_json, err);
	if (r == 0)
		r = add_volumes(c, c->volume_json, err);
	if (r == 0 && attach && cJSON_GetArraySize(binds) > 0)
		r = err_set(err, -EINVAL,
			    "a host route's exec= needs a docker route: directories cannot "
			    "be bound into a container that exists");
	if (r == 0)
		r = add_binds(c, binds, err);
	if (r == 0)
		r = add_env(c, err);
	if (r < 0)
		docker_conf_free(c);
	return r;
}

void docker_conf_free(struct docker_conf *c)
{
	options_free(docker_options, c);
	options_free(container_options, c);
	for (size_t i = 0; i < c->n_volumes; i++) {
		free(c->volumes[i].host);
		free(c->volumes[i].given);
		free(c->volumes[i].place);
	}
	free(TAKE(c->volumes));
	c->n_volumes = 0;
	cJSON_Delete(TAKE(c->env));
	engine_conf_done(&c->at);
}
