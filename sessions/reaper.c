/*
 * The reaper: one thread of each route looks, every now and then, at the containers of the root and
 * at the sessions of the disk. It remembers neither, so that it finds what any daemon has left. See
 * README.md for the locks that say who may end what.
 */
#include "../backends/base/clock.h"
#include "../backends/base/log.h"
#include "../backends/base/pool.h"
#include "../backends/base/thread.h"
#include "../backends/docker/engine.h"
#include "sessions.h"

#include <string.h>

#define LOOK_TIMEOUT_MS 60000
#define END_TIMEOUT_MS 5000 /* of all together; the daemon has ten seconds to end */
#define END_THREADS 8
#define ENGINES_MAX 64
#define GRACE_S 1

struct place {
	char *name; /* of the configuration, or NULL: the default engine */
	struct engine *engine;
	bool of_pool;	     /* new sessions may go there */
	atomic_bool failing; /* it did not answer last */
	atomic_uint running; /* containers of the root, as seen last, and placed since */
};

struct reaper {
	struct sessions *all;
	pthread_t thread;
	pthread_mutex_t looking; /* one looks at a time; guards the places and `all_idle` */
	bool all_idle;		 /* what is not in use counts as idle */
	struct place places[ENGINES_MAX];
	size_t n_places;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* guarded by lock */
	bool ending, poked;
	struct bk_req *running; /* cancelled at the end */
	bool joined;		/* of who ends it alone */
};

/* ---- Engines ---- */

static bool same_name(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static int open_engine(const struct bk_mount *mount, const char *name, struct engine **ret,
		       struct err *err)
{
	_cleanup_(engine_conf_done) struct engine_conf conf = {0};
	int r = engine_conf_find(name, mount->engines, &conf, err);

	return r < 0 ? r : engine_open(&conf, ret, err);
}

static void add_place(struct reaper *r, const char *name, bool of_pool)
{
	struct place p = {.name = name ? strdup(name) : NULL, .of_pool = of_pool};
	struct err err = {""};

	for (size_t i = 0; i < r->n_places; i++)
		if (same_name(r->places[i].name, name)) {
			free(p.name);
			return;
		}
	if (r->n_places < ENGINES_MAX && (p.name || !name) &&
	    open_engine(r->all->mount, name, &p.engine, &err) == 0) {
		r->places[r->n_places].name = p.name;
		r->places[r->n_places].engine = p.engine;
		r->places[r->n_places++].of_pool = of_pool;
		return;
	}
	log_warning("engine %s: %s", name ? name : "(default)", err.text);
	free(p.name);
}

static const char *engine_of(const cJSON *box)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(box, "engine"));
}

static void add_route_places(struct reaper *r)
{
	const struct sessions_conf *c = &r->all->conf;
	const cJSON *v;

	cJSON_ArrayForEach (v, c->pool)
		add_place(r, cJSON_GetStringValue(v), true);
	if (!c->pool)
		add_place(r, engine_of(c->box), false);
}

const char *reaper_place(struct reaper *r)
{
	struct place *best = NULL;

	/* The pool's come first, and stay. */
	for (size_t i = 0; i < ENGINES_MAX && r->places[i].of_pool; i++) {
		struct place *p = &r->places[i];

		if (!best || (atomic_load(&best->failing) && !atomic_load(&p->failing)) ||
		    (atomic_load(&best->failing) == atomic_load(&p->failing) &&
		     atomic_load(&p->running) < atomic_load(&best->running)))
			best = p;
	}
	if (best)
		atomic_fetch_add(&best->running, 1);
	return best ? best->name : NULL;
}

/* ---- Sessions that are known here ---- */

static void free_dead(struct session *dead)
{
	for (struct session *next; dead; dead = next) {
		next = dead->next_dead;
		session_free(dead);
	}
}

/* Those of before that nobody knows any more, to be freed without the lock. */
static struct session *take_dead_locked(struct sessions *all)
{
	struct session **at = &all->dead, *unknown = NULL;

	while (*at) {
		struct session *s = *at;

		if (s->refs > 0 || session_is_known(s)) {
			at = &s->next_dead;
			continue;
		}
		*at = s->next_dead;
		s->next_dead = unknown;
		unknown = s;
	}
	return unknown;
}

/* Tell others of files that are open here, learn of engines, and see how long one may wait. */
static uint64_t look_at_known(struct reaper *r)
{
	struct sessions *all = r->all;
	uint64_t period = all->conf.cleanup_interval;
	struct session *s, *next, *dead;

	add_route_places(r);
	pthread_mutex_lock(&all->lock);
	HASH_ITER (hh, all->table, s, next) {
		session_tell_files(s);
		pthread_mutex_lock(&s->lock);
		add_place(r, engine_of(cJSON_GetObjectItemCaseSensitive(s->json, "docker")), false);
		if (s->idle_timeout / 2 < period)
			period = s->idle_timeout / 2;
		pthread_mutex_unlock(&s->lock);
	}
	dead = take_dead_locked(all);
	pthread_mutex_unlock(&all->lock);
	free_dead(dead);
	return period < 500 ? 500 : period;
}

/* ---- Containers ---- */

struct found {
	const char *id, *session, *session_id, *state;
};

static const char *text_at(const cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : "";
}

static struct found found_of(const cJSON *c)
{
	const cJSON *labels = cJSON_GetObjectItemCaseSensitive(c, "Labels");

	return (struct found){
	    .id = text_at(c, "Id"),
	    .session = text_at(labels, "aib.session"),
	    .session_id = text_at(labels, "aib.session.id"),
	    .state = text_at(c, "State"),
	};
}

/* What is to be done with a container of S that is as FOUND says: a verb, or NULL. */
static const char *wanted(const struct reaper *r, struct session *s, const struct found *f)
{
	int64_t touched = store_touched(&s->all->store, s->name);
	/* What a killed daemon left may have jobs, which are found again from the mount on. */
	int64_t last = touched > r->all->made.tv_sec ? touched : r->all->made.tv_sec;
	int64_t idle = touched < 0 ? 0 : (int64_t)time(NULL) - last;
	const char *verb = NULL;

	pthread_mutex_lock(&s->lock);
	if ((r->all_idle || idle * 1000 > (int64_t)s->idle_timeout) &&
	    strcmp(f->state, "running") == 0)
		verb = strcmp(s->idle_action, "pause") == 0    ? "pause"
		       : strcmp(s->idle_action, "remove") == 0 ? "remove"
							       : "stop";
	else if (s->remove_after && strcmp(f->state, "running") != 0 &&
		 idle * 1000 > (int64_t)(s->idle_timeout + s->remove_after))
		verb = "remove";
	pthread_mutex_unlock(&s->lock);
	return verb;
}

static int act(struct bk_req *req, struct engine *e, const char *id, const char *verb,
	       struct err *err)
{
	if (strcmp(verb, "remove") == 0)
		return engine_container_remove(req, e, id, err);
	return engine_container_action(req, e, id, verb, GRACE_S, err);
}

/* 1 where something was done, 0 where it is in use or not idle. */
static int put_to_sleep(struct bk_req *req, const struct reaper *reaper, struct engine *e,
			struct session *s, const struct found *f, struct err *err)
{
	_cleanup_close_ int alone = -1;
	const char *verb;
	int r = gate_enter(req, &s->gate);

	if (r < 0)
		return r;
	alone = store_hold(NULL, &s->all->store, s->name, true);
	session_tell_files(s);
	verb = alone >= 0 && !session_in_use(s) ? wanted(reaper, s, f) : NULL;
	if (verb) {
		session_drop_box(s);
		r = act(req, e, f->id, verb, err);
	}
	if (verb && r == 0) {
		session_saw(s, false);
		log_info("session %s: idle: %s", s->name, verb);
	}
	gate_leave(&s->gate);
	return r < 0 ? r : verb != NULL;
}

/* A container of a session that is no more, or of an earlier one of the name. */
static int remove_leftover(struct bk_req *req, struct engine *e, const struct found *f,
			   struct err *err)
{
	int r = engine_container_remove(req, e, f->id, err);

	if (r == 0)
		log_info("session %s: its container %.12s was left, and is removed", f->session,
			 f->id);
	return r < 0 ? r : 1;
}

static int look_at(struct bk_req *req, struct reaper *r, struct engine *e, const struct found *f,
		   struct err *err)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	int found;

	if (!*f->id || !store_name_ok(f->session)) /* it only says that it is of ours */
		return 0;
	found = sessions_find(r->all, f->session, &s, err);
	if (found == -ENOENT || (found == 0 && strcmp(s->id, f->session_id) != 0))
		return remove_leftover(req, e, f, err);
	if (found < 0)
		return found;
	session_saw(s, strcmp(f->state, "running") == 0);
	return wanted(r, s, f) ? put_to_sleep(req, r, e, s, f, err) : 0;
}

static int look_at_place(struct bk_req *req, struct reaper *r, struct place *p, struct err *err)
{
	char label[64];
	cJSON *list = NULL;
	const cJSON *c;
	unsigned running = 0;
	int n = 0, result;

	snprintf(label, sizeof(label), "aib.root=%s", r->all->store.id);
	result = engine_container_list(req, p->engine, label, &list, err);
	cJSON_ArrayForEach (c, list) {
		struct found f = found_of(c);
		int one;

		running += strcmp(f.state, "running") == 0;
		bk_req_extend(req, LOOK_TIMEOUT_MS);
		one = look_at(req, r, p->engine, &f, err);
		if (one < 0)
			result = one;
		else
			n += one;
	}
	cJSON_Delete(list);
	if (result < 0 && !p->failing && result != -EINTR)
		log_warning("sessions of %s: %s", r->all->store.path, err->text);
	p->failing = result < 0;
	p->running = running;
	return result < 0 ? result : n;
}

static int look(struct bk_req *req, struct sessions *all, bool all_idle, struct err *err)
{
	struct reaper *r = all->reaper;
	int n = 0, result = 0;

	pthread_mutex_lock(&r->looking);
	r->all_idle = all_idle;
	(void)look_at_known(r);
	for (size_t i = 0; i < r->n_places; i++) {
		int one = look_at_place(req, r, &r->places[i], err);

		if (one < 0)
			result = one;
		else
			n += one;
	}
	pthread_mutex_unlock(&r->looking);
	return result < 0 ? result : n;
}

int reaper_clean(struct bk_req *req, struct sessions *all, struct err *err)
{
	return look(req, all, false, err);
}

int reaper_sleep_all(struct bk_req *req, struct sessions *all, struct err *err)
{
	return look(req, all, true, err);
}

/* ---- The thread ---- */

static struct timespec after(uint64_t ms)
{
	uint64_t t = clock_ms() + ms;

	return (struct timespec){.tv_sec = t / 1000, .tv_nsec = t % 1000 * 1000000};
}

/* False: it is to end. */
static bool set_running(struct reaper *r, struct bk_req *req)
{
	bool go;

	pthread_mutex_lock(&r->lock);
	r->running = req;
	go = !r->ending;
	pthread_mutex_unlock(&r->lock);
	return go;
}

static bool sleep_for(struct reaper *r, uint64_t ms)
{
	struct timespec until = after(ms);
	bool go;

	pthread_mutex_lock(&r->lock);
	while (!r->ending && !r->poked &&
	       pthread_cond_timedwait(&r->cond, &r->lock, &until) != ETIMEDOUT)
		;
	r->poked = false;
	go = !r->ending;
	pthread_mutex_unlock(&r->lock);
	return go;
}

static void *run(void *arg)
{
	struct reaper *r = arg;
	uint64_t period;

	for (;;) {
		struct bk_req req;
		struct err err = {""};

		pthread_mutex_lock(&r->looking);
		period = look_at_known(r);
		pthread_mutex_unlock(&r->looking);
		if (!sleep_for(r, period))
			return NULL;
		bk_req_init(&req, 0, 0, 0, LOOK_TIMEOUT_MS);
		if (set_running(r, &req))
			(void)reaper_clean(&req, r->all, &err);
		set_running(r, NULL);
		bk_req_done(&req);
	}
}

void reaper_poke(struct reaper *r)
{
	pthread_mutex_lock(&r->lock);
	r->poked = true;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

static void reaper_free(struct reaper *r)
{
	for (size_t i = 0; i < r->n_places; i++) {
		engine_close(r->places[i].engine);
		free(r->places[i].name);
	}
	pthread_mutex_destroy(&r->looking);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->cond);
	free(r);
}

/* The image is there, or comes. */
static int get_image(struct bk_req *req, struct sessions *all, struct engine *e,
		     void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	const char *image = text_at(all->conf.box, "image"), *pull = text_at(all->conf.box, "pull");
	cJSON *found = NULL;
	int r = -ENOENT;

	if (strcmp(pull, "always") != 0)
		r = engine_image_inspect(req, e, image, &found, err);
	cJSON_Delete(found);
	if (r != -ENOENT)
		return r;
	if (strcmp(pull, "never") == 0)
		return err_set(err, r, "image %s is not on engine %s, and pull=never", image,
			       engine_host(e));
	bk_req_extend(req, all->conf.start_timeout);
	r = engine_image_pull(req, e, image, progress, ctx, err);
	return r < 0 ? err_prefix(err, r, "pulling image %s", image) : 0;
}

/* A session's workspace is a directory of this machine, which another's engine does not have. */
static int prepare_place(struct bk_req *req, struct reaper *r, struct place *p,
			 void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	int e;

	if (!engine_is_local(p->engine))
		return err_set(
		    err, -EOPNOTSUPP,
		    "engine %s is not reached by a socket of this machine: a workspace is a "
		    "directory here, which it does not have",
		    engine_host(p->engine));
	e = engine_ping(req, p->engine, err);
	return e < 0 ? e : get_image(req, r->all, p->engine, progress, ctx, err);
}

/* All that the route may use; of a pool one at least. */
static int prepare_places(struct bk_req *req, struct reaper *r,
			  void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	int result = err_set(err, -EIO, "no engine");

	for (size_t i = 0; i < r->n_places; i++) {
		struct err own = {""};
		int e = prepare_place(req, r, &r->places[i], progress, ctx, &own);

		r->places[i].failing = e < 0;
		if (e == 0)
			result = 0;
		else if (result < 0)
			result = err_set(err, e, "%s", own.text);
		if (e == -EOPNOTSUPP)
			return err_set(err, e, "%s", own.text);
		if (e < 0 && r->places[i].of_pool)
			log_warning("engines: %s: %s", r->places[i].name, own.text);
	}
	return result;
}

static struct reaper *reaper_new(struct sessions *all)
{
	struct reaper *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->all = all;
	r->joined = true;
	pthread_mutex_init(&r->looking, NULL);
	pthread_mutex_init(&r->lock, NULL);
	cond_init(&r->cond);
	return r;
}

int reaper_start(struct bk_req *req, struct sessions *all,
		 void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	struct reaper *r = all->reaper = reaper_new(all);
	int e;

	if (!r)
		return -ENOMEM;
	(void)look_at_known(r);
	e = prepare_places(req, r, progress, ctx, err);
	if (e < 0)
		return e;
	/* What an earlier daemon has left is known before anybody asks. */
	(void)reaper_clean(req, all, &(struct err){""});
	e = thread_start(&r->thread, NULL, run, r);
	if (e < 0)
		return err_set(err, e, "cannot start a thread: %s", strerror(-e));
	r->joined = false;
	return 0;
}

/* ---- The end ---- */

struct ending {
	struct work work;
	struct engine *engine;
	uint64_t until_ms;
	char id[72], session[STORE_NAME_MAX + 1];
};

static void end_one(struct work *work)
{
	struct ending *x = container_of(work, struct ending, work);
	struct err err = {"there was no time to stop it; the next mount or aib prune does"};
	uint64_t now = clock_ms();
	struct bk_req req;

	bk_req_init(&req, 0, 0, 0, now < x->until_ms ? x->until_ms - now : 1);
	if (now >= x->until_ms || act(&req, x->engine, x->id, "stop", &err) < 0)
		log_warning("session %s: its container stays: %s", x->session, err.text);
	bk_req_done(&req);
	free(x);
}

static void end_place(struct reaper *r, struct place *p, struct pool *pool, uint64_t until_ms)
{
	struct err err = {""};
	struct bk_req req;
	cJSON *list = NULL;
	const cJSON *c;
	char label[64];

	bk_req_init(&req, 0, 0, 0, END_TIMEOUT_MS);
	snprintf(label, sizeof(label), "aib.root=%s", r->all->store.id);
	if (engine_container_list(&req, p->engine, label, &list, &err) < 0)
		log_warning("sessions of %s: their containers stay: %s", r->all->store.path,
			    err.text);
	bk_req_done(&req);
	cJSON_ArrayForEach (c, list) {
		struct found f = found_of(c);
		struct ending *x;

		if (strcmp(f.state, "running") != 0 || !store_name_ok(f.session))
			continue;
		x = calloc(1, sizeof(*x));
		if (!x)
			continue;
		x->work.run = end_one;
		x->engine = p->engine;
		x->until_ms = until_ms;
		snprintf(x->id, sizeof(x->id), "%s", f.id);
		snprintf(x->session, sizeof(x->session), "%s", f.session);
		if (pool_submit(pool, &x->work, true) < 0)
			free(x);
	}
	cJSON_Delete(list);
}

static void stop_thread(struct reaper *r)
{
	pthread_mutex_lock(&r->lock);
	r->ending = true;
	if (r->running)
		bk_req_cancel(r->running);
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	r->joined = true;
}

void reaper_stop(struct sessions *all)
{
	if (all->reaper && !all->reaper->joined)
		stop_thread(all->reaper);
}

void reaper_end(struct sessions *all, bool last)
{
	const struct pool_conf conf = {.threads = END_THREADS, .queue = 1, .idle_ms = 1000};
	uint64_t until_ms = clock_ms() + END_TIMEOUT_MS;
	struct reaper *r = TAKE(all->reaper);
	struct pool *pool = NULL;

	if (!r)
		return;
	if (last && pool_new(&conf, &pool) == 0)
		for (size_t i = 0; i < r->n_places; i++)
			end_place(r, &r->places[i], pool, until_ms);
	pool_end(pool);
	reaper_free(r);
}
