#include "prune.h"

#include "base/json.h"
#include "docker/engine.h"
#include "registry.h"
#include "sessions/leftover.h"

#include <fcntl.h>
#include <string.h>

#define TIMEOUT_MS 60000

struct pruning {
	bool dry, failed;
};

static void say(const struct pruning *p, const char *verb, const char *what, const char *name)
{
	printf("%s%s %s %s\n", p->dry ? "would " : "", verb, what, name);
}

static void fail(struct pruning *p, const char *what, const char *why)
{
	fprintf(stderr, "aib: %s: %s\n", what, why);
	p->failed = true;
}

/* ---- Containers ---- */

static const char *label_of(const cJSON *container, const char *key)
{
	return json_text(cJSON_GetObjectItemCaseSensitive(container, "Labels"), key);
}

static bool is_ours(const cJSON *container)
{
	char host[256] = "", uid[16];

	(void)gethostname(host, sizeof(host) - 1);
	snprintf(uid, sizeof(uid), "%u", geteuid());
	return strcmp(label_of(container, "aib.host"), host) == 0 &&
	       strcmp(label_of(container, "aib.uid"), uid) == 0;
}

/* Whether the daemon that has FILE locked is gone; where that cannot be seen it is not. */
static bool is_dead(const char *file)
{
	_cleanup_close_ int fd = *file == '/' ? open(file, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct flock lock = {.l_type = F_WRLCK};

	if (fd < 0)
		return *file == '/' && errno == ENOENT;
	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

/* "remove", "stop", or NULL: it is somebody's. */
static const char *what_to_do(const cJSON *container)
{
	const char *state =
	    cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(container, "State"));

	if (!is_ours(container))
		return NULL;
	if (*label_of(container, "aib.root"))
		return leftover_session(
		    label_of(container, "aib.root.path"), label_of(container, "aib.root"),
		    label_of(container, "aib.session"), label_of(container, "aib.session.id"),
		    state && strcmp(state, "running") == 0);
	if (strcmp(label_of(container, "aib.keep"), "true") == 0)
		return NULL;
	return is_dead(label_of(container, "aib.alive")) ? "remove" : NULL;
}

static const char *name_of(const cJSON *container)
{
	const cJSON *names = cJSON_GetObjectItemCaseSensitive(container, "Names");
	const char *s = cJSON_GetStringValue(cJSON_GetArrayItem(names, 0));

	return s ? s + (*s == '/') : "?";
}

static void prune_container(struct pruning *p, struct bk_req *req, struct engine *e,
			    const cJSON *container)
{
	const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(container, "Id"));
	const char *verb = what_to_do(container);
	struct err err = {""};
	int r = 0;

	if (!verb || !id)
		return;
	say(p, verb, "container", name_of(container));
	if (p->dry)
		return;
	bk_req_extend(req, TIMEOUT_MS);
	if (strcmp(verb, "remove") == 0)
		r = engine_container_remove(req, e, id, &err);
	else
		r = engine_container_action(req, e, id, verb, 1, &err);
	if (r < 0)
		fail(p, name_of(container), err.text);
}

/* NAME: of the configuration; NULL: the default one, which may be missing. */
static void prune_engine(struct pruning *p, const struct config *c, const char *name)
{
	_cleanup_(engine_closep) struct engine *e = NULL;
	_cleanup_(cJSON_Deletep) cJSON *list = NULL;
	struct err err = {""};
	struct bk_req req;
	const cJSON *v;
	int r = engine_open_named(name, c->engines, 0, &e, &err);

	bk_req_init(&req, geteuid(), getegid(), 0, TIMEOUT_MS);
	if (r == 0)
		r = engine_container_list(&req, e, "aib.mount", &list, &err);
	if (r < 0 && (name || (r != -ENOENT && r != -ECONNREFUSED)))
		fail(p, name ? name : "engine", *err.text ? err.text : strerror(-r));
	cJSON_ArrayForEach (v, list)
		prune_container(p, &req, e, v);
	bk_req_done(&req);
}

/* ---- Entries ---- */

static void entry_found(void *ctx, const char *dir)
{
	say(ctx, "remove", "entry", dir);
}

int prune(const struct config *c, bool dry)
{
	struct pruning p = {.dry = dry};
	const cJSON *v;
	int r;

	prune_engine(&p, c, NULL);
	cJSON_ArrayForEach (v, c->engines)
		prune_engine(&p, c, v->string);
	/* After the containers, which are known by them. */
	r = registry_prune(dry, entry_found, &p);
	if (r < 0)
		fail(&p, "registry", strerror(-r));
	return p.failed;
}
