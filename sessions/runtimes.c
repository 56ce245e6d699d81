#include "runtimes.h"

#include "base/suggest.h"
#include "runtime_state.h"

#include <string.h>

static void known_done(struct known *k)
{
	runtime_done(&k->rt);
	recipe_done(&k->recipe);
	pthread_mutex_destroy(&k->lock);
}

/* ---- Making ---- */

/* Each of the configuration, then those built in that it does not have. */
static int add(struct runtimes *rs, const char *name, const cJSON *obj, bool builtin,
	       struct err *err)
{
	struct known *k = &rs->list[rs->n];
	int r = runtime_parse(name, obj, &k->rt, err);

	if (r < 0)
		return r;
	pthread_mutex_init(&k->lock, NULL);
	rs->n++;
	k->rt.builtin = builtin;
	r = runtime_is_built(&k->rt) ? recipe_make(&k->rt, &k->recipe) : 0;
	return r == -E2BIG ? err_set(err, r, "its recipe is too long") : r;
}

static int add_configured(struct runtimes *rs, const cJSON *runtimes, struct err *err)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, runtimes) {
		int r = add(rs, v->string, v, false, err);

		if (r < 0)
			return err_prefix(err, r, "runtimes: %s", v->string);
	}
	return 0;
}

static int add_builtin(struct runtimes *rs, struct err *err)
{
	const char *name, *json;

	for (size_t i = 0; (json = runtime_builtin(i, &name)); i++) {
		cJSON *obj;
		int r;

		if (cJSON_GetObjectItemCaseSensitive(rs->conf.runtimes, name))
			continue;
		obj = cJSON_Parse(json);
		r = obj ? add(rs, name, obj, true, err) : -ENOMEM;
		cJSON_Delete(obj);
		if (r < 0)
			return r;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct known *)a)->rt.name, ((const struct known *)b)->rt.name);
}

int runtimes_new(const struct runtimes_conf *conf, struct runtimes **ret, struct err *err)
{
	_cleanup_(runtimes_freep) struct runtimes *rs = calloc(1, sizeof(*rs));
	size_t n = cJSON_GetArraySize(conf->runtimes);
	const char *name;
	int r;

	if (!rs)
		return -ENOMEM;
	rs->conf = *conf;
	while (runtime_builtin(n - cJSON_GetArraySize(conf->runtimes), &name))
		n++;
	rs->list = calloc(n, sizeof(*rs->list));
	if (!rs->list)
		return -ENOMEM;
	r = add_configured(rs, conf->runtimes, err);
	if (r == 0)
		r = add_builtin(rs, err);
	if (r < 0)
		return r;
	qsort(rs->list, rs->n, sizeof(*rs->list), by_name);
	*ret = TAKE(rs);
	return 0;
}

void runtimes_free(struct runtimes *rs)
{
	if (!rs)
		return;
	for (size_t i = 0; i < rs->n; i++)
		known_done(&rs->list[i]);
	free(rs->list);
	free(rs);
}

/* ---- Finding ---- */

int runtimes_find(const struct runtimes *rs, const char *name, const struct runtime **ret,
		  struct err *err)
{
	struct suggest s = {.word = name};

	for (size_t i = 0; i < rs->n; i++) {
		if (strcmp(rs->list[i].rt.name, name) == 0) {
			*ret = &rs->list[i].rt;
			return 0;
		}
		suggest_offer(&s, rs->list[i].rt.name);
	}
	if (s.best)
		return err_set(err, -EINVAL, "unknown runtime \"%s\" (did you mean \"%s\"?)", name,
			       s.best);
	return err_set(err, -EINVAL, "unknown runtime \"%s\" (aib runtime ls)", name);
}

const struct runtime *runtimes_at(const struct runtimes *rs, size_t i)
{
	return i < rs->n ? &rs->list[i].rt : NULL;
}

/* ---- What is known ---- */

void known_begin(struct known *k, const char *engine)
{
	pthread_mutex_lock(&k->lock);
	k->building++;
	k->state = RUNTIME_BUILDING;
	k->line[0] = '\0';
	snprintf(k->engine, sizeof(k->engine), "%s", engine);
	pthread_mutex_unlock(&k->lock);
}

void known_line(struct known *k, const char *text)
{
	pthread_mutex_lock(&k->lock);
	snprintf(k->line, sizeof(k->line), "%s", text);
	pthread_mutex_unlock(&k->lock);
}

void known_end(struct known *k, int r, const struct err *err)
{
	pthread_mutex_lock(&k->lock);
	if (--k->building == 0 || r < 0)
		k->state = r == 0	 ? RUNTIME_BUILT
			   : r == -EINTR ? RUNTIME_NOT_BUILT
					 : RUNTIME_FAILED;
	if (r < 0 && r != -EINTR)
		k->error = *err;
	pthread_mutex_unlock(&k->lock);
}

void known_found(struct known *k, const char *engine)
{
	pthread_mutex_lock(&k->lock);
	if (k->building == 0) {
		k->state = RUNTIME_BUILT;
		snprintf(k->engine, sizeof(k->engine), "%s", engine);
	}
	pthread_mutex_unlock(&k->lock);
}
