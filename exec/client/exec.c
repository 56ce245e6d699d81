/* aib-exec: the command line, the request, and what the end means for the exit status. */
#include "client.h"

#include "args.h"
#include "relay.h"
#include "send.h"
#include "terminal.h"

#include "json.h"
#include "registry.h"

#include <string.h>
#include <sys/stat.h>

#include "base/cwd.h"
#include "base/units.h"

/* ---- The request ---- */

struct text {
	struct buf buf;
	int error; /* the first; what comes after it does not matter */
};

static void text_done(struct text *t)
{
	buf_done(&t->buf);
}

static void add(struct text *out, const char *s)
{
	int r = buf_adds(&out->buf, s);

	if (r < 0 && !out->error)
		out->error = r;
}

static void add_quoted(struct text *out, const char *s)
{
	int r = json_add_string(&out->buf, s);

	if (r < 0 && !out->error)
		out->error = r;
}

static void add_key(struct text *out, const char *key)
{
	add(out, out->buf.len > 1 ? "," : "");
	add_quoted(out, key);
	add(out, ":");
}

static void add_string(struct text *out, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	add_key(out, key);
	add_quoted(out, value);
}

static void add_number(struct text *out, const char *key, unsigned long long n)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%llu", n);
	add_key(out, key);
	add(out, digits);
}

static void add_true(struct text *out, const char *key)
{
	add_key(out, key);
	add(out, "true");
}

/* FIRST may be NULL. */
static void add_strings(struct text *out, const char *key, const char *first,
			const char *const *strings)
{
	const char *comma = "";

	add_key(out, key);
	add(out, "[");
	if (first) {
		add_quoted(out, first);
		comma = ",";
	}
	for (; strings && *strings; strings++, comma = ",") {
		add(out, comma);
		add_quoted(out, *strings);
	}
	add(out, "]");
}

/* The caller's spelling of the working directory CWD (NULL: not known), where $PWD has one. */
static const char *spelled_cwd(const char *cwd)
{
	const char *pwd = getenv("PWD");
	struct stat a, b;

	/* Mostly they are the same, and each stat of a mount is a question to its daemon. */
	if (pwd && cwd && strcmp(pwd, cwd) == 0)
		return pwd;
	if (!pwd || *pwd != '/' || stat(pwd, &a) < 0 || stat(".", &b) < 0)
		return NULL;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? pwd : NULL;
}

static void add_terminal(struct text *out)
{
	uint16_t rows, cols;

	terminal_size(&rows, &cols);
	add_true(out, "tty");
	add_number(out, "rows", rows);
	add_number(out, "cols", cols);
}

/* Whether both outputs are one file, as after 2>&1: what is written keeps its order there. */
static bool is_one_output(void)
{
	struct stat out, err;

	return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 &&
	       out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

/* The caller's TERM comes before what -e says. *ret is the caller's. */
static int caller_term(const struct exec_args *args, char **ret)
{
	const char *term = args->tty ? getenv("TERM") : NULL;

	*ret = NULL;
	return term && asprintf(ret, "TERM=%s", term) < 0 ? -ENOMEM : 0;
}

static int make_request(const struct exec_args *args, const char *cwd, uint64_t timeout_ms,
			struct text *out)
{
	_cleanup_free_ char *term = NULL;

	if (caller_term(args, &term) < 0)
		return -ENOMEM;
	add(out, "{");
	add_string(out, "op", "exec");
	add_number(out, "version", PROTO_VERSION);
	add_strings(out, "argv", NULL, args->argv);
	add_strings(out, "env", term, args->env);
	add_string(out, "cwd", cwd);
	add_string(out, "pwd", spelled_cwd(cwd));
	add_string(out, "workdir", args->workdir);
	add_string(out, "user", args->user);
	add_string(out, "sandbox", args->sandbox);
	add_string(out, "default_sandbox", getenv("AIB_SANDBOX"));
	if (args->tty)
		add_terminal(out);
	if (!args->tty && is_one_output())
		add_true(out, "merged");
	add_true(out, "stream");
	if (args->detach)
		add_true(out, "detach");
	add_string(out, "job", args->name);
	if (timeout_ms)
		add_number(out, "timeout_ms", timeout_ms);
	add(out, "}");
	return out->error;
}

/* ---- The end ---- */

/* One answer that cannot be mistaken, where a status of 125 or 143 may be the command's own. */
static void tell_status(int fd, const struct relay_result *res, const char *error)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SIZE_MAX / 2);
	bool ran = res && res->end == RELAY_EXIT;
	char exited[8] = "null", signalled[8] = "null";

	if (ran && res->exit.how == PROTO_EXITED)
		snprintf(exited, sizeof(exited), "%u", res->exit.value);
	if (ran && res->exit.how == PROTO_SIGNALLED)
		snprintf(signalled, sizeof(signalled), "%u", res->exit.value);
	if (error)
		json_add_string(&text, error);
	dprintf(fd, "{\"exit_code\":%s,\"signal\":%s,\"timed_out\":%s,\"error\":%s}\n", exited,
		signalled, ran && res->exit.timed_out ? "true" : "false",
		error && text.data ? text.data : "null");
}

static int explain_exit(const struct exec_args *args, const struct relay_result *res,
			struct err *err)
{
	const struct proto_exit *e = &res->exit;

	if (e->how == PROTO_NOT_FOUND || e->how == PROTO_NOT_EXEC)
		err_set(err, 0, "%s: %s", args->argv[0], strerror(e->value));
	else if (e->how == PROTO_NO_CWD)
		err_set(err, 0, "the working directory%s%s cannot be entered in the sandbox: %s",
			args->workdir ? " " : "", args->workdir ? args->workdir : "",
			strerror(e->value));
	else if (e->how == PROTO_FAILED && e->value == EAGAIN)
		err_set(err, 0,
			"the sandbox has as many processes as it may (pids); end some, or restart "
			"it (ctl)");
	else if (e->how == PROTO_FAILED)
		err_set(err, 0, "the guest could not start the command: %s", strerror(e->value));
	else if (res->lost_output && proto_exit_status(e) == 0)
		return err_set(err, CLIENT_FAILED, "output was lost: %s",
			       strerror(res->lost_output));
	return proto_exit_status(e);
}

static int print_job(const char *reply, struct err *err)
{
	_cleanup_free_ char *job = NULL;

	if (json_get_string(reply, "job", &job) < 0)
		err_set(err, 0, "the daemon's reply names no job");
	else if (puts(job) < 0 || fflush(stdout) != 0)
		err_set(err, 0, "cannot write the job's name: %m");
	else
		return 0;
	return CLIENT_FAILED;
}

static int finish(const struct exec_args *args, const struct relay_result *res, struct err *err)
{
	switch (res->end) {
	case RELAY_EXIT:
		return explain_exit(args, res, err);
	case RELAY_REPLY:
		return print_job(res->text ? res->text : "", err);
	case RELAY_SIGNAL:
		return 128 + res->signal;
	default:
		err_set(err, 0, "%s", res->text ? res->text : "out of memory");
		return CLIENT_FAILED;
	}
}

/* ---- The whole ---- */

static int start(const struct exec_args *args, struct err *err)
{
	_cleanup_registry_mount_ struct registry_mount mount = {0};
	_cleanup_free_ char *cwd = cwd_get();
	_cleanup_close_ int fd = -1;
	_cleanup_(text_done) struct text request = {.buf = BUF_INIT(SIZE_MAX / 2)};
	uint64_t timeout_ms = 0;
	int r;

	if (args->timeout && option_duration(args->timeout, &timeout_ms) < 0)
		return err_set(err, -EINVAL, "--timeout %s: not a duration such as 30, 500ms or 5m",
			       args->timeout);
	if (!cwd && !args->workdir && !args->sandbox)
		return err_set(err, -errno, "the working directory: %m; was it removed? (cd)");
	r = registry_choose(args->mount, &mount, err);
	if (r < 0)
		return r;
	fd = registry_connect(&mount, err);
	if (fd < 0)
		return fd;
	r = make_request(args, cwd, timeout_ms, &request);
	relay_block_stop();
	r = r < 0 ? err_set(err, r, "out of memory") : send_request(fd, request.buf.data, err);
	buf_done(&request.buf);
	return r < 0 ? r : TAKE_FD(fd);
}

static int run(const struct exec_args *args)
{
	struct relay_conf conf = {.tty = args->tty, .no_stdin = args->no_stdin};
	struct relay_result res = {0};
	struct err err = {""};
	int r, status = CLIENT_FAILED;

	/* Until here a signal ends us, and with us the request. */
	conf.fd = start(args, &err);
	relay_block_signals();
	r = conf.fd < 0 ? conf.fd : relay_run(&conf, &res, &err);
	if (r == 0)
		status = finish(args, &res, &err);
	if (*err.text)
		fprintf(stderr, "aib-exec: %s\n", err.text);
	if (args->status_fd >= 0)
		tell_status(args->status_fd, r == 0 ? &res : NULL, *err.text ? err.text : NULL);
	if (conf.fd >= 0)
		close(conf.fd);
	free(res.text);
	return status;
}

static int refuse(const struct err *err)
{
	fprintf(stderr, "aib-exec: %s\n", err->text);
	return CLIENT_FAILED;
}

int aib_exec_main(int argc, char **argv)
{
	struct exec_args args;
	struct err err = {""};
	int status = 0;

	if (args_parse(argc, argv, &args, &err) < 0)
		return refuse(&err);
	if (args.help)
		status = fputs(args_help, stdout) < 0;
	else if (args.version)
		status = puts("aib-exec " AIB_VERSION) < 0;
	else
		status = run(&args);
	args_done(&args);
	return status;
}

int aib_exec_link(int argc, char **argv)
{
	struct exec_args args;
	struct err err = {""};
	int status;

	if (args_parse_link(argc, argv, &args, &err) < 0)
		return refuse(&err);
	status = run(&args);
	args_done(&args);
	return status;
}
