#include "runtime_images.h"

#include "runtime_state.h"

#include <string.h>

static const char *label(const cJSON *image, const char *key)
{
	const cJSON *labels = cJSON_GetObjectItemCaseSensitive(image, "Labels");

	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(labels, key));
}

static bool is_current(const struct runtimes *rs, const char *runtime, const char *hash)
{
	for (size_t i = 0; i < rs->n; i++)
		if (strcmp(rs->list[i].rt.name, runtime) == 0)
			return strcmp(rs->list[i].recipe.hash, hash) == 0;
	return false;
}

static int add(struct built_images *images, const char *name, const char *runtime, bool current)
{
	struct built_image *one,
	    *grown = reallocarray(images->list, images->n + 1, sizeof(*images->list));

	if (!grown)
		return -ENOMEM;
	images->list = grown;
	one = &grown[images->n++];
	*one = (struct built_image){
	    .name = strdup(name),
	    .runtime = strdup(runtime),
	    .current = current,
	};
	return one->name && one->runtime ? 0 : -ENOMEM;
}

/* Podman tells names as of Docker's registry; any other's is somebody's copy. */
static bool is_name(const char *name, const char *ours)
{
	static const char registry[] = "docker.io/library/";

	if (name && strncmp(name, registry, strlen(registry)) == 0)
		name += strlen(registry);
	return name && strcmp(name, ours) == 0;
}

/* Where IMAGE has the name that we gave it. */
static int add_if_ours(struct built_images *images, const struct runtimes *rs, const cJSON *image)
{
	const char *runtime = label(image, RECIPE_LABEL_RUNTIME);
	const char *hash = label(image, RECIPE_LABEL_HASH);
	char ours[RECIPE_MAX_TAG];
	const cJSON *v;

	if (!runtime || !hash || runtime_check_name(runtime, NULL) < 0)
		return 0;
	recipe_tag(runtime, hash, ours);
	cJSON_ArrayForEach (v, cJSON_GetObjectItemCaseSensitive(image, "RepoTags"))
		if (is_name(cJSON_GetStringValue(v), ours))
			return add(images, ours, runtime, is_current(rs, runtime, hash));
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct built_image *)a)->name, ((const struct built_image *)b)->name);
}

int built_images_find(struct bk_req *req, const struct runtimes *rs, struct engine *e,
		      const char *name, struct built_images *ret, struct err *err)
{
	_cleanup_(built_images_done) struct built_images images = {0};
	_cleanup_free_ char *filter = NULL;
	cJSON *json = NULL;
	const cJSON *v;
	int r = 0;

	if (asprintf(&filter, "%s%s%s", RECIPE_LABEL_RUNTIME, name ? "=" : "", name ? name : "") <
	    0)
		return -ENOMEM;
	r = engine_image_list(req, e, filter, &json, err);
	if (r < 0)
		return r;
	cJSON_ArrayForEach (v, json)
		if (r == 0)
			r = add_if_ours(&images, rs, v);
	cJSON_Delete(json);
	if (r < 0)
		return r;
	if (images.n > 0)
		qsort(images.list, images.n, sizeof(*images.list), by_name);
	*ret = images;
	images = (struct built_images){0};
	return 0;
}

void built_images_done(struct built_images *images)
{
	for (size_t i = 0; i < images->n; i++) {
		free(images->list[i].name);
		free(images->list[i].runtime);
	}
	free(TAKE(images->list));
	images->n = 0;
}

bool built_images_have(const struct built_images *images, const char *runtime)
{
	for (size_t i = 0; i < images->n; i++)
		if (images->list[i].current && strcmp(images->list[i].runtime, runtime) == 0)
			return true;
	return false;
}
