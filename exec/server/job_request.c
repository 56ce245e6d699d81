/*
 * What clients of the socket ask of jobs (../protocol.h): a start, an answer once something has
 * happened, or the output. A connection that waits is in the state JOB, and is looked at again
 * whenever its job changes. On the loop's thread.
 */
#include "connection.h"
#include "job.h"

#include <signal.h>
#include <string.h>

#define LOG_CHUNK 32768

static bool flag(const struct conn *c, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(c->request.json, key));
}

/* ---- A start ---- */

/* What is the client's alone is not the job's. */
static void strip(cJSON *json)
{
	static const char *const keys[] = {"detach", "stream", "tty", "merged", "rows", "cols", "job"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		cJSON_DeleteItemFromObjectCaseSensitive(json, keys[i]);
}

static int find_sandbox_name(const struct request_world *world, uid_t uid, const cJSON *json,
			     char ret[64], struct err *err)
{
	struct request q;
	int r = request_parse(world, uid, cJSON_Duplicate(json, true), &q, err);

	if (r < 0)
		return r;
	snprintf(ret, 64, "%.40s", q.sandbox.name);
	request_done(&q);
	/* A sandbox's name may hold more than a job's. */
	for (char *p = ret; *p; p++)
		if (!strchr("-_.", *p) && !((*p | 32) >= 'a' && (*p | 32) <= 'z') &&
		    !(*p >= '0' && *p <= '9'))
			*p = '_';
	return 0;
}

int conn_job_start(struct conn *c, cJSON *json, struct err *err)
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(json, "job");
	_cleanup_free_ char *given = cJSON_IsString(name) ? strdup(name->valuestring) : NULL;
	char sandbox[64];
	int r = find_sandbox_name(&c->server->world, job_uid(c->server->jobs, c->uid), json,
				  sandbox, err);

	strip(json);
	if (r == 0)
		r = job_new(c->server->jobs, given, sandbox, c->uid, &c->job, err);
	if (r < 0) {
		cJSON_Delete(json);
		return r;
	}
	c->asks = CONN_JOB_START;
	c->state = JOB;
	r = job_prepare(c->job, json, err);
	if (r == 0)
		r = job_start(c->job);
	if (r < 0)
		job_remove(c->job);
	return r;
}

/* Nobody has its name: it is as if it had not been asked for. */
void conn_job_drop(struct conn *c)
{
	if (c->asks == CONN_JOB_START && c->state == JOB)
		job_remove(c->job);
	job_unref(TAKE(c->job));
}

static void end_start(struct conn *c)
{
	struct job *j = c->job;
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	uint8_t exit[PROTO_EXIT_SIZE];

	if (j->started_ms) {
		if (buf_addf(&text, "{\"job\": \"%s\"}", j->name) == 0)
			conn_end_with(c, PROTO_REPLY, text.data);
		return;
	}
	if (!job_is_over(j->state))
		return;
	job_remove(j);
	if (j->state == JOB_EXITED) {
		proto_put_exit(exit, &j->exit);
		(void)conn_put(c, PROTO_EXIT, exit, sizeof(exit));
		c->state = ENDING;
	} else {
		conn_end_with(c, PROTO_ERROR, j->error.text);
	}
}

/* ---- Answers ---- */

static void end_with_json(struct conn *c, cJSON *o)
{
	char *text = o ? cJSON_PrintUnformatted(o) : NULL;

	conn_end_with(c, text ? PROTO_REPLY : PROTO_ERROR, text ? text : strerror(ENOMEM));
	free(text);
	cJSON_Delete(o);
}

static void end_wait(struct conn *c)
{
	struct jobs *t = c->server->jobs;
	cJSON *o = NULL;

	if (!job_is_over(c->job->state)) {
		if (c->job->removed && !job_is_live(c->job->state))
			conn_end_with(c, PROTO_ERROR, "the job was removed");
		return;
	}
	pthread_mutex_lock(&t->lock);
	o = job_json_locked(c->job);
	pthread_mutex_unlock(&t->lock);
	end_with_json(c, o);
}

static bool send_output(struct conn *c, int output)
{
	static const uint8_t types[2] = {PROTO_STDOUT, PROTO_STDERR};
	uint8_t data[LOG_CHUNK];
	ssize_t n;

	while (c->out.cap - c->out.len >= PROTO_HEADER + sizeof(data)) {
		n = job_read(c->job, output, c->job_pos[output], data, sizeof(data));
		if (n <= 0)
			return true;
		if (conn_put(c, types[output], data, n) < 0)
			return false;
		c->job_pos[output] += n;
	}
	return false;
}

static void end_logs(struct conn *c)
{
	bool last = !flag(c, "follow") || job_is_over(c->job->state) ||
		    (c->job->removed && !job_is_live(c->job->state));
	bool all = true;

	for (int i = 0; i < 2; i++)
		if (!flag(c, i ? "no_stderr" : "no_stdout"))
			all &= send_output(c, i);
	if (last && all) {
		(void)conn_put(c, PROTO_REPLY, "{}", 2);
		c->state = ENDING;
	}
}

void conn_job_update(struct conn *c)
{
	static void (*const ends[])(struct conn *) = {
	    [CONN_JOB_START] = end_start, [CONN_JOB_WAIT] = end_wait, [CONN_JOB_LOGS] = end_logs};

	ends[c->asks](c);
}

void job_tell(struct job *j)
{
	for (struct conn *c = j->jobs->server->conns, *next; c; c = next) {
		next = c->next;
		if (c->job == j && c->state == JOB)
			conn_update(c);
	}
}

/* ---- Requests ---- */

static int find(struct conn *c, struct err *err)
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(c->request.json, "name");

	if (!cJSON_IsString(name))
		return err_set(err, -EINVAL, "request: \"name\" must name a job");
	c->job = job_find(c->server->jobs, name->valuestring, c->uid);
	return c->job ? 0
		      : err_set(err, -ENOENT, "no job \"%s\" (aib job ls lists them)",
				name->valuestring);
}

static int ask_list(struct conn *c, struct err *err)
{
	struct jobs *t = c->server->jobs;
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "jobs");

	pthread_mutex_lock(&t->lock);
	for (const struct job *j = t->first; j; j = j->next)
		if (job_allowed(t, j, c->uid))
			cJSON_AddItemToArray(list, job_json_locked(j));
	pthread_mutex_unlock(&t->lock);
	end_with_json(c, o);
	return 0;
}

static int ask_wait(struct conn *c, struct err *err)
{
	c->asks = CONN_JOB_WAIT;
	c->state = JOB;
	return 0;
}

static int ask_logs(struct conn *c, struct err *err)
{
	c->asks = CONN_JOB_LOGS;
	c->state = JOB;
	c->out.cap = RELAY_SIZE;
	return 0;
}

static int ask_kill(struct conn *c, struct err *err)
{
	const cJSON *sig = cJSON_GetObjectItemCaseSensitive(c->request.json, "signal");
	int n = cJSON_IsNumber(sig) ? sig->valueint : 0;
	int r;

	if (n < 0 || n >= NSIG)
		return err_set(err, -EINVAL, "there is no signal %d", n);
	if (!job_is_live(c->job->state))
		return err_set(err, -ESRCH, "job %s does not run", c->job->name);
	r = job_signal(c->job, n);
	if (r == 0)
		conn_end_with(c, PROTO_REPLY, "{}");
	return r;
}

static int ask_rm(struct conn *c, struct err *err)
{
	job_remove(c->job);
	conn_end_with(c, PROTO_REPLY, "{}");
	return 0;
}

int conn_job_request(struct conn *c, const char *op, struct err *err)
{
	static const struct {
		const char *op;
		bool of_one;
		int (*run)(struct conn *c, struct err *err);
	} ops[] = {
	    {"jobs", false, ask_list},	  {"job_wait", true, ask_wait},
	    {"job_logs", true, ask_logs}, {"job_kill", true, ask_kill},
	    {"job_rm", true, ask_rm},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		int r;

		if (strcmp(op, ops[i].op) != 0)
			continue;
		r = ops[i].of_one ? find(c, err) : 0;
		return r < 0 ? r : ops[i].run(c, err);
	}
	return -ENOSYS;
}
