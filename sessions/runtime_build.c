/*
 * From a runtime to an image: look for it, else take the lock of its builder, look again, get its
 * base, build.
 */
#include "build_lock.h"
#include "runtime_state.h"

#include "base/log.h"

#include <string.h>

/* One call of runtimes_image. */
struct work {
	struct bk_req *req;
	const struct runtimes *rs;
	struct known *k;
	const char *pull;
	struct engine *engine;
	void (*progress)(void *ctx, const char *text);
	void *ctx;
	struct err *err;
	bool waited;	/* another one built it meanwhile */
	char said[256]; /* the newest that was told while it did */
};

static bool pull_is(const struct work *w, const char *how)
{
	return w->pull && strcmp(w->pull, how) == 0;
}

/* Something goes on, here or with who builds: it is as good for the deadline as a byte. */
static void extend(struct work *w)
{
	uint64_t ms = w->rs->conf.build_timeout_ms;

	if (bk_req_left_ms(w->req, ms) < ms)
		bk_req_extend(w->req, ms);
}

static void line(void *ctx, const char *text)
{
	struct work *w = ctx;

	extend(w);
	known_line(w->k, text);
	log_debug("runtime %s: %s", w->k->rt.name, text);
	if (w->progress)
		w->progress(w->ctx, text);
}

/* Another one builds: what it does is known where it is a thread of ours. Its build has an end too.
 */
static void waiting(void *ctx)
{
	char newest[sizeof(((struct work *)0)->said)] = "waiting for another build of it";
	struct work *w = ctx;

	w->waited = true;
	extend(w);
	pthread_mutex_lock(&w->k->lock);
	if (w->k->building && w->k->line[0])
		snprintf(newest, sizeof(newest), "%s", w->k->line);
	pthread_mutex_unlock(&w->k->lock);
	if (strcmp(newest, w->said) == 0)
		return;
	memcpy(w->said, newest, sizeof(w->said));
	if (w->progress)
		w->progress(w->ctx, newest);
}

/* ---- Steps ---- */

/* 1 where IMAGE is on the engine, 0 where not, or -errno. */
static int is_there(struct work *w, const char *image)
{
	cJSON *json = NULL;
	int r = engine_image_inspect(w->req, w->engine, image, &json, w->err);

	cJSON_Delete(json);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int get_base(struct work *w)
{
	int r = engine_image_need(w->req, w->engine, w->engine, w->k->rt.base_image, w->pull, 0,
				  line, w, w->err);

	return r < 0 ? r : 0;
}

static int labels_of(const struct known *k, cJSON **ret)
{
	cJSON *labels = cJSON_CreateObject();

	if (cJSON_AddStringToObject(labels, RECIPE_LABEL_RUNTIME, k->rt.name) &&
	    cJSON_AddStringToObject(labels, RECIPE_LABEL_HASH, k->recipe.hash)) {
		*ret = labels;
		return 0;
	}
	cJSON_Delete(labels);
	return -ENOMEM;
}

static int build_it(struct work *w)
{
	struct engine_build b = {
	    .dockerfile = w->k->recipe.dockerfile,
	    .tag = w->k->recipe.tag,
	    .network = w->rs->conf.build_network,
	    .no_cache = !w->k->rt.cache_image,
	    .timeout_ms = w->rs->conf.build_timeout_ms,
	};
	cJSON *labels = NULL;
	int r = labels_of(w->k, &labels);

	if (r < 0)
		return r;
	b.labels = labels;
	r = engine_image_build(w->req, w->engine, &b, line, w, w->err);
	cJSON_Delete(labels);
	if (r < 0)
		return err_prefix(w->err, r, "the build failed");
	r = is_there(w, b.tag);
	if (r == 0)
		return err_set(w->err, -EIO, "engine %s: the build ended without an image",
			       engine_host(w->engine));
	return r < 0 ? r : 0;
}

static char *id_of(struct work *w)
{
	cJSON *json = NULL;
	const char *id;
	char *copy = NULL;

	if (engine_image_inspect(w->req, w->engine, w->k->recipe.tag, &json, NULL) < 0)
		return NULL;
	id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "Id"));
	if (id)
		copy = strdup(id);
	cJSON_Delete(json);
	return copy;
}

/* The image of a recipe that is built anew each time loses its name to the next; OLD is its id. */
static void drop_old(struct work *w, const char *old)
{
	_cleanup_free_ char *id = id_of(w);
	struct err err = {""};
	int r = 0;

	if (id && strcmp(old, id) != 0)
		r = engine_image_remove(w->req, w->engine, old, &err);
	if (r < 0 && r != -EBUSY)
		log_warning("runtime %s: %s", w->k->rt.name, err.text);
}

static int make(struct work *w)
{
	_cleanup_free_ char *old = id_of(w);
	int r;

	known_begin(w->k, engine_host(w->engine));
	log_info("runtime %s: building %s on %s", w->k->rt.name, w->k->recipe.tag,
		 engine_host(w->engine));
	r = get_base(w);
	if (r == 0)
		r = build_it(w);
	if (r < 0 && bk_req_check(w->req) == -EINTR)
		r = err_set(w->err, -EINTR, "interrupted");
	known_end(w->k, r, w->err);
	if (r == 0 && old)
		drop_old(w, old);
	return r;
}

/* ---- All ---- */

/* Whether what is there will do; 1, 0 or -errno. */
static int is_done(struct work *w)
{
	bool again = !w->k->rt.cache_image || pull_is(w, "always");
	int r = again && !w->waited ? 0 : is_there(w, w->k->recipe.tag);

	if (r > 0)
		known_found(w->k, engine_host(w->engine));
	return r;
}

static int build_once(struct work *w)
{
	_cleanup_(build_unlock) struct build_lock lock = BUILD_LOCK_INIT;
	_cleanup_free_ char *text = NULL;
	char key[65];
	int r = is_done(w);

	if (r != 0)
		return r < 0 ? r : 0;
	if (asprintf(&text, "%s\n%s", engine_host(w->engine), w->k->recipe.tag) < 0)
		return -ENOMEM;
	r = recipe_hash(text, key);
	if (r < 0)
		return r;
	r = build_lock(w->req, key, waiting, w, &lock, w->err);
	if (r == 0)
		r = is_done(w);
	if (r == 0)
		r = make(w);
	return r < 0 ? r : 0;
}

int runtimes_engine(const struct runtimes *rs, const char *name, struct engine **ret,
		    struct err *err)
{
	return engine_open_named(name, rs->conf.engines, 0, ret, err);
}

int runtimes_image(struct bk_req *req, struct runtimes *rs, const struct runtime_want *want,
		   void (*progress)(void *ctx, const char *text), void *ctx,
		   struct runtime_image *ret, struct err *err)
{
	_cleanup_(engine_closep) struct engine *engine = NULL;
	const struct runtime *rt = NULL;
	struct err own = {""};
	struct work w = {
	    .req = req,
	    .rs = rs,
	    .pull = want->pull,
	    .progress = progress,
	    .ctx = ctx,
	    .err = err ? err : &own,
	};
	bool built;
	char *image;
	int r = runtimes_find(rs, want->name, &rt, w.err);

	if (r < 0)
		return r;
	built = runtime_is_built(rt);
	w.k = container_of(rt, struct known, rt);
	if (built) {
		r = runtimes_engine(rs, want->engine, &engine, w.err);
		w.engine = engine;
		if (r == 0)
			r = build_once(&w);
		if (r < 0)
			return err_prefix(w.err, r, "runtime %s", rt->name);
	}
	image = strdup(built ? w.k->recipe.tag : runtime_base(rt));
	if (!image)
		return -ENOMEM;
	*ret = (struct runtime_image){.runtime = rt, .image = image, .built = built};
	return 0;
}

void runtime_image_done(struct runtime_image *image)
{
	free(TAKE(image->image));
}
