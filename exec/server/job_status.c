/* What is said of a job: lines, JSON, and how it ended. */
#include "job.h"

#include <string.h>

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
