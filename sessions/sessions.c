#include "sessions.h"

#include "../backends/base/clock.h"
#include "../backends/base/log.h"
#include "../backends/base/pool.h"
#include "volume.h"

#include <string.h>

/* ---- The table ---- */

/* Take S from the table: there is another now, or none. */
static void retire_locked(struct sessions *all, struct session *s)
{
	HASH_DEL(all->table, s);
	s->dead = true;
	s->next_dead = all->dead;
	all->dead = s;
}

static void tell_removed(struct sessions *all, struct session *s)
{
	if (s && all->watcher.removed)
		all->watcher.removed(all->watcher.ctx, s);
	sessions_unref(s);
}

/* What the disk says of NAME now; S is what it said before, or NULL. */
static int load_locked(struct sessions *all, const char *name, struct session *s,
		       struct session **ret, struct err *err)
{
	struct store_stamp stamp;
	cJSON *json;
	const char *id;
	int r = store_stamp(&all->store, name, &stamp);

	if (r == 0 && s && stamp.ino == s->stamp.ino &&
	    memcmp(&stamp.ctime, &s->stamp.ctime, sizeof(stamp.ctime)) == 0) {
		*ret = s;
		return 0;
	}
	if (r == 0)
		r = store_read(&all->store, name, &json);
	if (r < 0)
		return err_set(err, r, "session %s: %s", name,
			       r == -ENOENT ? "there is none (aib session ls)" : strerror(-r));
	id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "id"));
	if (s && id && strcmp(id, s->id) == 0) {
		r = session_update(s, json);
		*ret = s;
	} else {
		r = session_new(all, name, json, ret, err);
	}
	if (r == 0)
		(*ret)->stamp = stamp;
	return r;
}

static int insert_locked(struct sessions *all, struct session *s)
{
	HASH_ADD_STR(all->table, name, s);
	return s->hh.tbl ? 0 : -ENOMEM;
}

int sessions_find(struct sessions *all, const char *name, struct session **ret, struct err *err)
{
	struct session *before, *s = NULL, *gone = NULL, *added = NULL;
	int r;

	if (!name_is_plain(name))
		return err_set(err, -ENOENT, "\"%.80s\" is no name of a session", name);
	pthread_mutex_lock(&all->lock);
	HASH_FIND_STR(all->table, name, before);
	r = load_locked(all, name, before, &s, err);
	if (before && (r == -ENOENT || (r == 0 && s != before))) {
		gone = before;
		gone->refs++;
		retire_locked(all, before);
	}
	if (r == 0 && s != before) {
		r = insert_locked(all, s);
		if (r < 0)
			session_free(s);
		else
			added = s;
	}
	if (r == 0)
		s->refs++;
	pthread_mutex_unlock(&all->lock);
	tell_removed(all, gone);
	if (added && all->watcher.added)
		all->watcher.added(all->watcher.ctx, added);
	if (r == 0)
		*ret = s;
	return r;
}

void sessions_unref(struct session *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->all->lock);
	s->refs--;
	pthread_mutex_unlock(&s->all->lock);
}

struct session *sessions_ref(struct session *s)
{
	pthread_mutex_lock(&s->all->lock);
	s->refs++;
	pthread_mutex_unlock(&s->all->lock);
	return s;
}

void sessions_watch(struct sessions *all, const struct sessions_watcher *w)
{
	if (!w)
		reaper_stop(all);
	all->watcher = w ? *w : (struct sessions_watcher){NULL};
}

struct listed {
	char (*names)[STORE_NAME_MAX + 1];
	size_t n, size;
	int error;
};

static bool list_name(void *ctx, const char *name)
{
	struct listed *l = ctx;

	if (l->n == l->size) {
		size_t size = l->size ? 2 * l->size : 64;
		void *p = reallocarray(l->names, size, sizeof(*l->names));

		if (!p) {
			l->error = -ENOMEM;
			return false;
		}
		l->names = p;
		l->size = size;
	}
	snprintf(l->names[l->n++], sizeof(*l->names), "%s", name);
	return true;
}

int sessions_each(struct sessions *all, void (*each)(void *ctx, struct session *s), void *ctx)
{
	struct listed l = {.names = NULL};
	struct err err = {""};
	int r = store_list(&all->store, list_name, &l);

	if (r == 0)
		r = l.error;
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		struct session *s;
		int f = sessions_find(all, l.names[i], &s, &err);

		if (f == 0) {
			each(ctx, s);
			sessions_unref(s);
		} else if (f != -ENOENT) {
			log_warning("%s", err.text);
		}
	}
	free(l.names);
	return r;
}

/* ---- Making and changing ---- */

/* What is said of it, of the route, or who asks where the mount serves several users. */
static int choose_owner(const struct sessions *all, const struct sessions_wish *w, uid_t *ret_uid,
			gid_t *ret_gid, struct err *err)
{
	uid_t uid = all->conf.uid;
	gid_t gid = all->conf.gid;
	int r = 0;

	if (w->owner) {
		r = sessions_find_user(w->owner, &uid, &gid, err);
	} else if (!all->conf.owner && all->mount->can_switch_user) {
		uid = w->maker;
		gid = w->maker_gid;
	}
	if (r == 0 && uid != all->mount->uid && !all->mount->can_switch_user)
		r = err_set(err, -EPERM, "owner: only a mount of root's has sessions of others");
	if (r == 0 && w->maker != 0 && w->maker != all->mount->uid && uid != w->maker)
		r = err_set(err, -EPERM, "owner: a session that you make is yours");
	if (r < 0)
		return r;
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}

int sessions_get(struct sessions *all, const char *name, const struct sessions_wish *w,
		 struct session **ret, struct err *err)
{
	struct store_session from = {.json = NULL};
	cJSON *json = NULL;
	int r = sessions_find(all, name, ret, err);

	if (r != -ENOENT)
		return r;
	if (all->bk.readonly)
		return err_set(err, -EROFS, "route %s is read-only", all->bk.route);
	r = choose_owner(all, w, &from.uid, &from.gid, err);
	if (r == 0)
		r = sessions_describe(all, name, w, &json, &from.volume, err);
	if (r < 0)
		return r;
	from.json = json;
	r = store_create(&all->store, name, &from, all->conf.max_sessions, err);
	cJSON_Delete(json);
	if (r < 0)
		return r;
	if (r > 0)
		log_info("session %s: made for uid %u", name, from.uid);
	return sessions_find(all, name, ret, err);
}

/* What session.json says of S, as a copy to be changed. */
static cJSON *copy_json(struct session *s)
{
	cJSON *json;

	pthread_mutex_lock(&s->lock);
	json = cJSON_Duplicate(s->json, true);
	pthread_mutex_unlock(&s->lock);
	return json;
}

static void set_number(cJSON *json, const char *key, double n)
{
	cJSON_DeleteItemFromObjectCaseSensitive(json, key);
	cJSON_AddNumberToObject(json, key, n);
}

/* JSON, which this takes, in place of what the disk says of S; then the table knows. */
static int rewrite(struct session *s, cJSON *json, struct err *err)
{
	struct session *now = NULL;
	int r = json ? store_write(&s->all->store, s->name, s->id, json) : -ENOMEM;

	cJSON_Delete(json);
	if (r < 0)
		return err_set(err, r, "session %s: session.json: %s", s->name, strerror(-r));
	r = sessions_find(s->all, s->name, &now, err);
	sessions_unref(now);
	reaper_poke(s->all->reaper);
	return r;
}

int sessions_set_idle(struct session *s, uint64_t ms, struct err *err)
{
	cJSON *json;

	if (ms < 1000)
		return err_set(err, -EINVAL, "idle_timeout must be at least 1s");
	json = copy_json(s);
	set_number(json, "idle_timeout", ms);
	return rewrite(s, json, err);
}

/* ---- Another owner ---- */

struct giving {
	struct work work;
	struct session *s;
	int alone;
	uid_t uid;
	gid_t gid;
};

#define GIVE_TIMEOUT_MS (10 * 60 * 1000)
#define MOMENT_MS 2000
#define MOMENT_STEP_US 10000

/* It becomes another session of the workspace: so its container is made anew, for the new user. */
static int give(struct bk_req *req, struct giving *g, struct err *err)
{
	struct session *s = g->s;
	char id[STORE_ID_SIZE];
	cJSON *json;
	int r = store_chown(req, &s->all->store, s->name, session_uid(s), g->uid, g->gid);

	if (r < 0)
		return err_set(err, r, "owner: giving the workspace to %u: %s", g->uid,
			       strerror(-r));
	json = copy_json(s);
	store_new_id(id);
	set_number(json, "uid", g->uid);
	set_number(json, "gid", g->gid);
	cJSON_DeleteItemFromObjectCaseSensitive(json, "id");
	cJSON_AddStringToObject(json, "id", id);
	return rewrite(s, json, err);
}

static void give_run(struct work *work)
{
	struct giving *g = container_of(work, struct giving, work);
	struct err err = {""};
	struct bk_req req;

	bk_req_init(&req, 0, 0, 0, GIVE_TIMEOUT_MS);
	if (session_keep_error(g->s, give(&req, g, &err), &err) < 0)
		log_warning("session %s: %s", g->s->name, err.text);
	bk_req_done(&req);
	close(g->alone);
	sessions_unref(g->s);
	free(g);
}

static int busy(const char *name, struct err *err)
{
	return err_set(err, -EBUSY, "session %s is in use: a command runs in it, or a file is open",
		       name);
}

/*
 * The lock of S, held alone while nothing uses it, or -EBUSY. What ended a moment ago may still be
 * told of: a file's release comes behind its close's back, and the reaper looks at each session.
 */
static int be_alone(struct session *s)
{
	uint64_t end = clock_ms() + MOMENT_MS;
	int fd;

	do {
		fd = store_hold(NULL, &s->all->store, s->name, true);
		if (fd != -EBUSY && !session_in_use(s))
			return fd;
		if (fd >= 0)
			close(fd);
		usleep(MOMENT_STEP_US);
	} while (clock_ms() < end);
	return -EBUSY;
}

int sessions_give(struct session *s, const char *owner, struct err *err)
{
	struct giving *g;
	uid_t uid;
	gid_t gid;
	int r = sessions_find_user(owner, &uid, &gid, err), alone;

	if (r < 0)
		return r;
	if (!s->all->mount->can_switch_user)
		return err_set(err, -EPERM, "owner: only a mount of root's has sessions of others");
	if (session_has_volume(s))
		return err_set(
		    err, -EOPNOTSUPP,
		    "owner: the files of session %s are in a volume of engine %s, and cannot "
		    "be given from here",
		    s->name, s->engine ? s->engine : "(default)");
	alone = be_alone(s);
	g = alone >= 0 ? calloc(1, sizeof(*g)) : NULL;
	if (!g) {
		closep(&alone);
		return busy(s->name, err);
	}
	*g = (struct giving){
	    .work.run = give_run, .s = sessions_ref(s), .alone = alone, .uid = uid, .gid = gid};
	r = pool_submit(s->all->works, &g->work, false);
	if (r < 0) {
		close(alone);
		sessions_unref(s);
		free(g);
	}
	return r;
}

/* ---- Ending ---- */

int sessions_release(struct sessions *all, const char *name, struct err *err)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	_cleanup_close_ int alone = -1;
	struct session *now = NULL;
	int r = sessions_find(all, name, &s, err);

	if (r < 0)
		return r;
	alone = be_alone(s);
	if (alone == -EBUSY)
		return busy(name, err);
	r = alone < 0 ? alone : store_forget(&all->store, name, s->id);
	if (r < 0)
		return err_set(err, r, "session %s: %s", name, strerror(-r));
	log_info("session %s: released", name);
	/* It is seen to be gone, or another is there by now. */
	(void)sessions_find(all, name, &now, NULL);
	sessions_unref(now);
	reaper_poke(all->reaper);
	return 0;
}

/* Its container goes: from its engine, where that is known, or wherever it is. */
static int clean_up(struct bk_req *req, struct sessions *all, const char *name, struct session *s,
		    struct err *err)
{
	_cleanup_free_ char *engine = NULL;
	int r;

	if (s)
		return reaper_clean_at(req, all, s->engine, err);
	r = store_volume(&all->store, name, &engine);
	return r == 0 ? reaper_clean_at(req, all, engine, err) : reaper_clean(req, all, err);
}

/* The volume of NAME, of which there is neither session nor container any more. */
static int destroy_volume(struct bk_req *req, struct sessions *all, const char *name,
			  struct err *err)
{
	_cleanup_free_ char *engine = NULL;
	char volume[VOLUME_NAME_SIZE];
	struct place *p;
	int r = store_volume(&all->store, name, &engine);

	if (r == -ENOENT)
		return 0;
	volume_name(&all->store, name, volume);
	if (r == 0)
		r = places_get(&all->places, engine, false, &p, err);
	if (r == 0)
		r = engine_volume_remove(req, p->engine, volume, err);
	if (r == 0)
		log_info("session %s: volume %s is removed", name, volume);
	return r < 0 ? err_prefix(err, r, "session %s: volume %s on engine %s", name, volume,
				  engine ? engine : "(default)")
		     : 0;
}

int sessions_destroy(struct bk_req *req, struct sessions *all, const char *name, struct err *err)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	int r;

	if (!name_is_plain(name))
		return err_set(err, -EINVAL, "\"%.80s\" is no name of a session", name);
	r = sessions_find(all, name, &s, err);
	if (r == 0)
		r = sessions_release(all, name, err);
	if (r < 0 && r != -ENOENT)
		return r;
	r = clean_up(req, all, name, s, err); /* before its files go */
	if (r >= 0)
		r = destroy_volume(req, all, name, err);
	if (r < 0)
		return r;
	r = store_destroy(req, &all->store, name);
	if (r == -ENOENT)
		return err_set(err, r, "session %s: there is none, and no workspace of one", name);
	return r < 0 ? err_set(err, r, "session %s: removing its workspace: %s", name, strerror(-r))
		     : 0;
}

/* ---- Use by commands ---- */

static int may_use(struct session *s, uid_t uid, struct err *err)
{
	if (uid == 0 || uid == session_uid(s))
		return 0;
	return err_set(err, -EPERM, "session %s is another user's", s->name);
}

/* "/alice/src": the name, and the rest or "". */
static int split_path(const char *path, char name[STORE_NAME_MAX + 1], const char **ret_rest)
{
	size_t n = strcspn(path + (*path == '/'), "/");

	if (n == 0 || n > STORE_NAME_MAX)
		return -ENOENT;
	snprintf(name, STORE_NAME_MAX + 1, "%.*s", (int)n, path + 1);
	*ret_rest = path + 1 + n;
	return 0;
}

int sessions_enter(struct bk *bk, uid_t uid, const char *path, const char *name, struct bk_use *ret,
		   char **ret_dir, struct err *err)
{
	struct sessions *all = container_of(bk, struct sessions, bk);
	char in_path[STORE_NAME_MAX + 1] = "";
	const char *rest = path;
	struct session *s;
	int r = 0;

	if (name && strncmp(name, "session:", 8) == 0)
		name += 8;
	if (!name && all->only)
		name = all->only->name;
	else if (!name)
		r = split_path(path, in_path, &rest);
	if (r < 0)
		return err_set(err, r, "%s: go to a session's directory, or name it with --sandbox",
			       bk->route);
	r = sessions_find(all, name ? name : in_path, &s, err);
	if (r < 0)
		return r;
	r = may_use(s, uid, err);
	if (r == 0 && ret_dir && rest && asprintf(ret_dir, "%s%s", s->workdir, rest) < 0)
		r = -ENOMEM;
	if (r < 0) {
		sessions_unref(s);
		return r;
	}
	session_enter(s);
	*ret = (struct bk_use){.bk = &s->bk, .name = s->name, .keeper = s, .ops = bk->ops};
	return 0;
}

void sessions_leave(void *keeper)
{
	struct session *s = keeper;

	session_leave(s);
	sessions_unref(s);
}

/* ---- Beginning and end ---- */

int sessions_init(struct sessions *all, const struct bk_mount *mount, bool one,
		  const struct bk_ops *ops, const char *route, const cJSON *options,
		  struct err *err)
{
	int r = bk_init(&all->bk, ops, route);

	if (r < 0)
		return r;
	all->mount = mount;
	all->store = (struct store){.fd = -1, .daemons_fd = -1};
	all->bk.no_host_exec = true;
	clock_gettime(CLOCK_REALTIME, &all->made);
	pthread_mutex_init(&all->lock, NULL);
	r = sessions_conf_parse(&all->conf, mount, one, options, err);
	if (r < 0) {
		pthread_mutex_destroy(&all->lock);
		bk_done(&all->bk);
		return r;
	}
	places_init(&all->places, mount, all->conf.timeout);
	return 0;
}

int sessions_start(struct bk_req *req, struct sessions *all,
		   void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	int r = store_open(all->conf.workspace_root, &all->store, err);

	if (r < 0)
		return r;
	r = pool_new(&(struct pool_conf){.threads = 2, .queue = 64, .idle_ms = 5000}, &all->works);
	if (r < 0)
		return r;
	snprintf(all->mount_id, sizeof(all->mount_id), "root-%s", all->store.id);
	return reaper_start(req, all, progress, ctx, err);
}

void sessions_done(struct sessions *all)
{
	struct session *s, *next;

	reaper_stop(all);
	pool_end(all->works);
	HASH_ITER (hh, all->table, s, next) {
		HASH_DEL(all->table, s);
		session_free(s);
	}
	for (s = all->dead; s; s = next) {
		next = s->next_dead;
		session_free(s);
	}
	reaper_end(all, all->store.fd >= 0 && store_last(&all->store));
	store_close(&all->store);
	places_done(&all->places);
	sessions_conf_done(&all->conf);
	pthread_mutex_destroy(&all->lock);
	bk_done(&all->bk);
}
