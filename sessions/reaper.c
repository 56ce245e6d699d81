/*
 * The reaper: one thread of each route looks, every now and then, at the containers of the root and
 * at the sessions of the disk. It remembers neither, so that it finds what any daemon has left. See
 * README.md for the locks that say who may end what.
 */
#include "../backends/base/clock.h"
#include "../backends/base/json.h"
#include "../backends/base/log.h"
#include "../backends/base/pool.h"
#include "../backends/base/thread.h"
#include "../backends/docker/engine.h"
#include "sessions.h"

#include <string.h>

#define END_TIMEOUT_MS 5000 /* of all together; the daemon has ten seconds to end */
#define END_THREADS 8
#define GRACE_S 1

struct reaper {
	struct sessions *all;
	pthread_t thread;
	struct pool
	    *pool; /* a thread for each engine that is looked at: one that hangs delays no other */

	pthread_mutex_t lock;
	pthread_cond_t cond, done; /* for the thread; for who waits for looks */
	/* guarded by lock */
	bool ending, poked;
	struct look *looks; /* that run or wait; cancelled at the end */
	bool joined;	    /* of who ends it alone */
};

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

	places_add_route(&all->places, &all->conf);
	pthread_mutex_lock(&all->lock);
	HASH_ITER (hh, all->table, s, next) {
		session_tell_files(s);
		(void)places_get(&all->places, s->engine, false, &(struct place *){NULL},
				 &(struct err){""});
		pthread_mutex_lock(&s->lock);
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

static struct found found_of(const cJSON *c)
{
	const cJSON *labels = cJSON_GetObjectItemCaseSensitive(c, "Labels");

	return (struct found){
	    .id = json_text(c, "Id"),
	    .session = json_text(labels, "aib.session"),
	    .session_id = json_text(labels, "aib.session.id"),
	    .state = json_text(c, "State"),
	};
}

/* The containers of the root on E. *ret is the caller's. */
static int list_containers(struct bk_req *req, const struct reaper *r, struct engine *e,
			   cJSON **ret, struct err *err)
{
	char label[64];

	snprintf(label, sizeof(label), "aib.root=%s", r->all->store.id);
	return engine_container_list(req, e, label, ret, err);
}

/* What is to be done with a container of S that is as FOUND says: a verb, or NULL. */
static const char *wanted(struct session *s, const struct found *f, bool all_idle)
{
	int64_t touched = store_touched(&s->all->store, s->name);
	/* What a killed daemon left may have jobs, which are found again from the mount on. */
	int64_t last = touched > s->all->made.tv_sec ? touched : s->all->made.tv_sec;
	int64_t idle = touched < 0 ? 0 : (int64_t)time(NULL) - last;
	const char *verb = NULL;

	pthread_mutex_lock(&s->lock);
	if ((all_idle || idle * 1000 > (int64_t)s->idle_timeout) &&
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

/* The box that stays, since it was looked at, is to know what becomes of its container. */
static int act_on(struct bk_req *req, struct engine *e, struct session *s, const struct found *f,
		  const char *verb, struct err *err)
{
	struct bk *box = session_seen_box(s);

	if (box && strcmp(verb, "remove") != 0)
		return box->ops->sandbox->ctl(req, box, verb, err);
	return act(req, e, f->id, verb, err);
}

/* 1 where something was done, 0 where it is in use or not idle. */
static int put_to_sleep(struct bk_req *req, struct engine *e, struct session *s,
			const struct found *f, bool all_idle, struct err *err)
{
	_cleanup_close_ int alone = -1;
	const char *verb;
	int r = gate_enter(req, &s->gate);

	if (r < 0)
		return r;
	alone = store_hold(NULL, &s->all->store, s->name, true);
	session_tell_files(s);
	verb = alone >= 0 && !session_in_use(s) ? wanted(s, f, all_idle) : NULL;
	if (verb) {
		session_drop_box(s);
		r = act_on(req, e, s, f, verb, err);
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

/* One engine is looked at, by a thread of the pool. */
struct look {
	struct work work;
	struct reaper *reaper;
	struct place *place;
	bool all_idle; /* what is not in use counts as idle */
	bool own;      /* nobody waits for it */
	struct bk_req req;
	int result; /* how many containers; or -errno with ERR */
	struct err err;
	bool over;
	struct look *prev, *next;
};

static int look_at(struct look *l, const struct found *f)
{
	_cleanup_(sessions_unrefp) struct session *s = NULL;
	struct engine *e = l->place->engine;
	int found;

	if (!*f->id || !name_is_plain(f->session)) /* it only says that it is of ours */
		return 0;
	found = sessions_find(l->reaper->all, f->session, &s, &l->err);
	if (found == -ENOENT || (found == 0 && strcmp(s->id, f->session_id) != 0))
		return remove_leftover(&l->req, e, f, &l->err);
	if (found < 0)
		return found;
	session_saw(s, strcmp(f->state, "running") == 0);
	return wanted(s, f, l->all_idle) ? put_to_sleep(&l->req, e, s, f, l->all_idle, &l->err) : 0;
}

/* How long it may take with one container, which may have to be stopped. */
static uint64_t look_ms(const struct reaper *r)
{
	return r->all->conf.timeout + GRACE_S * 1000;
}

static bool gave_up(int r)
{
	return r == -ETIMEDOUT || r == -EINTR;
}

/* An engine that does not answer for one container is not asked for the others. */
static int look_at_all(struct look *l, const cJSON *list)
{
	unsigned running = 0;
	int n = 0, result = 0;
	const cJSON *c;

	cJSON_ArrayForEach (c, list) {
		struct found f = found_of(c);
		int one;

		running += strcmp(f.state, "running") == 0;
		if (gave_up(result))
			continue;
		bk_req_extend(&l->req, look_ms(l->reaper));
		one = look_at(l, &f);
		if (one < 0)
			result = one;
		else
			n += one;
	}
	atomic_store(&l->place->running, running);
	return result < 0 ? result : n;
}

static int look_at_place(struct look *l)
{
	const struct store *store = &l->reaper->all->store;
	struct place *p = l->place;
	cJSON *list = NULL;
	int r = gate_enter(&l->req, &p->looking);
	char text[256];

	if (r < 0)
		return err_set(&l->err, r, "%s: another look at its containers has not ended",
			       place_text(p, text, sizeof(text)));
	r = list_containers(&l->req, l->reaper, p->engine, &list, &l->err);
	if (r == 0)
		r = look_at_all(l, list);
	cJSON_Delete(list);
	gate_leave(&p->looking);
	if (r < 0 && r != -EINTR && !atomic_exchange(&p->failing, true))
		log_warning("sessions of %s: %s", store->path, l->err.text);
	if (r >= 0)
		atomic_store(&p->failing, false);
	return r;
}

/* With the reaper's lock held. */
static void unlink_locked(struct look *l)
{
	if (l->prev)
		l->prev->next = l->next;
	else
		l->reaper->looks = l->next;
	if (l->next)
		l->next->prev = l->prev;
}

static void run_look(struct work *work)
{
	struct look *l = container_of(work, struct look, work);
	struct reaper *r = l->reaper;
	bool own = l->own;

	l->result = look_at_place(l);
	if (own)
		atomic_store(&l->place->looked_at, false);
	pthread_mutex_lock(&r->lock);
	unlink_locked(l);
	l->over = true;
	pthread_cond_broadcast(&r->done);
	pthread_mutex_unlock(&r->lock);
	if (!own)
		return;
	bk_req_done(&l->req);
	free(l);
}

static void begin(struct reaper *r, struct look *l)
{
	bk_req_init(&l->req, 0, 0, 0, r->all->conf.timeout);
	pthread_mutex_lock(&r->lock);
	l->next = r->looks;
	if (l->next)
		l->next->prev = l;
	r->looks = l;
	if (r->ending)
		bk_req_cancel(&l->req);
	pthread_mutex_unlock(&r->lock);
	if (pool_submit(r->pool, &l->work, true) < 0) /* no thread: then by this one */
		run_look(&l->work);
}

/* Several, for who waits for all of them. */
struct group {
	struct look *looks;
	size_t n;
};

static void cancel_group(void *arg)
{
	struct group *g = arg;

	for (size_t i = 0; i < g->n; i++)
		bk_req_cancel(&g->looks[i].req);
}

static void wait_for(struct reaper *r, struct look *l)
{
	pthread_mutex_lock(&r->lock);
	while (!l->over)
		pthread_cond_wait(&r->done, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

static int look_in_group(struct bk_req *req, struct reaper *r, struct group *g, struct err *err)
{
	int n = 0, result = 0;

	for (size_t i = 0; i < g->n; i++)
		begin(r, &g->looks[i]);
	bk_req_on_cancel(req, cancel_group, g);
	for (size_t i = 0; i < g->n; i++)
		wait_for(r, &g->looks[i]);
	bk_req_on_cancel(req, NULL, NULL);
	for (size_t i = 0; i < g->n; i++) {
		struct look *l = &g->looks[i];

		if (l->result < 0)
			result = err_set(err, l->result, "%s",
					 *l->err.text ? l->err.text : strerror(-l->result));
		else
			n += l->result;
		bk_req_done(&l->req);
	}
	return result < 0 ? result : n;
}

/* At ONLY, or at all engines. */
static int look(struct bk_req *req, struct sessions *all, struct place *only, bool all_idle,
		struct err *err)
{
	struct reaper *r = all->reaper;
	struct group g = {.n = 1};
	int result;

	(void)look_at_known(r);
	if (!only)
		g.n = places_count(&all->places);
	g.looks = calloc(g.n, sizeof(*g.looks));
	if (!g.looks)
		return -ENOMEM;
	for (size_t i = 0; i < g.n; i++)
		g.looks[i] = (struct look){
		    .work.run = run_look,
		    .reaper = r,
		    .place = only ? only : &all->places.list[i],
		    .all_idle = all_idle,
		};
	bk_req_extend(req, 2 * look_ms(r));
	result = look_in_group(req, r, &g, err);
	free(g.looks);
	return result;
}

int reaper_clean(struct bk_req *req, struct sessions *all, struct err *err)
{
	return look(req, all, NULL, false, err);
}

int reaper_clean_at(struct bk_req *req, struct sessions *all, const char *engine, struct err *err)
{
	struct place *p;
	int r = places_get(&all->places, engine, false, &p, err);

	return r < 0 ? r : look(req, all, p, false, err);
}

int reaper_sleep_all(struct bk_req *req, struct sessions *all, struct err *err)
{
	return look(req, all, NULL, true, err);
}

/* ---- The thread ---- */

static bool sleep_for(struct reaper *r, uint64_t ms)
{
	struct timespec until = clock_timespec(clock_ms() + ms);
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

/* All engines that are not being looked at still. */
static void look_on(struct reaper *r)
{
	struct places *p = &r->all->places;
	size_t n = places_count(p);

	for (size_t i = 0; i < n; i++) {
		struct look *l;

		if (atomic_exchange(&p->list[i].looked_at, true))
			continue;
		l = malloc(sizeof(*l));
		if (!l) {
			atomic_store(&p->list[i].looked_at, false);
			continue;
		}
		*l = (struct look){
		    .work.run = run_look, .reaper = r, .place = &p->list[i], .own = true};
		begin(r, l);
	}
}

static void *run(void *arg)
{
	struct reaper *r = arg;

	while (sleep_for(r, look_at_known(r)))
		look_on(r);
	return NULL;
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
	pool_end(r->pool);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->cond);
	pthread_cond_destroy(&r->done);
	free(r);
}

static struct reaper *reaper_new(struct sessions *all)
{
	struct reaper *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->all = all;
	r->joined = true;
	if (pool_new(&(struct pool_conf){.threads = PLACES_MAX, .queue = 1, .idle_ms = 1000},
		     &r->pool) < 0) {
		free(r);
		return NULL;
	}
	pthread_mutex_init(&r->lock, NULL);
	cond_init(&r->cond);
	cond_init(&r->done);
	return r;
}

/* What an earlier daemon has left is known before anybody asks; an engine that did not answer is
 * waited for by nobody. */
static void look_at_first(struct bk_req *req, struct sessions *all)
{
	size_t n = places_count(&all->places);

	for (size_t i = 0; i < n; i++) {
		struct place *p = &all->places.list[i];

		if (!atomic_load(&p->failing))
			(void)look(req, all, p, false, &(struct err){""});
	}
}

int reaper_start(struct bk_req *req, struct sessions *all,
		 void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	struct reaper *r = all->reaper = reaper_new(all);
	int e;

	if (!r)
		return -ENOMEM;
	(void)look_at_known(r);
	e = places_prepare(req, &all->places, &all->conf, progress, ctx, err);
	if (e < 0)
		return e;
	look_at_first(req, all);
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

	bk_req_init(&req, 0, 0, 0, END_TIMEOUT_MS);
	if (list_containers(&req, r, p->engine, &list, &err) < 0)
		log_warning("sessions of %s: their containers stay: %s", r->all->store.path,
			    err.text);
	bk_req_done(&req);
	cJSON_ArrayForEach (c, list) {
		struct found f = found_of(c);
		struct ending *x;

		if (strcmp(f.state, "running") != 0 || !name_is_plain(f.session))
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
	for (struct look *l = r->looks; l; l = l->next)
		bk_req_cancel(&l->req);
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
		for (size_t i = 0; i < places_count(&all->places); i++)
			end_place(r, &all->places.list[i], pool, until_ms);
	pool_end(pool);
	reaper_free(r);
}
