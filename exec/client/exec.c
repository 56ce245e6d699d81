/* aib-exec: the command line, the request, and what the end means for the exit status. */
#include "client.h"

#include "args.h"
#include "relay.h"
#include "send.h"
#include "terminal.h"

#include "registry.h"

#include <string.h>
#include <sys/stat.h>

/* base/options.h and <getopt.h> both have a struct option: only this is needed of the first. */
#include "base/options.h"

static cJSON *string_array(const char *const *strings)
{
	cJSON *array = cJSON_CreateArray();

	for (; array && strings && *strings; strings++)
		cJSON_AddItemToArray(array, cJSON_CreateString(*strings));
	return array;
}

static void add_string(cJSON *o, const char *key, const char *value)
{
	if (value && *value)
		cJSON_AddStringToObject(o, key, value);
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

static void add_terminal(cJSON *o)
{
	const char *term = getenv("TERM");
	uint16_t rows, cols;
	char *entry;

	terminal_size(&rows, &cols);
	cJSON_AddTrueToObject(o, "tty");
	cJSON_AddNumberToObject(o, "rows", rows);
	cJSON_AddNumberToObject(o, "cols", cols);
	/* First, so that -e can say otherwise. */
	if (term && asprintf(&entry, "TERM=%s", term) >= 0) {
		cJSON_InsertItemInArray(cJSON_GetObjectItem(o, "env"), 0,
					cJSON_CreateString(entry));
		free(entry);
	}
}

static cJSON *make_request(const struct exec_args *args, const char *cwd, uint64_t timeout_ms)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "op", "exec");
	cJSON_AddNumberToObject(o, "version", PROTO_VERSION);
	cJSON_AddItemToObject(o, "argv", string_array(args->argv));
	cJSON_AddItemToObject(o, "env", string_array(args->env));
	add_string(o, "cwd", cwd);
	add_string(o, "pwd", spelled_cwd(cwd));
	add_string(o, "workdir", args->workdir);
	add_string(o, "user", args->user);
	add_string(o, "sandbox", args->sandbox);
	add_string(o, "default_sandbox", getenv("AIB_SANDBOX"));
	if (args->tty)
		add_terminal(o);
	cJSON_AddTrueToObject(o, "stream");
	if (args->detach)
		cJSON_AddTrueToObject(o, "detach");
	if (timeout_ms)
		cJSON_AddNumberToObject(o, "timeout_ms", timeout_ms);
	return o;
}

/* ---- The end ---- */

/* One answer that cannot be mistaken, where a status of 125 or 143 may be the command's own. */
static void tell_status(int fd, const struct relay_result *res, const char *error)
{
	bool ran = res && res->end == RELAY_EXIT;
	cJSON *o = cJSON_CreateObject();
	char *text;

	cJSON_AddItemToObject(o, "exit_code",
			      ran && res->exit.how == PROTO_EXITED
				  ? cJSON_CreateNumber(res->exit.value)
				  : cJSON_CreateNull());
	cJSON_AddItemToObject(o, "signal",
			      ran && res->exit.how == PROTO_SIGNALLED
				  ? cJSON_CreateNumber(res->exit.value)
				  : cJSON_CreateNull());
	cJSON_AddBoolToObject(o, "timed_out", ran && res->exit.timed_out);
	cJSON_AddItemToObject(o, "error", error ? cJSON_CreateString(error) : cJSON_CreateNull());
	text = cJSON_PrintUnformatted(o);
	if (text)
		dprintf(fd, "%s\n", text);
	free(text);
	cJSON_Delete(o);
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
	else if (e->how == PROTO_FAILED)
		err_set(err, 0, "the guest could not start the command: %s", strerror(e->value));
	else if (res->lost_output && proto_exit_status(e) == 0)
		return err_set(err, CLIENT_FAILED, "output was lost: %s",
			       strerror(res->lost_output));
	return proto_exit_status(e);
}

static int print_job(const char *reply, struct err *err)
{
	cJSON *o = cJSON_Parse(reply);
	const cJSON *job = cJSON_GetObjectItemCaseSensitive(o, "job");
	int status = CLIENT_FAILED;

	if (!cJSON_IsString(job))
		err_set(err, 0, "the daemon's reply names no job");
	else if (puts(job->valuestring) < 0 || fflush(stdout) != 0)
		err_set(err, 0, "cannot write the job's name: %m");
	else
		status = 0;
	cJSON_Delete(o);
	return status;
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
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	_cleanup_close_ int fd = -1;
	uint64_t timeout_ms = 0;
	cJSON *request;
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
	request = make_request(args, cwd, timeout_ms);
	r = send_request(fd, request, err);
	cJSON_Delete(request);
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

int aib_exec_main(int argc, char **argv)
{
	struct exec_args args;
	struct err err = {""};
	int status = 0;

	if (args_parse(argc, argv, &args, &err) < 0) {
		fprintf(stderr, "aib-exec: %s\n", err.text);
		return CLIENT_FAILED;
	}
	if (args.help)
		status = fputs(args_help, stdout) < 0;
	else if (args.version)
		status = puts("aib-exec " AIB_VERSION) < 0;
	else
		status = run(&args);
	args_done(&args);
	return status;
}
