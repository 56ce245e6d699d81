/* The requests of `aib session`. Those that others may make besides who may do all say so. */
#include "request.h"

#include "../backends/base/units.h"
#include "runtimes.h"
#include "sessions.h"

#include <cjson/cJSON.h>
#include <string.h>

struct asked {
	struct sessions_control *sc;
	struct bk_req *req;
	bool all;
	const cJSON *json;
	const char *name;
};

static const char *text_of(const cJSON *o, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
}

static bool is_awake(struct session *s)
{
	bool awake;

	pthread_mutex_lock(&s->lock);
	awake = s->box != NULL;
	pthread_mutex_unlock(&s->lock);
	return awake;
}

/* The session that is named. Two routes may have it, of one root: the one that knows more. */
static int find_any(const struct asked *a, const char *name, struct session **ret, struct err *err)
{
	struct session *best = NULL, *s = NULL;
	int r = -ENOENT;

	for (size_t i = 0; i < a->sc->n && (r == 0 || r == -ENOENT); i++) {
		r = sessions_find(a->sc->list[i], name, &s, err);
		if (r < 0)
			continue;
		if (best && !is_awake(s)) {
			sessions_unref(s);
			continue;
		}
		sessions_unref(best);
		best = s;
	}
	if (!best)
		return r;
	*ret = best;
	return 0;
}

/* The same, where who asks may use it. */
static int find(const struct asked *a, struct session **ret, struct err *err)
{
	struct session *s = NULL;
	int r = find_any(a, a->name, &s, err);

	if (r < 0)
		return r;
	if (!a->all && session_uid(s) != a->req->uid) {
		sessions_unref(s);
		return err_set(err, -EPERM, "session %s is another user's", a->name);
	}
	*ret = s;
	return 0;
}

/* Lines of `key value` as an object. */
static cJSON *described(struct session *s)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	cJSON *o = cJSON_CreateObject();
	char *save = NULL, *line = NULL;

	cJSON_AddStringToObject(o, "name", s->name);
	cJSON_AddStringToObject(o, "path", s->workspace->route);
	if (s->bk.ops->sandbox->status(&s->bk, &text) == 0 && text.data)
		line = strtok_r(text.data, "\n", &save);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ' ');

		if (value)
			*value++ = '\0';
		if (!cJSON_GetObjectItemCaseSensitive(o, line))
			cJSON_AddStringToObject(o, line, value ? value : "");
	}
	return o;
}

/* ---- One ---- */

/* What a new session is to have of its own; the rest is the route's. */
static int wish_of(const struct asked *a, struct sessions_wish *w, cJSON **ret_box, struct err *err)
{
	static const char *const known[] = {"op", "do", "name", "owner", "idle_timeout", "version"};
	const char *idle = text_of(a->json, "idle_timeout");
	const cJSON *v;

	*w = (struct sessions_wish){
	    .maker = a->req->uid,
	    .maker_gid = a->req->gid,
	    .owner = text_of(a->json, "owner"),
	};
	if (idle && (option_duration(idle, &w->idle_timeout) < 0 || w->idle_timeout < 1000))
		return err_set(err, -EINVAL, "idle_timeout \"%s\": expected at least 1s", idle);
	*ret_box = cJSON_CreateObject();
	cJSON_ArrayForEach (v, a->json) {
		size_t i = 0;

		while (i < ARRAY_SIZE(known) && strcmp(known[i], v->string) != 0)
			i++;
		if (i == ARRAY_SIZE(known))
			cJSON_AddItemToObject(*ret_box, v->string, cJSON_Duplicate(v, true));
	}
	w->box = *ret_box;
	return 0;
}

/* A runtime in BOX becomes its image, which is built where it is not there. */
static int resolve_runtime(const struct asked *a, struct sessions *all, cJSON **box,
			   struct err *err)
{
	const char *engine = text_of(*box, "engine");
	const struct runtime_want want = {
	    .name = text_of(*box, "runtime"),
	    .engine = engine ? engine : text_of(all->conf.box, "engine"),
	};
	_cleanup_(runtime_image_done) struct runtime_image image = {NULL};
	cJSON *resolved = NULL;
	int r;

	if (!want.name)
		return 0;
	if (!all->mount->runtimes)
		return err_set(err, -EINVAL, "runtime %s: this mount has none", want.name);
	r = runtimes_image(a->req, all->mount->runtimes, &want, NULL, NULL, &image, err);
	if (r == 0)
		r = runtimes_options(&image, *box, &resolved);
	if (r < 0)
		return r;
	cJSON_Delete(*box);
	*box = resolved;
	return 0;
}

static int get(const struct asked *a, cJSON **ret, struct err *err)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	struct sessions *all = a->sc->list[0];
	struct sessions_wish wish;
	cJSON *box = NULL;
	int r = find(a, &s, err);

	if (r == 0) {
		*ret = described(s);
		return 0;
	}
	if (r != -ENOENT)
		return r;
	if (!a->all && !all->conf.anyone)
		return err_set(err, -EPERM,
			       "only the mount's owner makes sessions here (create=anyone)");
	r = wish_of(a, &wish, &box, err);
	/* Its own options are a sandbox's way to the host: volumes, user, engine. */
	if (r == 0 && !a->all && cJSON_GetArraySize(box) > 0)
		r = err_set(err, -EPERM, "only the mount's owner gives a session options");
	if (r == 0)
		r = resolve_runtime(a, all, &box, err);
	wish.box = box;
	if (r == 0)
		r = sessions_conf_check(&all->conf, all->mount, box, err);
	if (r == 0)
		r = sessions_get(all, a->name, &wish, &s, err);
	cJSON_Delete(box);
	if (r == 0)
		*ret = described(s);
	return r;
}

static int status(const struct asked *a, cJSON **ret, struct err *err)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	int r = find(a, &s, err);

	if (r == 0)
		*ret = described(s);
	return r;
}

static int release(const struct asked *a, cJSON **ret, struct err *err)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	int r = find(a, &s, err);

	if (r == 0)
		r = sessions_release(s->all, a->name, err);
	if (r == 0)
		*ret = cJSON_CreateObject();
	return r;
}

static int rm(const struct asked *a, cJSON **ret, struct err *err)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	struct sessions *all = a->sc->list[0];
	int r;

	if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(a->json, "workspace")))
		return release(a, ret, err);
	r = find(a, &s, err);
	if (r == 0)
		all = s->all;
	else if (r != -ENOENT || !a->all) /* a workspace without a session is nobody's but ours */
		return r;
	r = sessions_destroy(a->req, all, a->name, err);
	if (r == 0)
		*ret = cJSON_CreateObject();
	return r;
}

/* ---- All ---- */

struct listing_sessions {
	const struct asked *asked;
	cJSON *list;
};

static void list_one(void *ctx, struct session *s)
{
	struct listing_sessions *l = ctx;
	const cJSON *had;

	cJSON_ArrayForEach (had, l->list)
		if (strcmp(text_of(had, "workspace"), s->workspace->ops->host_dir(s->workspace)) ==
		    0)
			return;
	if (l->asked->all || session_uid(s) == l->asked->req->uid)
		cJSON_AddItemToArray(l->list, described(s));
}

static int ls(const struct asked *a, cJSON **ret, struct err *err)
{
	cJSON *o = cJSON_CreateObject();
	struct listing_sessions l = {a, cJSON_AddArrayToObject(o, "sessions")};
	int r = 0;

	for (size_t i = 0; i < a->sc->n && r == 0; i++)
		r = sessions_each(a->sc->list[i], list_one, &l);
	if (r < 0)
		cJSON_Delete(o);
	else
		*ret = o;
	return r;
}

static int counted(const struct asked *a,
		   int (*act)(struct bk_req *, struct sessions *, struct err *), cJSON **ret,
		   struct err *err)
{
	int n = 0;

	if (!a->all)
		return err_set(err, -EPERM, "only the mount's owner may do that");
	for (size_t i = 0; i < a->sc->n; i++) {
		int r = act(a->req, a->sc->list[i], err);

		if (r < 0)
			return r;
		n += r;
	}
	*ret = cJSON_CreateObject();
	cJSON_AddNumberToObject(*ret, "count", n);
	return 0;
}

static int cleanup(const struct asked *a, cJSON **ret, struct err *err)
{
	return counted(a, reaper_clean, ret, err);
}

static int shut_down(const struct asked *a, cJSON **ret, struct err *err)
{
	return counted(a, reaper_sleep_all, ret, err);
}

int sessions_answer(struct sessions_control *sc, struct bk_req *req, bool all, const cJSON *request,
		    cJSON **ret, struct err *err)
{
	static const struct {
		const char *name;
		bool named;
		int (*run)(const struct asked *, cJSON **, struct err *);
	} verbs[] = {
	    {"get", true, get},
	    {"release", true, release},
	    {"status", true, status},
	    {"rm", true, rm},
	    {"ls", false, ls},
	    {"cleanup", false, cleanup},
	    {"shutdown", false, shut_down},
	};
	struct asked a = {sc, req, all, request, text_of(request, "name")};
	const char *what = text_of(request, "do");

	if (sc->n == 0)
		return err_set(
		    err, -ENOENT,
		    "this mount has no sessions: mount it with a route of type sessions");
	for (size_t i = 0; what && i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, what) != 0)
			continue;
		if (verbs[i].named && !a.name)
			return err_set(err, -EINVAL, "session %s: which one?", what);
		return verbs[i].run(&a, ret, err);
	}
	return err_set(err, -EINVAL, "session: unknown request \"%.32s\"", what ? what : "");
}
