/* `.aib/sessions`: a directory for each session, made and removed with it. */
#include "request.h"

#include "../backends/base/log.h"
#include "../backends/base/units.h"
#include "sessions.h"

#include <string.h>

/* ---- Files ---- */

static void release(void *object)
{
	sessions_unref(object);
}

static int show_status(void *object, struct buf *out)
{
	struct session *s = object;

	return s->bk.ops->sandbox->status(&s->bk, out);
}

static int show_error(void *object, struct buf *out)
{
	struct session *s = object;

	return s->bk.ops->sandbox->error(&s->bk, out);
}

static int show_runtime(void *object, struct buf *out)
{
	struct session *s = object;
	int r;

	pthread_mutex_lock(&s->lock);
	r = buf_addf(out, "%s\n", session_image_locked(s));
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int show_idle_timeout(void *object, struct buf *out)
{
	struct session *s = object;
	int r;

	pthread_mutex_lock(&s->lock);
	r = buf_addf(out, "%gs\n", s->idle_timeout / 1000.0);
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int show_owner(void *object, struct buf *out)
{
	return buf_addf(out, "%u\n", session_uid(object));
}

/* What was refused is said in `error`. */
static int told(struct session *s, int r, const struct err *err)
{
	return r < 0 ? session_keep_error(s, r, err) : 0;
}

static int set_idle_timeout(void *object, const struct bk_req *req, const char *text)
{
	struct err err = {""};
	uint64_t ms;
	int r = option_duration(text, &ms);

	if (r < 0)
		err_set(&err, r, "idle_timeout: expected a duration such as 30s or 1h");
	else
		r = sessions_set_idle(object, ms, &err);
	return told(object, r, &err);
}

static int set_owner(void *object, const struct bk_req *req, const char *text)
{
	struct session *s = object;
	struct err err = {""};
	int r;

	if (req->uid != 0 && req->uid != s->all->mount->uid)
		r = err_set(&err, -EPERM, "owner: only the mount's owner gives sessions away");
	else
		r = sessions_give(s, text, &err);
	return told(s, r, &err);
}

/* A value is one write, so that who writes hears what becomes of it: shells do not look at close.
 */
static const struct file {
	const char *name;
	struct control_file_ops ops;
} files[] = {
    {"status", {.show = show_status, .object_free = release}},
    {"error", {.show = show_error, .object_free = release}},
    {"runtime", {.show = show_runtime, .object_free = release}},
    {"idle_timeout",
     {.show = show_idle_timeout, .command = set_idle_timeout, .object_free = release}},
    {"owner", {.show = show_owner, .command = set_owner, .object_free = release}},
};

/* ---- The container's tree ---- */

static struct bk_node *root_of(void *object)
{
	struct bk *box = session_seen_box(object);
	struct bk_node *root = box ? bk_root(box) : NULL;

	/* Borrowed: the box has it as long as it lives itself. */
	bk_node_unref(root);
	return root;
}

static int enter_root(struct bk_req *req, void *object)
{
	struct session *s = object;
	struct err err = {""};
	struct bk *box;
	int r = session_box(req, s, &box, &err);

	return told(s, r, &err);
}

static const struct control_tree_ops tree_ops = {
    .root = root_of, .enter = enter_root, .object_free = release};

/* ---- The directory of a session ---- */

static int add_link(struct bk *control, struct control_dir *dir, const struct session *s)
{
	_cleanup_free_ char *target = NULL;

	if (asprintf(&target, "../../..%s", s->workspace->route) < 0)
		return -ENOMEM;
	return control_add_link(control, dir, "workspace", target);
}

static int fill(struct bk *control, struct control_dir *dir, struct session *s)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++) {
		r = control_add_file(control, dir, files[i].name, &files[i].ops, sessions_ref(s));
		if (r < 0)
			sessions_unref(s);
	}
	if (r < 0)
		return r;
	r = control_add_ctl(control, dir, s->name, &s->bk, release, sessions_ref(s));
	if (r == 0)
		r = control_add_tree(control, dir, "root", &tree_ops, sessions_ref(s));
	if (r < 0)
		sessions_unref(s);
	return r < 0 ? r : add_link(control, dir, s);
}

static void added(void *ctx, struct session *s)
{
	struct sessions_control *sc = ctx;
	struct control_dir *dir = NULL;
	struct control_dir_conf conf = {.owned = true, .uid = session_uid(s)};
	bool dead;
	int r = 0;

	pthread_mutex_lock(&s->all->lock);
	dead = s->dead;
	pthread_mutex_unlock(&s->all->lock);
	pthread_mutex_lock(&s->lock);
	conf.gid = s->mount.gid;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&sc->lock);
	if (!s->shown && !dead) {
		r = control_add_dir(sc->control, sc->dir, s->name, &conf, &dir);
		s->shown = dir;
	}
	pthread_mutex_unlock(&sc->lock);
	if (dir)
		r = fill(sc->control, dir, s);
	if (r < 0 && r != -EEXIST)
		log_error("session %s: .aib/sessions: %s", s->name, strerror(-r));
}

static void removed(void *ctx, struct session *s)
{
	struct sessions_control *sc = ctx;
	struct control_dir *dir;

	pthread_mutex_lock(&sc->lock);
	dir = TAKE(s->shown);
	pthread_mutex_unlock(&sc->lock);
	if (dir)
		control_remove(sc->control, dir);
}

/* ---- All of them ---- */

static int make_session(void *object, const struct bk_req *req, const char *name)
{
	struct sessions_control *sc = object;
	struct sessions_wish wish = {.maker = req->uid, .maker_gid = req->gid};
	struct session *s;
	struct err err = {""};
	bool all = req->uid == 0 || req->uid == sc->list[0]->mount->uid;
	int r = !all && !sc->list[0]->conf.anyone ? -EACCES : 0;

	if (r == 0)
		r = sessions_get(sc->list[0], name, &wish, &s, &err);
	if (r == 0) {
		added(sc, s);
		sessions_unref(s);
	} else if (*err.text) {
		log_warning("%s", err.text);
	}
	return r;
}

static int release_session(void *object, const struct bk_req *req, const char *name)
{
	struct sessions_control *sc = object;
	struct err err = {""};
	int r = -ENOENT;

	for (size_t i = 0; i < sc->n && r == -ENOENT; i++)
		r = sessions_release(sc->list[i], name, &err);
	if (r < 0)
		log_warning("%s", err.text);
	return r;
}

static const struct control_dir_ops dir_ops = {.mkdir = make_session, .rmdir = release_session};

int sessions_control_init(struct sessions_control *sc, const struct route *routes, size_t n)
{
	*sc = (struct sessions_control){.list = calloc(n + 1, sizeof(struct sessions *))};
	if (!sc->list)
		return -ENOMEM;
	pthread_mutex_init(&sc->lock, NULL);
	for (size_t i = 0; i < n; i++) {
		struct sessions *all = sessions_of(routes[i].bk);

		if (all)
			sc->list[sc->n++] = all;
	}
	return 0;
}

void sessions_control_end(struct sessions_control *sc)
{
	for (size_t i = 0; i < sc->n; i++)
		sessions_watch(sc->list[i], NULL);
}

void sessions_control_done(struct sessions_control *sc)
{
	if (!sc->list)
		return;
	pthread_mutex_destroy(&sc->lock);
	free(TAKE(sc->list));
}

int sessions_control_add(struct sessions_control *sc, struct bk *control)
{
	struct control_dir_conf conf = {.open = true, .ops = &dir_ops, .object = sc};
	int r;

	if (sc->n == 0)
		return 0;
	sc->control = control;
	r = control_add_dir(control, NULL, "sessions", &conf, &sc->dir);
	for (size_t i = 0; i < sc->n && r == 0; i++) {
		sessions_watch(sc->list[i], &(struct sessions_watcher){added, removed, sc});
		r = sessions_each(sc->list[i], added, sc);
	}
	return r < 0 ? r : control_add_metrics(control, sessions_metrics, sc);
}

/* ---- A path of it ---- */

int sessions_control_enter(void *ctx, uid_t uid, const char *path, struct bk_use *ret,
			   char **ret_dir, struct err *err)
{
	struct sessions_control *sc = ctx;
	char name[STORE_NAME_MAX + 1], what[16] = "";
	int end = 0, r = -ENOENT;

	if (sscanf(path, "/sessions/%64[^/]%n", name, &end) != 1)
		return err_set(err, r,
			       "%s of the control tree has no sandbox; name one with "
			       "--sandbox",
			       *path ? path : "/");
	path += end;
	sscanf(path, "/%15[^/]%n", what, &end);
	for (size_t i = 0; i < sc->n && r == -ENOENT; i++)
		r = bk_enter(&sc->list[i]->bk, uid, NULL, name, ret, NULL, err);
	if (r < 0 || !ret_dir || strcmp(what, "root") != 0)
		return r;
	path += strlen("/root");
	*ret_dir = strdup(*path ? path : "/");
	if (*ret_dir)
		return 0;
	bk_leave(ret);
	return -ENOMEM;
}
