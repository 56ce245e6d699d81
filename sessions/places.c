#include "places.h"

#include "../backends/base/json.h"
#include "../backends/base/log.h"

#include <string.h>

void places_init(struct places *p, const struct bk_mount *mount, uint64_t timeout_ms)
{
	*p = (struct places){.mount = mount, .timeout_ms = timeout_ms};
	pthread_mutex_init(&p->lock, NULL);
}

void places_done(struct places *p)
{
	for (size_t i = 0; i < p->n; i++) {
		engine_close(p->list[i].engine);
		free(p->list[i].name);
		gate_done(&p->list[i].looking);
	}
	pthread_mutex_destroy(&p->lock);
}

size_t places_count(struct places *p)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->n;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static bool same_name(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static int add_locked(struct places *p, const char *name, bool of_pool, struct err *err)
{
	struct place *new = &p->list[p->n];
	char *copy = name ? strdup(name) : NULL;
	struct engine *engine;
	int r = p->n == PLACES_MAX ? err_set(err, -E2BIG, "more than %d engines", PLACES_MAX) : 0;

	if (r == 0 && name && !copy)
		r = -ENOMEM;
	if (r == 0)
		r = engine_open_named(name, p->mount->engines, p->timeout_ms, &engine, err);
	if (r < 0) {
		free(copy);
		return r;
	}
	*new = (struct place){.name = copy, .engine = engine, .of_pool = of_pool};
	gate_init(&new->looking);
	p->n++;
	return 0;
}

int places_get(struct places *p, const char *name, bool of_pool, struct place **ret,
	       struct err *err)
{
	size_t i = 0;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	while (i < p->n && !same_name(p->list[i].name, name))
		i++;
	if (i == p->n)
		r = add_locked(p, name, of_pool, err);
	if (r == 0)
		*ret = &p->list[i];
	pthread_mutex_unlock(&p->lock);
	return r;
}

static void add(struct places *p, const char *name, bool of_pool)
{
	struct place *unused;
	struct err err = {""};

	if (places_get(p, name, of_pool, &unused, &err) < 0)
		log_warning("engine %s: %s", name ? name : "(default)", err.text);
}

void places_add_route(struct places *p, const struct sessions_conf *c)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, c->pool)
		add(p, cJSON_GetStringValue(v), true);
	if (!c->pool)
		add(p, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(c->box, "engine")),
		    false);
}

static bool is_better(struct place *a, struct place *b)
{
	bool fails = atomic_load(&a->failing);
	unsigned ra = atomic_load(&a->running), rb = atomic_load(&b->running);

	if (fails != atomic_load(&b->failing))
		return !fails;
	return ra != rb ? ra < rb : atomic_load(&a->placed) < atomic_load(&b->placed);
}

struct place *places_pick(struct places *p)
{
	struct place *best = NULL;
	size_t n = places_count(p);

	for (size_t i = 0; i < n; i++)
		if (p->list[i].of_pool && (!best || is_better(&p->list[i], best)))
			best = &p->list[i];
	if (best)
		atomic_fetch_add(&best->placed, 1);
	return best;
}

const char *place_text(const struct place *p, char *buf, size_t size)
{
	const char *host = engine_host(p->engine);

	if (p->name && strcmp(p->name, host) != 0)
		snprintf(buf, size, "engine %s (%s)", p->name, host);
	else
		snprintf(buf, size, "engine %s", host);
	return buf;
}

int place_has_volumes(const struct place *p, const struct sessions_conf *c, struct err *err)
{
	bool here = engine_is_local(p->engine);

	if (!c->workspace)
		return !here;
	if (strcmp(c->workspace, "volume") == 0)
		return 1;
	if (here)
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "engine %s is not reached by a socket of this machine: a workspace is a "
		       "directory here, which it does not have (workspace=volume keeps it there)",
		       engine_host(p->engine));
}

/* ---- Before the mount ---- */

static int prepare(struct bk_req *req, struct place *p, const struct sessions_conf *c,
		   void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	int r = place_has_volumes(p, c, err);

	if (r >= 0)
		r = engine_ping(req, p->engine, err);
	if (r == 0)
		r = engine_image_need(req, p->engine, p->engine, json_text(c->box, "image"),
				      json_text(c->box, "pull"), c->start_timeout, progress, ctx,
				      err);
	return r < 0 ? r : 0;
}

int places_prepare(struct bk_req *req, struct places *p, const struct sessions_conf *c,
		   void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	int result = err_set(err, -EIO, "no engine");
	size_t n = places_count(p);

	for (size_t i = 0; i < n; i++) {
		struct place *one = &p->list[i];
		struct err own = {""};
		int r = prepare(req, one, c, progress, ctx, &own);

		one->failing = r < 0;
		if (r == 0)
			result = 0;
		else if (result < 0)
			result = err_set(err, r, "%s", own.text);
		if (r == -EOPNOTSUPP)
			return err_set(err, r, "%s", own.text);
		if (r < 0 && one->of_pool)
			log_warning("engines: %s: %s", one->name, own.text);
	}
	return result;
}
