/*
 * The container of a session: what its docker backend is made of. Its name and labels have the
 * session's id, so that a new session of an old name never meets the old one's.
 */
#include "sessions.h"
#include "volume.h"

#include <string.h>

static bool add_text(cJSON *o, const char *key, const char *value)
{
	return o && cJSON_AddStringToObject(o, key, value);
}

static bool add_labels(const struct session *s, cJSON *o)
{
	cJSON *l = cJSON_AddObjectToObject(o, "labels");

	return add_text(l, "aib.root", s->all->store.id) &&
	       add_text(l, "aib.root.path", s->all->store.path) &&
	       add_text(l, "aib.session", s->name) && add_text(l, "aib.session.id", s->id);
}

/* The paths that the mount has are there too. */
static bool add_links(const struct session *s, cJSON *o)
{
	const char *mp = s->all->mount->mountpoint, *place = s->workspace->route;
	_cleanup_free_ char *workspace = NULL, *root = NULL;
	cJSON *l;

	if (!s->all->conf.host_paths)
		return true;
	l = cJSON_AddObjectToObject(o, "links");
	/* Where all of the mount is the workspace, what is below it is the workspace's. */
	if (strcmp(place, "/") == 0)
		return add_text(l, mp, s->workdir);
	if (asprintf(&workspace, "%s%s", mp, place) < 0 ||
	    asprintf(&root, "%s/.aib/sessions/%s/root", mp, s->name) < 0)
		return false;
	return add_text(l, workspace, s->workdir) && add_text(l, root, "/");
}

static int box_options(struct session *s, cJSON **ret)
{
	char name[160];
	cJSON *o;

	pthread_mutex_lock(&s->lock);
	o = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(s->json, "docker"), true);
	pthread_mutex_unlock(&s->lock);
	snprintf(name, sizeof(name), "aib-s-%.8s-%s-%.8s", s->all->store.id, s->name, s->id);
	if (add_text(o, "name", name) && add_text(o, "end", "leave") && add_labels(s, o) &&
	    cJSON_AddBoolToObject(o, "host_paths", false) && add_links(s, o)) {
		*ret = o;
		return 0;
	}
	cJSON_Delete(o);
	return -ENOMEM;
}

/* The volume at the workdir. That there is one is known before the engine makes it, and for good.
 */
static int add_volume(const struct session *s, cJSON *options, struct err *err)
{
	cJSON *o = cJSON_AddObjectToObject(options, "workspace");
	cJSON *l = cJSON_AddObjectToObject(o, "labels");
	char name[VOLUME_NAME_SIZE];
	int r;

	volume_name(&s->all->store, s->name, name);
	if (!add_text(o, "name", name) || !add_text(l, "aib.root", s->all->store.id) ||
	    !add_text(l, "aib.session", s->name))
		return -ENOMEM;
	r = store_keep_volume(&s->all->store, s->name, name, s->engine);
	return r < 0 ? err_set(err, r, "session %s: noting its volume: %s", s->name, strerror(-r))
		     : 0;
}

/* Where its workspace comes from: a directory that is bound in, or a volume. */
static int add_workspace(const struct session *s, cJSON *options, cJSON *binds, struct err *err)
{
	_cleanup_free_ char *place = NULL;

	if (session_has_volume(s))
		return add_volume(s, options, err);
	if (asprintf(&place, "%s:rw", s->workdir) < 0)
		return -ENOMEM;
	return add_text(binds, s->workspace->ops->host_dir(s->workspace), place) ? 0 : -ENOMEM;
}

int session_make_box(struct bk_req *req, struct session *s, struct bk **ret, struct err *err)
{
	_cleanup_free_ char *route = NULL;
	const struct bk_type *type;
	cJSON *options = NULL, *binds = cJSON_CreateObject();
	int r = bk_type_find("docker", &type, err);

	if (r == 0 && asprintf(&route, "/.aib/sessions/%s/root", s->name) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = box_options(s, &options);
	if (r == 0)
		r = add_workspace(s, options, binds, err);
	if (r == 0)
		r = type->make(&s->mount, route, options, binds, ret, err);
	cJSON_Delete(options);
	cJSON_Delete(binds);
	if (r < 0)
		return r;
	(*ret)->ino_space = s->spaces[1];
	(*ret)->no_host_exec = s->all->bk.no_host_exec;
	(*ret)->readonly = session_has_volume(s) && s->all->bk.readonly;
	r = (*ret)->ops->prepare(req, *ret, NULL, NULL, err);
	if (r < 0)
		bk_free(TAKE(*ret));
	return r;
}
