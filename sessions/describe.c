/*
 * What a new session is to be: the options of its container, the engine that it goes to, and
 * whether its workspace is a volume there. Nothing here blocks.
 */
#include "sessions.h"

#include <string.h>
#include <time.h>

static bool add_number(cJSON *o, const char *key, double n)
{
	return cJSON_AddNumberToObject(o, key, n) != NULL;
}

static const char *engine_of(const cJSON *box)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(box, "engine"));
}

static int set_engine(cJSON *box, const char *engine)
{
	cJSON_DeleteItemFromObjectCaseSensitive(box, "engine");
	return !engine || cJSON_AddStringToObject(box, "engine", engine) ? 0 : -ENOMEM;
}

/* The options of its container: the route's, and what is said of it. */
static int make_box(const struct sessions *all, const struct sessions_wish *w, cJSON **ret)
{
	cJSON *box = cJSON_Duplicate(all->conf.box, true);
	const cJSON *v;

	if (!box)
		return -ENOMEM;
	cJSON_ArrayForEach (v, w->box) {
		cJSON *copy = cJSON_Duplicate(v, true);

		cJSON_DeleteItemFromObjectCaseSensitive(box, v->string);
		if (!copy || !cJSON_AddItemToObject(box, v->string, copy)) {
			cJSON_Delete(box);
			return -ENOMEM;
		}
	}
	*ret = box;
	return 0;
}

/* An earlier session of NAME has left a volume: where that is, it goes. 1; 0 where there is none.
 */
static int follow_volume(struct sessions *all, const char *name, const struct sessions_wish *w,
			 cJSON *box, struct err *err)
{
	_cleanup_free_ char *engine = NULL;
	const char *wanted = w->box ? engine_of(w->box) : NULL;
	int r = store_volume(&all->store, name, &engine);

	if (r == -ENOENT || r == -EINVAL) /* no name either: that is said later */
		return 0;
	if (r < 0)
		return err_set(err, r, "session %s: its file \"volume\": %s", name, strerror(-r));
	if (wanted && (!engine || strcmp(engine, wanted) != 0))
		return err_set(err, -EEXIST,
			       "session %s: its workspace is on engine %s (aib session rm "
			       "--workspace %s deletes it)",
			       name, engine ? engine : "(default)", name);
	r = set_engine(box, engine);
	return r < 0 ? r : 1;
}

/* On which engine it is, and whether its workspace is a volume there. */
static int choose_place(struct sessions *all, const char *name, const struct sessions_wish *w,
			cJSON *box, bool *ret_volume, struct err *err)
{
	struct place *p = NULL;
	int r = follow_volume(all, name, w, box, err);

	if (r != 0) {
		*ret_volume = true;
		return r < 0 ? r : 0;
	}
	if (!engine_of(box))
		p = places_pick(&all->places);
	if (p)
		r = set_engine(box, p->name);
	else
		r = places_get(&all->places, engine_of(box), false, &p, err);
	if (r == 0)
		r = place_has_volumes(p, &all->conf, err);
	if (r < 0)
		return r;
	*ret_volume = r;
	if (*ret_volume && store_workspace_empty(&all->store, name) == 0)
		return err_set(
		    err, -EEXIST,
		    "session %s: its workspace is the directory %s/%s/workspace, and would "
		    "be a volume of engine %s: move it away first",
		    name, all->store.path, name, engine_host(p->engine));
	return 0;
}

/* What session.json is to say; BOX is taken, also on failure. */
static int make_json(const struct sessions *all, const struct sessions_wish *w, cJSON *box,
		     bool volume, cJSON **ret)
{
	const struct sessions_conf *c = &all->conf;
	cJSON *json = cJSON_CreateObject();
	uint64_t idle = w->idle_timeout ? w->idle_timeout : c->idle_timeout;

	if (!json || !cJSON_AddItemToObject(json, "docker", box)) {
		cJSON_Delete(json);
		cJSON_Delete(box);
		return -ENOMEM;
	}
	if (!add_number(json, "version", 1) || !add_number(json, "created", time(NULL)) ||
	    !add_number(json, "idle_timeout", idle) ||
	    !add_number(json, "remove_after", c->remove_after) ||
	    !cJSON_AddStringToObject(json, "idle_action",
				     c->idle_action ? c->idle_action : "stop") ||
	    !cJSON_AddStringToObject(json, "workspace", volume ? "volume" : "host")) {
		cJSON_Delete(json);
		return -ENOMEM;
	}
	*ret = json;
	return 0;
}

int sessions_describe(struct sessions *all, const char *name, const struct sessions_wish *w,
		      cJSON **ret, bool *ret_volume, struct err *err)
{
	cJSON *box = NULL;
	int r = make_box(all, w, &box);

	if (r == 0)
		r = choose_place(all, name, w, box, ret_volume, err);
	if (r == 0)
		return make_json(all, w, box, *ret_volume, ret);
	cJSON_Delete(box);
	return r;
}
