/*
 * The table of jobs: names, limits, who may use which, and what is said of one.
 */
#include "job.h"

#include "../../backends/base/log.h"
#include "conn.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>

/* ---- References ---- */

struct job *job_ref(struct job *j)
{
	atomic_fetch_add(&j->refs, 1);
	return j;
}

static void job_free(struct job *j)
{
	request_done(&j->request);
	for (size_t i = 0; i < JOB_N_VALUES; i++)
		free(j->values[i]);
	buf_done(&j->small);
	buf_done(&j->out);
	jobs_unref(j->jobs);
	free(j);
}

void job_unref(struct job *j)
{
	if (j && atomic_fetch_sub(&j->refs, 1) == 1)
		job_free(j);
}

void jobs_unref(struct jobs *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	jobs_store_done(t);
	closep(&t->tick.fd);
	pthread_mutex_destroy(&t->lock);
	pthread_mutex_destroy(&t->save_lock);
	free(t);
}

/* ---- The table ---- */

static void link_locked(struct job *j)
{
	struct jobs *t = j->jobs;

	j->prev = t->last;
	j->next = NULL;
	if (t->last)
		t->last->next = j;
	else
		t->first = j;
	t->last = j;
	t->n++;
	j->listed = true;
}

static void unlink_locked(struct job *j)
{
	struct jobs *t = j->jobs;

	if (j->prev)
		j->prev->next = j->next;
	else
		t->first = j->next;
	if (j->next)
		j->next->prev = j->prev;
	else
		t->last = j->prev;
	t->n--;
	j->listed = false;
}

static struct job *find_locked(const struct jobs *t, const char *name)
{
	struct job *j;

	for (j = t->first; j && strcmp(j->name, name) != 0; j = j->next)
		;
	return j;
}

bool job_allowed(const struct jobs *t, const struct job *j, uid_t uid)
{
	return uid == j->uid || server_allows(t->server, uid);
}

uid_t job_uid(const struct jobs *t, uid_t uid)
{
	return server_allows(t->server, uid) ? 0 : uid;
}

void job_leave(struct job *j)
{
	bk_leave(&j->request.sandbox);
}

struct job *job_find(struct jobs *t, const char *name, uid_t uid)
{
	struct job *j;

	pthread_mutex_lock(&t->lock);
	j = find_locked(t, name);
	if (j && job_allowed(t, j, uid))
		job_ref(j);
	else
		j = NULL;
	pthread_mutex_unlock(&t->lock);
	return j;
}

/* ---- Making ---- */

static int make_id(char ret[JOB_ID_SIZE])
{
	uint8_t bytes[(JOB_ID_SIZE - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* Enter J under NAME, or under the next free number after PREFIX. */
static int enter_locked(struct job *j, const char *name, const char *prefix, struct err *err)
{
	struct jobs *t = j->jobs;

	if (t->ending)
		return err_set(err, -ESHUTDOWN, "the mount ends");
	if (t->n - t->n_ended >= t->conf.max_jobs)
		return err_set(err, -EDQUOT, "%u jobs are not over yet (max_jobs)",
			       t->conf.max_jobs);
	if (name && find_locked(t, name))
		return err_set(err, -EEXIST, "job %s exists already", name);
	if (name)
		strcpy(j->name, name);
	else
		do
			snprintf(j->name, sizeof(j->name), "%.40s-%lu", prefix, ++t->last_number);
		while (find_locked(t, j->name));
	link_locked(job_ref(j));
	return 0;
}

struct job *job_alloc(struct jobs *t, uid_t uid)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	atomic_init(&j->refs, 1);
	atomic_init(&j->store_refs, 1);
	atomic_fetch_add(&t->refs, 1);
	j->jobs = t;
	j->uid = uid;
	j->files[0] = j->files[1] = j->input = -1;
	j->watch.fd = -1;
	j->small = BUF_INIT(PROTO_MAX_PAYLOAD);
	j->out = BUF_INIT(1 << 20);
	return j;
}

int job_new(struct jobs *t, const char *name, const char *prefix, uid_t uid, struct job **ret,
	    struct err *err)
{
	struct job *j;
	int r;

	if (name && !name_is_plain(name))
		return err_set(err, -EINVAL,
			       "a job's name is 1 to %d letters, digits, '.', '_' and '-', and "
			       "begins with a letter or digit",
			       JOB_NAME_SIZE - 1);
	j = job_alloc(t, uid);
	if (!j)
		return -ENOMEM;
	r = make_id(j->id);
	if (r == 0) {
		pthread_mutex_lock(&t->lock);
		r = enter_locked(j, name, prefix, err);
		pthread_mutex_unlock(&t->lock);
	}
	if (r == 0) {
		r = job_store_new(j, err);
		if (r == 0)
			r = job_control_add(j);
		if (r < 0)
			job_remove(j);
	}
	if (r < 0) {
		job_unref(j);
		return r;
	}
	*ret = j;
	return 0;
}

/* ---- Forgetting ---- */

void job_remove(struct job *j)
{
	struct jobs *t = j->jobs;
	struct control_dir *dir;
	bool live;

	pthread_mutex_lock(&t->lock);
	if (!j->listed) {
		pthread_mutex_unlock(&t->lock);
		return;
	}
	unlink_locked(j);
	t->n_ended -= job_is_over(j->state);
	j->removed = true;
	live = job_is_live(j->state);
	dir = TAKE(j->dir);
	pthread_mutex_unlock(&t->lock);
	/* Where the daemon is killed before the command, the next one kills it. */
	if (!live)
		job_removed(j);
	else if (job_save(j) < 0 || job_signal(j, SIGKILL) < 0)
		log_warning("job %s: is forgotten, but may run on", j->name);
	if (dir)
		control_remove(t->control, dir);
	job_control_answer(j);
	/* One that runs needs it until it is killed, or the next daemon has killed it. */
	if (!live)
		job_store_drop(j);
	job_unref(j);
}

static struct job *oldest_over(struct jobs *t)
{
	struct job *oldest = NULL;

	pthread_mutex_lock(&t->lock);
	if (t->n_ended > t->conf.keep_jobs)
		for (struct job *j = t->first; j; j = j->next)
			if (job_is_over(j->state) && (!oldest || j->ended_ms < oldest->ended_ms))
				oldest = j;
	if (oldest)
		job_ref(oldest);
	pthread_mutex_unlock(&t->lock);
	return oldest;
}

void jobs_trim(struct jobs *t)
{
	struct job *j;

	while ((j = oldest_over(t))) {
		job_remove(j);
		job_unref(j);
	}
}

/* ---- Beginning and end ---- */

/* One of an earlier daemon's. Takes the reference. */
static void found(struct jobs *t, struct job *j)
{
	bool live = job_is_live(j->state);

	if (!j->removed && find_locked(t, j->name)) {
		log_warning("job %s: there are two of this name; one is forgotten", j->name);
		j->removed = true;
	}
	if (!j->removed) {
		link_locked(job_ref(j));
		t->n_ended += job_is_over(j->state);
		if (job_control_add(j) < 0)
			log_warning("job %s: cannot be shown in the control tree", j->name);
	}
	if (live && j->removed)
		(void)job_signal(j, SIGKILL);
	if (live)
		job_look(j);
	else if (j->removed)
		job_store_drop(j);
	job_unref(j);
}

int jobs_new(struct server *s, const struct job_conf *conf, struct bk *control, struct jobs **ret,
	     struct err *err)
{
	struct jobs *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	atomic_init(&t->refs, 1);
	t->server = s;
	t->conf = *conf;
	t->control = control;
	t->dirfd = t->tick.fd = -1;
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->save_lock, NULL);
	t->tick.ready = job_tick;
	r = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (r >= 0)
		r = loop_add(&s->loop, &t->tick, r, EPOLLIN);
	else
		r = -errno;
	if (r == 0)
		r = job_control_init(t);
	if (r < 0) {
		jobs_unref(t);
		return err_set(err, r, "jobs: %s", strerror(-r));
	}
	s->jobs = t;
	r = job_load_all(t, found);
	if (r < 0)
		log_warning("jobs in %s: %s", conf->dir, strerror(-r));
	jobs_trim(t);
	*ret = t;
	return 0;
}

void jobs_close(struct jobs *t)
{
	pthread_mutex_lock(&t->lock);
	t->ending = true;
	pthread_mutex_unlock(&t->lock);
	for (struct job *j = t->looped, *next; j; j = next) {
		next = j->loop_next;
		job_close(j);
	}
}

void jobs_end(struct jobs *t)
{
	struct job *j = t->first, *next;

	/* The control tree is served no more, and nothing runs that could change the table. */
	t->control = NULL;
	for (; j; j = next) {
		next = j->next;
		j->dir = NULL;
		if (j->lasts)
			continue;
		if (job_is_live(j->state))
			j->state = JOB_LOST;
		job_remove(j);
	}
}

void jobs_done(struct jobs *t)
{
	struct job *j;

	while (t && (j = t->first)) {
		unlink_locked(j);
		job_unref(j);
	}
	jobs_unref(t);
}
