/*
 * A sandbox's beginning and end: the image, what a killed daemon has left, the container (created,
 * not started), and its removal. Called before the mount is there and after it has gone.
 */
#include "sandbox.h"

#include "spec.h"

#include "../base/clock.h"
#include "../base/json.h"
#include "../base/log.h"

#include <ctype.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define END_TIMEOUT_MS 8000

static const char *label_of(const cJSON *inspect, const char *key)
{
	const cJSON *c = cJSON_GetObjectItemCaseSensitive(inspect, "Config");

	return json_text(cJSON_GetObjectItemCaseSensitive(c, "Labels"), key);
}

/* "aib-MOUNT-ROUTE", in the alphabet of container names. */
static int default_name(struct sandbox *sb, char **ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT(200);
	int r = buf_addf(&b, "aib-%s-", sb->mount->id);

	if (r == 0 && strcmp(sb->route, "/") == 0)
		r = buf_adds(&b, "root");
	for (const char *p = sb->route + 1; *p && r == 0; p++)
		r = *p == '/' ? buf_adds(&b, ".")
		    : isalnum((unsigned char)*p) || *p == '-' || *p == '_'
			? buf_add(&b, p, 1)
			: buf_addf(&b, "_%02x", (unsigned char)*p);
	if (r < 0)
		return r;
	*ret = buf_take(&b);
	return *ret ? 0 : -ENOMEM;
}

/* ---- The engine and the image ---- */

/* A Unix socket may also lead to a virtual machine, whose directories are not here. */
static void find_data_dir(struct sandbox *sb, const cJSON *info)
{
	const char *dir = json_text(info, "DockerRootDir");

	if (engine_is_local(sb->engine) && *dir == '/' && access(dir, F_OK) == 0)
		sb->data_dir = strdup(dir);
}

static int look_at_engine(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	cJSON *info = NULL;
	const cJSON *ncpu;
	struct utsname u;
	int r = engine_ping(req, sb->engine, err);

	if (r == 0)
		r = engine_info(req, sb->engine, &info, err);
	if (r < 0)
		return r;
	uname(&u);
	/* Engines say "x86_64", Podman says "amd64". */
	if (strcmp(json_text(info, "Architecture"), u.machine) != 0)
		sb->foreign =
		    engine_is_local(sb->engine) ? false : *json_text(info, "Architecture") != 0;
	if (strcmp(json_text(info, "Architecture"), "amd64") == 0 &&
	    strcmp(u.machine, "x86_64") == 0)
		sb->foreign = false;
	find_data_dir(sb, info);
	ncpu = cJSON_GetObjectItemCaseSensitive(info, "NCPU");
	sb->cpus = sb->conf->cpus;
	if (sb->cpus == 0) /* the default; an engine refuses more than it has */
		sb->cpus = cJSON_IsNumber(ncpu) && ncpu->valuedouble < 2 ? ncpu->valuedouble : 2;
	cJSON_Delete(info);
	return 0;
}

static int get_image(struct bk_req *req, struct sandbox *sb, void (*progress)(void *, const char *),
		     void *ctx, cJSON **ret, struct err *err)
{
	const struct docker_conf *c = sb->conf;
	int r = engine_image_need(req, sb->engine, sb->slow, c->image, c->pull, c->start_timeout,
				  progress, ctx, err);

	if (r < 0)
		return r;
	if (r > 0)
		bk_req_extend(req, c->timeout);
	return engine_image_inspect(req, sb->engine, c->image, ret, err);
}

/* Whom commands run as: what was said, what the files that are bound in need, or the image's user.
 */
static int choose_user(struct sandbox *sb, const cJSON *image)
{
	const struct bk_mount *m = sb->mount;

	if (sb->conf->user)
		sb->user = strdup(sb->conf->user);
	else if (!conf_is_owners(sb->conf))
		sb->user =
		    strdup(json_text(cJSON_GetObjectItemCaseSensitive(image, "Config"), "User"));
	else if (asprintf(&sb->user, "%u:%u", m->uid, m->gid) < 0)
		sb->user = NULL;
	return sb->user ? 0 : -ENOMEM;
}

/* ---- The container ---- */

/* The volume at the workdir is there, and is ours: a name alone is no proof. */
static int make_workspace(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	const struct docker_conf *c = sb->conf;
	const cJSON *want, *have;
	cJSON *found = NULL;
	int r;

	if (!c->workspace)
		return 0;
	r = engine_volume_create(req, sb->engine, c->workspace, c->workspace_labels, &found, err);
	if (r < 0)
		return err_prefix(err, r, "workspace");
	have = cJSON_GetObjectItemCaseSensitive(found, "Labels");
	cJSON_ArrayForEach (want, c->workspace_labels) {
		if (strcmp(json_text(have, want->string), want->valuestring) != 0)
			r = err_set(err, -EEXIST,
				    "workspace: engine %s has a volume %s whose label %s is not "
				    "\"%s\": it is another's",
				    engine_host(sb->engine), c->workspace, want->string,
				    want->valuestring);
		if (r < 0)
			break;
	}
	cJSON_Delete(found);
	return r;
}

/* A container with our name; -EEXIST where it is not ours. */
static int find_ours(struct bk_req *req, struct sandbox *sb, bool *ret_same_image, struct err *err)
{
	cJSON *found = NULL;
	bool mine;
	int r = engine_container_inspect(req, sb->engine, sb->ref, &found, err);

	if (r < 0)
		return r;
	mine = strcmp(label_of(found, "aib.mount"), sb->mount->id) == 0 &&
	       strcmp(label_of(found, "aib.route"), sb->route) == 0;
	*ret_same_image = strcmp(label_of(found, "aib.image"), sb->conf->image) == 0;
	cJSON_Delete(found);
	return mine ? 0
		    : err_set(err, -EEXIST,
			      "container %s exists and is not this route's; choose another with "
			      "name=",
			      sb->ref);
}

/* What an engine may have made without answering. */
static int remove_unfinished(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	bool same;
	int r = find_ours(req, sb, &same, err);

	if (r == 0)
		r = engine_container_remove(req, sb->engine, sb->ref, err);
	return r == -ENOENT ? 0 : r;
}

int sandbox_create(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	struct spec_input in = {
	    .conf = sb->conf,
	    .mount_id = sb->mount->id,
	    .mountpoint = sb->mount->mountpoint,
	    .alive = sb->mount->alive,
	    .route = sb->route,
	    .home = conf_is_owners(sb->conf) && !sb->conf->user && sb->mount->uid != 0,
	    .cpus = sb->cpus,
	};
	_cleanup_free_ char *id = NULL;
	cJSON *spec = NULL;
	int r = make_workspace(req, sb, err);

	if (r == 0)
		r = spec_make(&in, &spec);
	if (r < 0)
		return r;
	if (atomic_exchange(&sb->unfinished, true))
		r = remove_unfinished(req, sb, err);
	bk_req_extend(req, sb->conf->start_timeout);
	if (r == 0)
		r = engine_container_create(req, sb->slow, sb->ref, spec, &id, err);
	bk_req_extend(req, sb->conf->timeout);
	cJSON_Delete(spec);
	if (r < 0 && sb->conf->disk)
		return err_prefix(err, r,
				  "creating container %s (disk= needs a storage driver with "
				  "quotas, such as overlay2 on xfs with pquota)",
				  sb->ref);
	if (r < 0)
		return err_prefix(err, r, "creating container %s", sb->ref);
	sb->owned = true;
	log_info("route %s: container %s created from %s", sb->route, sb->ref, sb->conf->image);
	r = sandbox_refresh(req, sb, err);
	if (r == 0)
		r = find_user(req, sb, err);
	if (r == 0)
		r = furnish(req, sb, err);
	if (r < 0) {
		engine_container_remove(req, sb->engine, sb->ref, NULL);
		return r;
	}
	atomic_store(&sb->unfinished, false);
	pthread_mutex_lock(&sb->lock);
	sb->guest_checked = true;
	pthread_mutex_unlock(&sb->lock);
	atomic_fetch_add(&sb->generation, 1);
	return 0;
}

int sandbox_finish(struct bk_req *req, struct sandbox *sb)
{
	struct err err = {""};
	int r;

	if (!atomic_load(&sb->unfinished))
		return 0;
	r = gate_enter(req, &sb->gate);
	if (r < 0)
		return r;
	if (atomic_load(&sb->unfinished))
		r = sandbox_create(req, sb, &err);
	gate_leave(&sb->gate);
	return r < 0 && r != -EINTR ? sandbox_fail(sb, r, "%s", err.text) : r;
}

int sandbox_renew(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	cJSON *image = NULL;
	int r = engine_image_inspect(req, sb->engine, sb->conf->image, &image, err);

	cJSON_Delete(image);
	if (r == -ENOENT)
		return err_set(err, r, "image %s is no longer on engine %s; container %s stays",
			       sb->conf->image, engine_host(sb->engine), sb->ref);
	if (r == 0)
		r = engine_container_remove(req, sb->engine, sb->ref, err);
	if (r == 0)
		r = sandbox_refresh(req, sb, err);
	atomic_fetch_add(&sb->generation, 1);
	return r < 0 ? r : sandbox_create(req, sb, err);
}

/* A container with our name: remove it or, where it is kept or our daemon crashed a moment ago,
 * take it over. 1: taken over. */
static int handle_leftover(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	bool same_image;
	int r = find_ours(req, sb, &same_image, err);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if ((sb->conf->keep || sb->mount->follows) && same_image) {
		sb->owned = true;
		log_info("route %s: container %s is there and is taken over", sb->route, sb->ref);
		return 1;
	}
	log_info("route %s: removing container %s, left by an earlier mount", sb->route, sb->ref);
	return engine_container_remove(req, sb->engine, sb->ref, err);
}

/* What is there already: its state, and whether commands can run as they are to. */
static int look_at_container(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	int r = sandbox_refresh(req, sb, err);

	return r < 0 ? r : find_user(req, sb, err);
}

static int prepare_attached(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	cJSON *found = NULL;
	const cJSON *config;
	int r;

	r = engine_container_inspect(req, sb->engine, sb->conf->container, &found, err);
	if (r == -ENOENT)
		return err_set(err, r, "no container \"%s\" on engine %s", sb->conf->container,
			       engine_host(sb->engine));
	if (r < 0)
		return r;
	/* The id: a name may be given to another container. */
	sb->ref = strdup(json_text(found, "Id"));
	config = cJSON_GetObjectItemCaseSensitive(found, "Config");
	snprintf(sb->image, sizeof(sb->image), "%s", json_text(config, "Image"));
	r = choose_user(sb, found);
	cJSON_Delete(found);
	if (!sb->ref || r < 0)
		return -ENOMEM;
	if (!*sb->ref)
		return err_set(err, -EIO, "container \"%s\": the engine gives no id",
			       sb->conf->container);
	return look_at_container(req, sb, err);
}

static int prepare_ours(struct bk_req *req, struct sandbox *sb,
			void (*progress)(void *, const char *), void *ctx, struct err *err)
{
	cJSON *image = NULL;
	int r = check_network(req, sb, err);

	if (r == 0)
		r = get_image(req, sb, progress, ctx, &image, err);
	if (r == 0)
		r = choose_user(sb, image);
	cJSON_Delete(image);
	if (r < 0)
		return r;
	snprintf(sb->image, sizeof(sb->image), "%s", sb->conf->image);
	if (sb->conf->name)
		sb->ref = strdup(sb->conf->name);
	else
		r = default_name(sb, &sb->ref);
	if (r < 0 || !sb->ref)
		return -ENOMEM;
	r = handle_leftover(req, sb, err);
	if (r < 0)
		return r;
	return r == 1 ? look_at_container(req, sb, err) : sandbox_create(req, sb, err);
}

int sandbox_prepare(struct bk_req *req, struct sandbox *sb,
		    void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	int r = gate_enter(req, &sb->gate);

	if (r < 0)
		return r;
	r = look_at_engine(req, sb, err);
	if (r == 0)
		r = sb->attached ? prepare_attached(req, sb, err)
				 : prepare_ours(req, sb, progress, ctx, err);
	gate_leave(&sb->gate);
	return r;
}

void sandbox_end(struct sandbox *sb)
{
	struct err err;
	struct bk_req req;
	bool lost = !sb->owned && atomic_load(&sb->unfinished);
	int r;

	if (!sb->ref || (!sb->attached && !sb->owned && !lost))
		return;
	bk_req_init(&req, 0, 0, 0, END_TIMEOUT_MS);
	if (sb->attached) {
		sandbox_leave(&req, sb);
		bk_req_done(&req);
		return;
	}
	if (lost)
		r = remove_unfinished(&req, sb, &err);
	else if (sb->conf->end && strcmp(sb->conf->end, "leave") == 0)
		r = 0;
	else if (sb->conf->keep)
		r = engine_container_action(&req, sb->engine, sb->ref, "stop", 1, &err);
	else
		r = engine_container_remove(&req, sb->engine, sb->ref, &err);
	if (r < 0 && r != -ENOENT)
		log_warning("route %s: container %s stays: %s", sb->route, sb->ref, err.text);
	bk_req_done(&req);
}
