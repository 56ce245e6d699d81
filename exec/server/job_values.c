/*
 * What a job is made of: the values that users write, as texts, and the request of the exec
 * protocol that they mean; each is made of the other.
 */
#include "job.h"

#include "../../backends/base/units.h"
#include "conn.h"

#include <string.h>

/* ---- Texts ---- */

static int check_env(const char *text, struct err *err)
{
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line != '\0') {
		size_t n = strcspn(line, "\n");

		if (n > 0 && (*line == '=' || !memchr(line, '=', n)))
			return err_set(err, -EINVAL, "env: each line is NAME=VALUE");
	}
	return 0;
}

int job_check_value(int which, const char *text, struct err *err)
{
	uint64_t ms;

	if (which == JOB_ENV)
		return check_env(text, err);
	if (which == JOB_CWD && strchr(text, '\n'))
		return err_set(err, -EINVAL, "cwd: one directory, on one line");
	if (which == JOB_TIMEOUT && *text && option_duration(text, &ms) < 0)
		return err_set(err, -EINVAL, "timeout: not a duration such as 30, 500ms or 5m");
	return 0;
}

/* ---- Of a request's JSON ---- */

/* As a shell would have to be told it. */
static int add_word(struct buf *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-./:=@%+,";
	int r = out->len ? buf_adds(out, " ") : 0;

	if (r < 0 || (*word && word[strspn(word, plain)] == '\0'))
		return r < 0 ? r : buf_adds(out, word);
	r = buf_adds(out, "'");
	for (const char *p = word; *p && r == 0; p++)
		r = *p == '\'' ? buf_adds(out, "'\\''") : buf_add(out, p, 1);
	return r < 0 ? r : buf_adds(out, "'");
}

static int set_text(struct buf *text, char **ret)
{
	free(*ret);
	*ret = buf_take(text);
	return *ret ? 0 : -ENOMEM;
}

static int set_list(const cJSON *list, bool words, char **ret)
{
	struct buf text = BUF_INIT(2 * PROTO_MAX_REQUEST);
	const cJSON *v;
	int r = 0;

	cJSON_ArrayForEach (v, list)
		if (r == 0 && cJSON_IsString(v))
			r = words ? add_word(&text, v->valuestring)
				  : buf_addf(&text, "%s%s", text.len ? "\n" : "", v->valuestring);
	if (r == 0)
		r = set_text(&text, ret);
	buf_done(&text);
	return r;
}

/* The texts of all values. 0 or -ENOMEM. */
static int values_of(const cJSON *request, char *ret[JOB_N_VALUES])
{
	const cJSON *cwd = cJSON_GetObjectItemCaseSensitive(request, "cwd");
	const cJSON *ms = cJSON_GetObjectItemCaseSensitive(request, "timeout_ms");
	struct buf text = BUF_INIT(PROTO_MAX_REQUEST);
	int r = set_list(cJSON_GetObjectItemCaseSensitive(request, "argv"), true, &ret[JOB_CMD]);

	if (r == 0)
		r = set_list(cJSON_GetObjectItemCaseSensitive(request, "env"), false,
			     &ret[JOB_ENV]);
	if (r == 0 && cJSON_IsString(cwd)) {
		r = buf_adds(&text, cwd->valuestring);
		r = r < 0 ? r : set_text(&text, &ret[JOB_CWD]);
	}
	if (r == 0 && cJSON_IsNumber(ms)) {
		r = buf_addf(&text, "%.0fms", ms->valuedouble);
		r = r < 0 ? r : set_text(&text, &ret[JOB_TIMEOUT]);
	}
	buf_done(&text);
	return r;
}

/* ---- The request that they mean ---- */

static cJSON *env_list(const char *text)
{
	cJSON *list = cJSON_CreateArray();

	for (const char *line = text; *line; line += *line != '\0') {
		size_t n = strcspn(line, "\n");
		char *copy = n ? strndup(line, n) : NULL;

		if (copy)
			cJSON_AddItemToArray(list, cJSON_CreateString(copy));
		free(copy);
		line += n;
	}
	return list;
}

/* The request that the values say. The caller holds the lock. */
static int make_request_locked(const struct job *j, cJSON **ret, struct err *err)
{
	const char *argv[] = {"/bin/sh", "-c", j->values[JOB_CMD]};
	_cleanup_free_ char *dir = NULL;
	uint64_t ms = 0;
	cJSON *o;

	if (!j->values[JOB_CMD] || !*j->values[JOB_CMD])
		return err_set(err, -EINVAL, "cmd says nothing: echo 'make test' > cmd");
	if (!j->values[JOB_CWD] || !*j->values[JOB_CWD])
		return err_set(err, -EINVAL,
			       "cwd says nothing: echo /py/workspace > cwd, a directory of a "
			       "sandbox's route");
	dir = request_host_path(&j->jobs->server->world, j->values[JOB_CWD]);
	o = dir ? cJSON_CreateObject() : NULL;
	if (!o)
		return -ENOMEM;
	cJSON_AddStringToObject(o, "op", "exec");
	cJSON_AddItemToObject(o, "argv", cJSON_CreateStringArray(argv, 3));
	cJSON_AddStringToObject(o, "cwd", dir);
	if (j->values[JOB_ENV])
		cJSON_AddItemToObject(o, "env", env_list(j->values[JOB_ENV]));
	if (j->values[JOB_TIMEOUT] && option_duration(j->values[JOB_TIMEOUT], &ms) == 0)
		cJSON_AddNumberToObject(o, "timeout_ms", ms);
	*ret = o;
	return 0;
}

void job_request_finish(struct job *j)
{
	j->request.exec.job = j->id;
	j->request.exec.job_wait_ms = j->jobs->conf.wait_ms;
	j->request.exec.tty = false;
}

/* The next daemon would not find what is not written: it is not started. */
static void unprepare(struct job *j)
{
	pthread_mutex_lock(&j->jobs->lock);
	j->state = JOB_NEW;
	request_done(&j->request);
	pthread_mutex_unlock(&j->jobs->lock);
}

int job_prepare(struct job *j, cJSON *json, struct err *err)
{
	struct jobs *t = j->jobs;
	const struct bk_sandbox_ops *ops;
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (j->state != JOB_NEW || j->removed)
		r = err_set(err, -EBUSY, "the job was started already");
	else if (!json)
		r = make_request_locked(j, &json, err);
	else
		r = values_of(json, j->values);
	if (r == 0) {
		cJSON *own = TAKE(json);

		r = request_parse(&t->server->world, job_uid(t, j->uid), own, &j->request, err);
	}
	if (r == 0) {
		job_request_finish(j);
		ops = j->request.sandbox.bk->ops->sandbox;
		j->lasts = !t->conf.passing && ops->lasts && ops->lasts(j->request.sandbox.bk);
		snprintf(j->sandbox, sizeof(j->sandbox), "%s", j->request.sandbox.name);
		j->state = JOB_STARTING;
		j->error.text[0] = '\0';
	}
	pthread_mutex_unlock(&t->lock);
	cJSON_Delete(json);
	if (r < 0)
		return r;
	r = job_save(j);
	if (r < 0)
		unprepare(j);
	return r < 0 ? err_set(err, r, "its state cannot be written: %s", strerror(-r)) : 0;
}
