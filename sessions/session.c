#include "session.h"

#include "../backends/base/clock.h"
#include "../backends/base/log.h"
#include "sessions.h"
#include "volume.h"

#include <string.h>
#include <sys/stat.h>

/* ---- What it is made of ---- */

static const char *text_of(const cJSON *o, const char *key, const char *otherwise)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : otherwise;
}

static double number_of(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(v) && v->valuedouble >= 0 ? v->valuedouble : 0;
}

static const cJSON *box_of(const cJSON *json)
{
	return cJSON_GetObjectItemCaseSensitive(json, "docker");
}

/* The file is ours, but may be of another version or edited by hand. */
static int check_json(const cJSON *json)
{
	bool ok = strlen(text_of(json, "id", "")) == STORE_ID_SIZE - 1 &&
		  cJSON_IsObject(box_of(json)) && number_of(json, "idle_timeout") >= 1 &&
		  number_of(json, "uid") < UINT32_MAX && number_of(json, "gid") < UINT32_MAX;

	return ok ? 0 : -EINVAL;
}

int session_update(struct session *s, cJSON *json)
{
	char *action = strdup(text_of(json, "idle_action", "stop"));

	if (check_json(json) < 0 || !action) {
		free(action);
		cJSON_Delete(json);
		return -EINVAL;
	}
	pthread_mutex_lock(&s->lock);
	cJSON_Delete(s->json);
	free(s->idle_action);
	s->json = json;
	s->idle_action = action;
	s->idle_timeout = number_of(json, "idle_timeout");
	s->remove_after = number_of(json, "remove_after");
	if (!s->box) {
		s->mount.uid = number_of(json, "uid");
		s->mount.gid = number_of(json, "gid");
	}
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* ---- The workspace ---- */

static int workspace_options(const struct session *s, cJSON **ret)
{
	_cleanup_free_ char *path = NULL, *root = NULL;
	cJSON *o = s->workdir ? cJSON_CreateObject() : NULL;

	if (o && asprintf(&path, "%s/%s/workspace", s->all->store.path, s->name) >= 0 &&
	    asprintf(&root, "%s/.aib/sessions/%s/root", s->all->mount->mountpoint, s->name) >= 0 &&
	    cJSON_AddStringToObject(o, "path", path) &&
	    cJSON_AddStringToObject(o, "outside", root) &&
	    cJSON_AddStringToObject(o, "place", s->workdir) &&
	    cJSON_AddNumberToObject(o, "fd_cache", SESSION_FD_CACHE)) {
		*ret = o;
		return 0;
	}
	cJSON_Delete(o);
	return -ENOMEM;
}

/* What the path led to is what the root's descriptor leads to. */
static int check_workspace(const struct session *s, const struct bk *bk)
{
	_cleanup_close_ int fd = store_workspace(&s->all->store, s->name);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == bk->ino_dev && st.st_ino == bk->root_ino ? 0 : -ESTALE;
}

/* The workspace's path in the mount. */
static int place_of(const struct session *s, char **ret)
{
	const char *above = s->all->bk.route;

	if (s->all->conf.name) /* the route is the session */
		*ret = strdup(above);
	else if (asprintf(ret, "%s/%s", strcmp(above, "/") ? above : "", s->name) < 0)
		*ret = NULL;
	return *ret ? 0 : -ENOMEM;
}

/* A directory of this machine as a tree. */
static int make_directory(struct session *s, const char *route, struct bk **ret, struct err *err)
{
	const struct bk_type *type;
	cJSON *options = NULL;
	struct bk *bk = NULL;
	int r = bk_type_find("host", &type, err);

	if (r == 0)
		r = workspace_options(s, &options);
	if (r == 0)
		r = type->make(s->all->mount, route, options, NULL, &bk, err);
	cJSON_Delete(options);
	if (r == 0)
		r = bk->ops->prepare(NULL, bk, NULL, NULL, err);
	if (r == 0)
		r = check_workspace(s, bk);
	if (r < 0)
		bk_free(bk);
	else
		*ret = bk;
	return r;
}

static int make_workspace(struct session *s, bool volume, struct err *err)
{
	const struct bk *above = &s->all->bk;
	_cleanup_free_ char *route = NULL;
	struct bk *bk = NULL;
	int r = place_of(s, &route);

	if (r == 0)
		r = volume ? volume_new(s, route, &bk) : make_directory(s, route, &bk, err);
	if (r < 0)
		return r;
	bk->ino_space = s->spaces[0];
	bk->readonly = above->readonly;
	bk->no_host_exec = above->no_host_exec;
	bk->recall = true; /* what a command changes there is to be seen when it ends */
	s->workspace = bk;
	return 0;
}

static int take_spaces(struct session *s)
{
	static const char *const what[] = {"workspace", "root"};
	char key[256];

	for (size_t i = 0; i < ARRAY_SIZE(s->spaces); i++) {
		int n;

		snprintf(key, sizeof(key), "%s:%s:%s", s->all->store.id, s->name, what[i]);
		n = bk_space_take(s->all->mount->spaces, key);
		if (n < 0)
			return n;
		s->spaces[i] = n;
	}
	return 0;
}

static const struct bk_ops session_ops;

int session_new(struct sessions *all, const char *name, cJSON *json, struct session **ret,
		struct err *err)
{
	struct session *s = calloc(1, sizeof(*s));
	const char *engine;
	bool volume;
	int r = s ? bk_init(&s->bk, &session_ops, all->bk.route) : -ENOMEM;

	if (r < 0) {
		free(s);
		cJSON_Delete(json);
		return r;
	}
	s->all = all;
	s->hold_fd = -1;
	s->mount = *all->mount;
	gate_init(&s->gate);
	pthread_mutex_init(&s->lock, NULL);
	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(s->id, sizeof(s->id), "%s", text_of(json, "id", ""));
	s->workdir = strdup(text_of(box_of(json), "workdir", "/workspace"));
	engine = text_of(box_of(json), "engine", NULL);
	s->engine = engine ? strdup(engine) : NULL;
	volume = strcmp(text_of(json, "workspace", ""), "volume") == 0;
	r = engine && !s->engine ? -ENOMEM : 0;
	if (r < 0)
		cJSON_Delete(json);
	else
		r = session_update(s, json);
	if (r == -EINVAL)
		err_set(err, r, "session %s: %s/%s/session.json is not one of ours", name,
			all->store.path, name);
	s->mount.id = all->mount_id;
	if (r == 0)
		r = take_spaces(s);
	if (r == 0)
		r = s->workdir ? make_workspace(s, volume, err) : -ENOMEM;
	if (r < 0) {
		session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	bk_free(s->workspace); /* a volume's has nodes of the box */
	bk_free(s->box);
	for (size_t i = 0; i < ARRAY_SIZE(s->spaces); i++)
		bk_space_give(s->all->mount->spaces, s->spaces[i]);
	closep(&s->hold_fd);
	pthread_mutex_destroy(&s->lock);
	gate_done(&s->gate);
	cJSON_Delete(s->json);
	free(s->idle_action);
	free(s->workdir);
	free(s->engine);
	bk_done(&s->bk);
	free(s);
}

/* ---- Use ---- */

void session_enter(struct session *s)
{
	pthread_mutex_lock(&s->lock);
	s->uses++;
	pthread_mutex_unlock(&s->lock);
}

void session_leave(struct session *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->uses == 1 && s->hold_fd >= 0) {
		store_touch(&s->all->store, s->name, 0);
		close(TAKE_FD(s->hold_fd));
	}
	s->uses--;
	pthread_mutex_unlock(&s->lock);
}

uid_t session_uid(struct session *s)
{
	uid_t uid;

	pthread_mutex_lock(&s->lock);
	uid = number_of(s->json, "uid");
	pthread_mutex_unlock(&s->lock);
	return uid;
}

bool session_has_volume(const struct session *s)
{
	return volume_is(s->workspace);
}

int session_workspace(const struct session *s, struct buf *out)
{
	char name[VOLUME_NAME_SIZE];

	if (!session_has_volume(s))
		return buf_adds(out, s->workspace->ops->host_dir(s->workspace));
	volume_name(&s->all->store, s->name, name);
	return buf_addf(out, "volume %s on %s", name, s->engine ? s->engine : "the default engine");
}

const char *session_image_locked(const struct session *s)
{
	return text_of(box_of(s->json), "image", "-");
}

int session_keep_error(struct session *s, int r, const struct err *err)
{
	pthread_mutex_lock(&s->lock);
	s->error = (struct err){""};
	if (r < 0 && r != -EINTR)
		s->error = *err;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static bool files_open(const struct session *s)
{
	return atomic_load(&s->workspace->open) > 0 || (s->box && atomic_load(&s->box->open) > 0);
}

bool session_in_use(struct session *s)
{
	bool used;

	pthread_mutex_lock(&s->lock);
	used = s->uses > 0 || files_open(s);
	pthread_mutex_unlock(&s->lock);
	return used;
}

void session_tell_files(struct session *s)
{
	uint64_t last = atomic_load(&s->workspace->used_ms), now = clock_ms();
	time_t at;

	pthread_mutex_lock(&s->lock);
	if (s->box && atomic_load(&s->box->used_ms) > last)
		last = atomic_load(&s->box->used_ms);
	/* What runs is told of too: it may outlive this daemon, and is to be found awake. */
	if (files_open(s) || s->uses > 0)
		last = now;
	at = last > s->touched_ms ? time(NULL) - (now - last) / 1000 : 0;
	s->touched_ms = last;
	pthread_mutex_unlock(&s->lock);
	if (at)
		store_touch(&s->all->store, s->name, at);
}

void session_saw(struct session *s, bool runs)
{
	pthread_mutex_lock(&s->lock);
	s->runs = runs;
	pthread_mutex_unlock(&s->lock);
}

static bool tree_is_known(struct bk *bk)
{
	struct bk_node *root = bk ? bk_root(bk) : NULL;
	bool known;

	if (!root)
		return false;
	/* The root has a reference of its backend's, and this one. */
	known = atomic_load(&root->refs) > 2 || atomic_load(&bk->nodes) > 1 ||
		atomic_load(&bk->open) > 0 || bk->front;
	bk_node_unref(root);
	return known;
}

bool session_is_known(struct session *s)
{
	bool known;

	pthread_mutex_lock(&s->lock);
	known = s->uses > 0 || tree_is_known(s->workspace) || tree_is_known(s->box);
	pthread_mutex_unlock(&s->lock);
	return known;
}

/* ---- The container ---- */

static struct bk *get_box(struct session *s)
{
	struct bk *box;

	pthread_mutex_lock(&s->lock);
	box = s->box;
	pthread_mutex_unlock(&s->lock);
	return box;
}

/* The gate is ours. Of several daemons one makes it, the others find it. */
static int ensure_box(struct bk_req *req, struct session *s, struct err *err)
{
	_cleanup_close_ int making = -1;
	struct bk *box = NULL;
	int r;

	if (get_box(s))
		return 0;
	making = store_hold_making(req, &s->all->store, s->name);
	if (making < 0)
		return err_set(err, making, "session %s: waiting for its container: %s", s->name,
			       making == -ENOENT ? "it was removed" : strerror(-making));
	r = session_make_box(req, s, &box, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	s->box = box;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int session_box(struct bk_req *req, struct session *s, struct bk **ret, struct err *err)
{
	int r = gate_enter(req, &s->gate);

	if (r < 0)
		return r;
	r = ensure_box(req, s, err);
	if (r == 0) {
		pthread_mutex_lock(&s->lock);
		s->box_seen = true;
		*ret = s->box;
		pthread_mutex_unlock(&s->lock);
	}
	gate_leave(&s->gate);
	return r;
}

struct bk *session_seen_box(struct session *s)
{
	struct bk *box;

	pthread_mutex_lock(&s->lock);
	box = s->box_seen ? s->box : NULL;
	pthread_mutex_unlock(&s->lock);
	return box;
}

void session_drop_box(struct session *s)
{
	struct bk *box = NULL;

	pthread_mutex_lock(&s->lock);
	if (!s->box_seen && s->uses == 0)
		box = TAKE(s->box);
	pthread_mutex_unlock(&s->lock);
	bk_free(box);
}

/* ---- Waking ---- */

/* The shared lock, until the last use is over. The gate is ours; whether this took it: 1. */
static int hold(struct bk_req *req, struct session *s, struct err *err)
{
	bool held;
	int fd;

	pthread_mutex_lock(&s->lock);
	held = s->hold_fd >= 0;
	pthread_mutex_unlock(&s->lock);
	if (held)
		return 0;
	fd = store_hold(req, &s->all->store, s->name, false);
	if (fd < 0)
		return err_set(err, fd, "session %s: %s", s->name,
			       fd == -ENOENT ? "it was removed" : strerror(-fd));
	store_touch(&s->all->store, s->name, 0);
	pthread_mutex_lock(&s->lock);
	s->hold_fd = fd;
	pthread_mutex_unlock(&s->lock);
	return 1;
}

static bool pauses(struct session *s)
{
	bool r;

	pthread_mutex_lock(&s->lock);
	r = strcmp(s->idle_action, "pause") == 0;
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* A command is to run: its container is there, and nobody puts it to sleep. Starting it is the
 * container's own. The session is in use. */
static int wake(struct bk_req *req, struct session *s, struct err *err)
{
	int r = gate_enter(req, &s->gate), fresh = 0;

	if (r < 0)
		return r;
	bk_req_extend(req, s->all->conf.start_timeout);
	fresh = r = hold(req, s, err);
	if (r >= 0)
		r = ensure_box(req, s, err);
	if (r == 0 && fresh && pauses(s)) /* whoever paused it */
		(void)s->box->ops->sandbox->ctl(req, s->box, "unpause", &(struct err){""});
	gate_leave(&s->gate);
	return r;
}

/* ---- The sandbox ---- */

static struct session *session_of(struct bk *bk)
{
	return container_of(bk, struct session, bk);
}

/* Its engine has one more to run, as nobody has seen yet. */
static void saw_started(struct session *s)
{
	struct place *p;
	bool ran;

	pthread_mutex_lock(&s->lock);
	ran = s->runs;
	s->runs = true;
	pthread_mutex_unlock(&s->lock);
	if (!ran && places_get(&s->all->places, s->engine, false, &p, &(struct err){""}) == 0)
		atomic_fetch_add(&p->running, 1);
}

static int session_exec(struct bk_req *req, struct bk *bk, const struct bk_exec *x,
			struct bk_stream **ret, struct err *err)
{
	struct session *s = session_of(bk);
	int r = wake(req, s, err);

	if (r == 0)
		r = s->box->ops->sandbox->exec(req, s->box, x, ret, err);
	if (r == 0)
		saw_started(s);
	return session_keep_error(s, r, err);
}

/* A container that is not there has no job; one that is, is found as a command would find it. */
static int session_attach(struct bk_req *req, struct bk *bk, const char *job,
			  struct bk_stream **ret, struct err *err)
{
	struct session *s = session_of(bk);
	int r = wake(req, s, err);

	return r < 0 ? r : s->box->ops->sandbox->attach(req, s->box, job, ret, err);
}

static bool session_lasts(struct bk *bk)
{
	return true;
}

static void session_changed(struct bk *bk)
{
	struct bk *box = get_box(session_of(bk));

	if (box)
		box->ops->sandbox->changed(box);
}

static void session_touches(struct bk *bk, void (*each)(void *ctx, struct bk *bk), void *ctx)
{
	struct session *s = session_of(bk);
	struct bk *box = get_box(s);

	each(ctx, s->workspace);
	if (box)
		each(ctx, box);
}

static int session_ctl(struct bk_req *req, struct bk *bk, const char *verb, struct err *err)
{
	struct session *s = session_of(bk);
	int r;

	session_enter(s);
	r = wake(req, s, err);
	if (r == 0)
		r = s->box->ops->sandbox->ctl(req, s->box, verb, err);
	session_keep_error(s, r, err);
	session_leave(s);
	return r;
}

static int session_status(struct bk *bk, struct buf *out)
{
	struct session *s = session_of(bk);
	int64_t touched = store_touched(&s->all->store, s->name);
	struct bk *box;
	bool runs;
	int r;

	session_enter(s); /* its box stays */
	r = buf_addf(out, "session %s\nworkspace ", s->name);
	if (r == 0)
		r = session_workspace(s, out);
	if (r == 0 && s->engine)
		r = buf_addf(out, "\nengine %s", s->engine);
	pthread_mutex_lock(&s->lock);
	box = s->box;
	runs = s->runs;
	if (r == 0)
		r = buf_addf(out,
			     "\nowner %u\nidle_timeout %gs\nidle_action %s\n"
			     "commands %u\nopen_files %u\nidle_for %llds\nimage %s\n",
			     (unsigned)number_of(s->json, "uid"), s->idle_timeout / 1000.0,
			     s->idle_action, s->uses - 1, atomic_load(&s->workspace->open),
			     s->uses > 1 || touched < 0 ? 0LL : (long long)(time(NULL) - touched),
			     session_image_locked(s));
	pthread_mutex_unlock(&s->lock);
	if (r == 0 && box)
		r = box->ops->sandbox->status(box, out);
	else if (r == 0)
		r = buf_addf(out, "state %s\n", runs ? "running" : "asleep");
	session_leave(s);
	return r;
}

static int session_error(struct bk *bk, struct buf *out)
{
	struct session *s = session_of(bk);
	int r;

	pthread_mutex_lock(&s->lock);
	r = *s->error.text ? buf_addf(out, "%s\n", s->error.text) : 0;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int session_bound_at(struct bk *bk, const char *host_dir, char **ret)
{
	return -ENOENT;
}

static const struct bk_sandbox_ops sandbox_ops = {
    .exec = session_exec,
    .attach = session_attach,
    .lasts = session_lasts,
    .changed = session_changed,
    .touches = session_touches,
    .ctl = session_ctl,
    .status = session_status,
    .error = session_error,
    .bound_at = session_bound_at,
};

static const struct bk_ops session_ops = {.type = "session", .sandbox = &sandbox_ops};
