/*
 * Commands: exec create and start (two round trips), and their end.
 */
#include "client.h"

#include "../../base/clock.h"
#include "exec_stream.h"

#include <poll.h>
#include <string.h>

#define SILENCE_MS 1000	  /* after that long without output, ask whether the command still runs */
#define EXIT_WAIT_MS 5000 /* the exit status may come some time after the end of the output */

/* ---- Starting ---- */

static int add_strings(cJSON *obj, const char *key, const char *const *list)
{
	cJSON *array = cJSON_AddArrayToObject(obj, key);

	for (; *list; list++)
		if (!cJSON_AddItemToArray(array, cJSON_CreateString(*list)))
			return -ENOMEM;
	return array ? 0 : -ENOMEM;
}

static char *describe(const struct engine_exec *x, bool input)
{
	cJSON *spec = cJSON_CreateObject();
	char *text = NULL;
	int r = add_strings(spec, "Cmd", x->argv);

	if (r == 0 && x->env)
		r = add_strings(spec, "Env", x->env);
	if (x->user)
		cJSON_AddStringToObject(spec, "User", x->user);
	if (x->workdir)
		cJSON_AddStringToObject(spec, "WorkingDir", x->workdir);
	cJSON_AddBoolToObject(spec, "AttachStdin", input);
	cJSON_AddBoolToObject(spec, "AttachStdout", true);
	if (r == 0 && cJSON_AddBoolToObject(spec, "AttachStderr", true))
		text = cJSON_PrintUnformatted(spec);
	cJSON_Delete(spec);
	return text;
}

static int exec_create(struct bk_req *req, struct engine *e, const char *id,
		       const struct engine_exec *x, bool input, char **ret_id, struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	_cleanup_free_ char *body = describe(x, input);
	struct http_request rq = {.method = "POST", .body = body};
	const char *exec_id;
	cJSON *json;
	int r = http_path(&path, "/containers/%s/exec", id);

	if (!body || r < 0)
		return err_set(err, r < 0 ? r : -ENOMEM, "engine %s: cannot describe the command",
			       engine_host(e));
	rq.path = path.data;
	rq.body_len = strlen(body);
	r = engine_call(req, e, &rq, &json, err);
	if (r < 0)
		return r;
	exec_id = json_string(json, "Id");
	*ret_id = exec_id && exec_id[0] ? strdup(exec_id) : NULL;
	r = !exec_id || !exec_id[0] ? engine_garbled(e, err, "the id of a command")
	    : *ret_id		    ? 0
				    : -ENOMEM;
	cJSON_Delete(json);
	return r;
}

static int exec_attach(struct bk_req *req, struct engine *e, const char *exec_id,
		       struct exec_stream *s, struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	_cleanup_free_ char *type = NULL, *answer = NULL;
	char version[16];
	int status, r = engine_agree(req, e, version, err);

	if (r < 0)
		return r;
	r = buf_addf(&path, "/v%s", version);
	if (r == 0)
		r = http_path(&path, "/exec/%s/start", exec_id);
	if (r < 0)
		return err_set(err, r, "engine %s: %s", engine_host(e), strerror(-r));
	r = http_upgrade(req, e->http, path.data, "{\"Detach\":false,\"Tty\":false}", &s->conn,
			 &status, &type, &answer, err);
	if (r < 0)
		return r;
	if (!s->conn)
		return engine_failed(e, status, answer, err);
	if (type && strstr(type, "multiplexed"))
		s->demux.form = DEMUX_FRAMED;
	return 0;
}

static int exec_start(struct bk_req *req, struct engine *e, const char *id,
		      const struct engine_exec *x, bool input, struct exec_stream **ret,
		      char **ret_exec_id, struct err *err)
{
	_cleanup_free_ char *exec_id = NULL;
	_cleanup_(exec_stream_freep) struct exec_stream *s = exec_stream_new();
	int r;

	if (!s)
		return err_set(err, -ENOMEM, "engine %s: out of memory", engine_host(e));
	r = exec_create(req, e, id, x, input, &exec_id, err);
	if (r == 0)
		r = exec_attach(req, e, exec_id, s, err);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	*ret_exec_id = TAKE(exec_id);
	return 0;
}

int engine_exec_start(struct bk_req *req, struct engine *e, const char *id,
		      const struct engine_exec *x, struct bk_stream **ret, char **ret_exec_id,
		      struct err *err)
{
	struct exec_stream *s;
	int r = exec_start(req, e, id, x, true, &s, ret_exec_id, err);

	if (r == 0)
		*ret = &s->stream;
	return r;
}

int engine_exec_inspect(struct bk_req *req, struct engine *e, const char *exec_id, int *ret_status,
			int *ret_pid, struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL);
	double status, pid;
	cJSON *json;
	bool running;
	int r = http_path(&path, "/exec/%s/json", exec_id);

	r = r < 0 ? err_set(err, r, "engine %s: %s", engine_host(e), strerror(-r))
		  : engine_get(req, e, path.data, &json, err);
	if (r < 0)
		return r;
	running = json_bool(json, "Running");
	status = json_number(json, "ExitCode", -1);
	pid = json_number(json, "Pid", 0);
	cJSON_Delete(json);
	if (ret_pid)
		*ret_pid = pid > 0 && pid < INT32_MAX ? (int)pid : 0;
	if (running || status < 0)
		return err_set(err, -EBUSY, "engine %s: the command still runs", engine_host(e));
	*ret_status = status <= 255 ? (int)status : 255;
	return 0;
}

/* ---- Running to the end ---- */

struct run {
	struct exec_stream *s;
	const char *input;
	size_t left;
	bool closed; /* standard input */
	bool fed;    /* had any */
	struct buf *out;
	uint64_t moved_ms;
};

/* Send what goes of the input, and its end. */
static void feed(struct run *x)
{
	while (x->left > 0) {
		ssize_t n = http_conn_send(x->s->conn, x->input, x->left);

		if (n == -EAGAIN)
			return;
		if (n < 0)
			x->left = n = 0; /* the command reads no more; its output still counts */
		x->input += n;
		x->left -= n;
		x->moved_ms = clock_ms();
	}
	if (!x->closed)
		(void)http_conn_shutdown(x->s->conn);
	x->closed = true;
}

/* Take what there is of the output: 0 at its end, -EAGAIN or -errno. */
static int drain(struct run *x)
{
	char data[16384];
	ssize_t n;

	while ((n = exec_stream_read(x->s, data, sizeof(data))) > 0) {
		size_t room = x->out ? x->out->cap - x->out->len : 0;
		int r = room ? buf_add(x->out, data, (size_t)n < room ? (size_t)n : room) : 0;

		if (r < 0)
			return r;
		x->moved_ms = clock_ms();
	}
	return n;
}

/* Until the output ends or, since a child may hold it open, the command has. */
static int pump(struct bk_req *req, struct engine *e, const char *exec_id, struct run *x,
		struct err *err)
{
	int status, r;

	x->moved_ms = clock_ms();
	for (;;) {
		if (!x->closed)
			feed(x);
		r = drain(x);
		if (r == 0)
			return 0;
		/* Podman resets the connection of a command that did not read all its input;
		 * whether it has ended shows in its exit status. */
		if (r == -EIO && x->fed && demux_between(&x->s->demux))
			return 0;
		if (r != -EAGAIN)
			return err_set(err, r, "engine %s: the command's output broke off",
				       engine_host(e));
		r = http_conn_wait(req, x->s->conn, POLLIN | (x->closed ? 0 : POLLOUT), SILENCE_MS);
		if (r < 0)
			return err_set(err, r, "engine %s: gave up the command: %s", engine_host(e),
				       strerror(-r));
		if (r > 0 || clock_ms() - x->moved_ms < SILENCE_MS)
			continue;
		r = engine_exec_inspect(req, e, exec_id, &status, NULL, err);
		if (r != -EBUSY)
			return r;
	}
}

static int exit_status(struct bk_req *req, struct engine *e, const char *exec_id, struct run *x,
		       struct err *err)
{
	uint64_t end = clock_ms() + EXIT_WAIT_MS, pause = 2;
	int status, r;

	while ((r = engine_exec_inspect(req, e, exec_id, &status, NULL, err)) == -EBUSY &&
	       clock_ms() < end) {
		r = http_conn_wait(req, x->s->conn, 0, pause);
		if (r < 0)
			return r;
		pause = pause < 100 ? pause * 2 : pause;
	}
	return r < 0 ? r : status;
}

int engine_exec_run(struct bk_req *req, struct engine *e, const char *id,
		    const struct engine_exec *x, const void *input, size_t input_len,
		    struct buf *out, struct buf *errors, struct err *err)
{
	struct buf none = BUF_INIT(0);
	_cleanup_free_ char *exec_id = NULL;
	struct run run = {
	    .input = input, .left = input_len, .closed = !input, .fed = input, .out = out};
	int r = exec_start(req, e, id, x, input != NULL, &run.s, &exec_id, err);

	if (r < 0)
		return r;
	run.s->sink = errors ? errors : &none;
	r = pump(req, e, exec_id, &run, err);
	if (r == 0)
		r = exit_status(req, e, exec_id, &run, err);
	exec_stream_free(run.s);
	return r;
}
