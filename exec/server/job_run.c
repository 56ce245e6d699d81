/*
 * A job's command: its start, or the search for it, by a worker of the sandbox, and its end. What
 * other threads ask comes as tasks; all else is the loop's thread's.
 */
#include "job.h"

#include "../../backends/base/clock.h"
#include "../../backends/base/log.h"
#include "../../backends/base/pool.h"
#include "conn.h"
#include "starters.h"

#include <string.h>
#include <sys/timerfd.h>

#define LOOK_TIMEOUT_MS 30000
#define LOOK_AGAIN_MS 1000
#define LOOK_AGAIN_MAX_MS 30000

/* A start or a search, on its way through a worker and back. */
struct job_start {
	struct work work;
	struct starter *starter;
	struct task task;
	struct job *job; /* a reference */
	struct bk_req req;
	struct bk_stream *stream;
	struct err err;
	bool attach;
	int result;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* ---- On the loop ---- */

static void job_loop_enter(struct job *j)
{
	struct jobs *t = j->jobs;

	if (j->looped)
		return;
	j->looped = true;
	job_ref(j);
	j->loop_prev = NULL;
	j->loop_next = t->looped;
	if (t->looped)
		t->looped->loop_prev = j;
	t->looped = j;
}

void job_loop_leave(struct job *j)
{
	struct jobs *t = j->jobs;

	if (!j->looped)
		return;
	j->looped = false;
	if (j->loop_prev)
		j->loop_prev->loop_next = j->loop_next;
	else
		t->looped = j->loop_next;
	if (j->loop_next)
		j->loop_next->loop_prev = j->loop_prev;
	job_unref(j);
}

void job_parted(struct job *j)
{
	bool kept;

	pthread_mutex_lock(&j->jobs->lock);
	j->owed = false;
	kept = !j->removed;
	pthread_mutex_unlock(&j->jobs->lock);
	if (kept)
		(void)job_save(j);
	job_loop_leave(j);
}

void job_set_state(struct job *j, enum job_state state, const struct err *err)
{
	struct jobs *t = j->jobs;
	bool unneeded;

	pthread_mutex_lock(&t->lock);
	unneeded = j->removed && job_is_over(state) && !job_is_over(j->state);
	if (state == JOB_RUNNING && !j->started_ms)
		j->started_ms = now_ms();
	if (job_is_over(state) && !job_is_over(j->state)) {
		if (!j->ended_ms)
			j->ended_ms = now_ms();
		t->n_ended += j->listed;
	}
	j->state = state;
	if (err)
		j->error = *err;
	pthread_mutex_unlock(&t->lock);
	(void)job_save(j);
	if (unneeded)
		job_store_drop(j);
}

void job_set_due(struct job *j, uint64_t ms)
{
	const struct itimerspec every = {{1, 0}, {0, 200000000}};

	j->due_ms = clock_ms() + ms;
	timerfd_settime(j->jobs->tick.fd, 0, &every, NULL);
}

void job_over(struct job *j, enum job_state state, const struct err *err)
{
	struct jobs *t = j->jobs;
	struct bk *bk = j->request.sandbox.bk;

	/* Before anybody can see that it is over. */
	if (bk && (j->heard || state == JOB_LOST))
		server_changed(t->server, bk);
	job_set_state(j, state, err);
	if (err && *err->text)
		log_info("job %s: %s", j->name, err->text);
	job_leave(j);
	job_ref(j);
	job_control_answer(j);
	job_tell(j);
	if (!j->stream)
		job_loop_leave(j);
	job_unref(j);
	jobs_trim(t);
}

/* ---- Start and search ---- */

static void start_run(struct work *work)
{
	struct job_start *st = container_of(work, struct job_start, work);
	const struct request *q = &st->job->request;
	struct bk *bk = q->sandbox.bk;
	const struct bk_sandbox_ops *ops = bk->ops->sandbox;

	st->result = bk_req_check(&st->req);
	if (st->result == 0 && st->attach)
		st->result = ops->attach(&st->req, bk, st->job->id, &st->stream, &st->err);
	else if (st->result == 0)
		st->result = ops->exec(&st->req, bk, &q->exec, &st->stream, &st->err);
	loop_post(&st->job->jobs->server->loop, &st->task);
}

static void start_failed(struct job *j, const struct job_start *st)
{
	struct err err = st->err;
	uint64_t wait = LOOK_AGAIN_MS << (j->tries < 5 ? j->tries : 5);

	if (!*err.text)
		err_set(&err, 0, "sandbox %s: %s", j->sandbox, strerror(-st->result));
	if (!st->attach) {
		job_over(j, JOB_FAILED, &err);
		return;
	}
	if (st->result == -ENOTCONN || st->result == -EOPNOTSUPP) {
		job_gone(j, &err);
		return;
	}
	j->tries++;
	job_set_due(j, wait < LOOK_AGAIN_MAX_MS ? wait : LOOK_AGAIN_MAX_MS);
}

static void start_done(struct task *task)
{
	struct job_start *st = container_of(task, struct job_start, task);
	struct job *j = st->job;
	struct server *s = j->jobs->server;

	j->start = NULL;
	if (!j->looped) {
		/* The mount ends: what runs is found by the next daemon. */
		if (st->stream)
			st->stream->ops->free(st->stream);
		job_leave(j);
	} else {
		if (st->result == 0)
			st->result = job_stream_use(j, st->stream, st->attach);
		if (st->result < 0)
			start_failed(j, st);
	}
	starter_put(s, st->starter);
	bk_req_done(&st->req);
	free(st);
	job_unref(j);
	server_started(s);
}

/* Give it to a worker. */
static int submit(struct job *j, bool attach)
{
	struct server *s = j->jobs->server;
	struct job_start *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	*st = (struct job_start){
	    .work.run = start_run, .task.run = start_done, .job = job_ref(j), .attach = attach};
	r = starter_get(s, j->request.sandbox.bk, &st->starter);
	if (r < 0) {
		free(st);
		job_unref(j);
		return r;
	}
	bk_req_init(&st->req, j->uid, 0, 0, attach ? LOOK_TIMEOUT_MS : s->conf.start_timeout_ms);
	r = pool_submit(st->starter->pool, &st->work, false);
	if (r == 0) {
		j->start = st;
		return 0;
	}
	starter_put(s, st->starter);
	bk_req_done(&st->req);
	free(st);
	job_unref(j);
	return r;
}

static void begin(struct job *j)
{
	struct err err;
	int r;

	job_loop_enter(j);
	r = j->jobs->ending ? -ESHUTDOWN : submit(j, false);
	if (r == 0)
		return;
	err_set(&err, r, "sandbox %s: %s", j->sandbox,
		r == -EBUSY ? "too many commands wait to start" : strerror(-r));
	job_over(j, JOB_FAILED, &err);
}

/* It is nowhere, because of ERR: unless its end was stored already. */
static void lost(struct job *j, const struct err *err)
{
	if (j->ended_ms)
		job_over(j, JOB_EXITED, NULL);
	else
		job_over(j, JOB_LOST, err);
}

void job_gone(struct job *j, const struct err *err)
{
	if (j->ended_ms || j->started_ms || j->removed) {
		lost(j, err);
		return;
	}
	log_info("job %s: it was accepted and not begun; it begins now", j->name);
	j->tries = 0;
	begin(j);
}

void job_look(struct job *j)
{
	const struct bk *bk = j->request.sandbox.bk;
	struct err err;

	job_loop_enter(j);
	j->due_ms = 0;
	if (!bk || !bk->ops->sandbox->attach) {
		err_set(&err, 0, "there is no sandbox %s in this mount any more", j->sandbox);
		lost(j, &err);
	} else if (submit(j, true) < 0) {
		job_set_due(j, LOOK_AGAIN_MS);
	}
}

void job_tick(struct watch *w, uint32_t events)
{
	struct jobs *t = container_of(w, struct jobs, tick);
	const struct itimerspec never = {{0, 0}, {0, 0}};
	uint64_t n, now = clock_ms();
	bool any = false;

	(void)!read(w->fd, &n, sizeof(n));
	for (struct job *j = t->looped, *next; j; j = next) {
		next = j->loop_next;
		any |= j->due_ms != 0;
		if (!j->due_ms || j->due_ms > now)
			continue;
		j->due_ms = 0;
		if (!j->done) {
			job_look(j);
		} else {
			job_stream_close(j);
			job_parted(j);
		}
	}
	if (!any)
		timerfd_settime(w->fd, 0, &never, NULL);
}

void job_close(struct job *j)
{
	if (j->start)
		bk_req_cancel(&j->start->req);
	else
		job_leave(j);
	job_stream_close(j);
	job_loop_leave(j);
}

/* ---- From other threads ---- */

enum what { START, SIGNAL, TELL };

struct order {
	struct task task;
	struct job *job; /* a reference */
	enum what what;
	uint8_t sig;
};

static void add_signal(struct job *j, uint8_t sig)
{
	if (!j->looped || j->done)
		return;
	/* The newest takes the last place. */
	if (j->n_signals == JOB_MAX_SIGNALS)
		j->n_signals--;
	j->signals[j->n_signals++] = sig;
	job_stream_update(j);
}

static void order_run(struct task *task)
{
	struct order *o = container_of(task, struct order, task);
	struct job *j = o->job;

	if (o->what == START)
		begin(j);
	else if (o->what == SIGNAL)
		add_signal(j, o->sig);
	else
		job_tell(j);
	free(o);
	job_unref(j);
}

static int post(struct job *j, enum what what, uint8_t sig)
{
	struct order *o = malloc(sizeof(*o));

	if (!o)
		return -ENOMEM;
	*o = (struct order){.task.run = order_run, .job = job_ref(j), .what = what, .sig = sig};
	loop_post(&j->jobs->server->loop, &o->task);
	return 0;
}

int job_start(struct job *j)
{
	return post(j, START, 0);
}

int job_signal(struct job *j, uint8_t sig)
{
	return post(j, SIGNAL, sig);
}

void job_removed(struct job *j)
{
	(void)post(j, TELL, 0);
}
