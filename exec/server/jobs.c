/*
 * The table of jobs: names, limits, who may use which, and what is said of one.
 */
#include "job.h"

#include "../../backends/base/log.h"
#include "conn.h"

#include <ctype.h>
#include <string.h>
#include <signal.h>
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

static bool is_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= JOB_NAME_SIZE || !isalnum((unsigned char)*name))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			return false;
	return true;
}

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

	if (name && !is_name(name))
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

/* ---- What is said of one ---- */

const char *job_state_name(enum job_state s)
{
	static const char *const names[] = {
	    [JOB_NEW] = "new",		 [JOB_STARTING] = "starting", [JOB_RUNNING] = "running",
	    [JOB_DETACHED] = "detached", [JOB_EXITED] = "exited",     [JOB_FAILED] = "failed",
	    [JOB_LOST] = "lost",
	};

	return names[s];
}

int job_status_code(const struct job *j)
{
	return j->state == JOB_EXITED ? proto_exit_status(&j->exit) : 125;
}

static bool was_signalled(const struct job *j)
{
	return j->state == JOB_EXITED && j->exit.how == PROTO_SIGNALLED;
}

static int64_t duration_ms(const struct job *j)
{
	struct timespec now;

	if (!j->started_ms)
		return 0;
	if (j->ended_ms)
		return j->ended_ms - j->started_ms;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000 - j->started_ms;
}

static void time_text(int64_t ms, char ret[32])
{
	time_t t = ms / 1000;
	struct tm tm;

	strcpy(ret, "-");
	if (ms && gmtime_r(&t, &tm))
		strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static bool is_truncated(const struct job *j)
{
	return j->total[0] > j->stored[0] || j->total[1] > j->stored[1];
}

int job_status_locked(const struct job *j, struct buf *out)
{
	char exit[8] = "-", sig[8] = "-", started[32], ended[32];

	if (j->state == JOB_EXITED)
		snprintf(exit, sizeof(exit), "%d", job_status_code(j));
	if (was_signalled(j))
		snprintf(sig, sizeof(sig), "%d", j->exit.value);
	time_text(j->started_ms, started);
	time_text(j->ended_ms, ended);
	return buf_addf(out,
			"name %s\nid %s\nstate %s\nsandbox %s\nexit %s\nsignal %s\ntimed_out %s\n"
			"started %s\nended %s\nduration_ms %lld\nstdout %llu\nstderr %llu\n"
			"truncated %s\n",
			j->name, j->id, job_state_name(j->state), *j->sandbox ? j->sandbox : "-",
			exit, sig, j->exit.timed_out ? "yes" : "no", started, ended,
			(long long)duration_ms(j), (unsigned long long)j->total[0],
			(unsigned long long)j->total[1], is_truncated(j) ? "yes" : "no");
}

cJSON *job_json_locked(const struct job *j)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "name", j->name);
	cJSON_AddStringToObject(o, "id", j->id);
	cJSON_AddStringToObject(o, "state", job_state_name(j->state));
	cJSON_AddStringToObject(o, "sandbox", j->sandbox);
	cJSON_AddStringToObject(o, "cmd", j->values[JOB_CMD] ? j->values[JOB_CMD] : "");
	cJSON_AddNumberToObject(o, "uid", j->uid);
	if (j->state == JOB_EXITED)
		cJSON_AddNumberToObject(o, "exit_code", job_status_code(j));
	else
		cJSON_AddNullToObject(o, "exit_code");
	if (was_signalled(j))
		cJSON_AddNumberToObject(o, "signal", j->exit.value);
	else
		cJSON_AddNullToObject(o, "signal");
	cJSON_AddBoolToObject(o, "timed_out", j->exit.timed_out);
	cJSON_AddNumberToObject(o, "started_ms", j->started_ms);
	cJSON_AddNumberToObject(o, "ended_ms", j->ended_ms);
	cJSON_AddNumberToObject(o, "duration_ms", duration_ms(j));
	cJSON_AddNumberToObject(o, "stdout", j->total[0]);
	cJSON_AddNumberToObject(o, "stderr", j->total[1]);
	cJSON_AddBoolToObject(o, "truncated", is_truncated(j));
	cJSON_AddStringToObject(o, "error", j->error.text);
	cJSON_AddNumberToObject(o, "status", job_is_over(j->state) ? job_status_code(j) : -1);
	return o;
}

int job_result_locked(const struct job *j, struct buf *out)
{
	if (j->state != JOB_EXITED)
		return buf_addf(out, "%s\n", job_state_name(j->state));
	if (j->exit.timed_out)
		return buf_adds(out, "timeout\n");
	if (was_signalled(j))
		return buf_addf(out, "signal %d\n", j->exit.value);
	return buf_addf(out, "exit %d\n", job_status_code(j));
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
