/*
 * .aib/runtimes/NAME: the definition as JSON, and what is known of its image.
 */
#include "control/control.h"

#include "runtime_state.h"

#include <string.h>

static const char *const state_names[] = {"not built", "building", "built", "failed"};

static bool add_state(cJSON *obj, struct known *k)
{
	bool ok;

	if (!runtime_is_built(&k->rt))
		return cJSON_AddStringToObject(obj, "state", "no build needed");
	pthread_mutex_lock(&k->lock);
	ok = cJSON_AddStringToObject(obj, "built_image", k->recipe.tag) &&
	     cJSON_AddStringToObject(obj, "state", state_names[k->state]) &&
	     (!k->engine[0] || cJSON_AddStringToObject(obj, "engine", k->engine)) &&
	     (k->state != RUNTIME_BUILDING || cJSON_AddStringToObject(obj, "progress", k->line)) &&
	     (k->state != RUNTIME_FAILED || cJSON_AddStringToObject(obj, "error", k->error.text));
	pthread_mutex_unlock(&k->lock);
	return ok;
}

static int show(void *object, struct buf *out)
{
	struct known *k = object;
	cJSON *obj = runtime_json(&k->rt);
	_cleanup_free_ char *text = obj && add_state(obj, k) ? cJSON_Print(obj) : NULL;

	cJSON_Delete(obj);
	return text ? buf_addf(out, "%s\n", text) : -ENOMEM;
}

int runtimes_add_control(struct runtimes *rs, struct bk *control)
{
	static const struct control_file_ops file = {.show = show};
	struct control_dir *dir;
	int r = control_add_dir(control, NULL, "runtimes", &(struct control_dir_conf){0}, &dir);

	for (size_t i = 0; r == 0 && i < rs->n; i++)
		r = control_add_file(control, dir, rs->list[i].rt.name, &file, &rs->list[i]);
	return r;
}
