/*
 * `aib job`: jobs of a mount over its daemon's socket, so that they work without a control tree as
 * well.
 */
#include "aib.h"

#include "ask.h"
#include "base/io.h"
#include "base/json.h"
#include "protocol.h"
#include "pump.h"
#include "registry.h"
#include "send.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#define ANSWER_MS 30000

struct job_args {
	const char *mount;
	bool json, follow, only_out, only_err;
	int signal; /* 0: the end of the whole tree */
	char **names;
	int n;
};

static cJSON *request(const char *op, const char *name)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "op", op);
	if (name)
		cJSON_AddStringToObject(o, "name", name);
	return o;
}

static int connect_mount(const struct job_args *args, struct err *err)
{
	_cleanup_registry_mount_ struct registry_mount m = {0};
	int r = registry_choose(args->mount, &m, err);

	return r < 0 ? r : registry_connect(&m, err);
}

/* TIMEOUT_MS -1: for ever. */
static int ask_mount(const struct job_args *args, const cJSON *o, int timeout_ms, cJSON **ret,
		     struct err *err)
{
	_cleanup_close_ int fd = connect_mount(args, err);

	return fd < 0 ? fd : ask(fd, o, timeout_ms, NULL, NULL, ret, err);
}

static long long number_of(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(v) ? (long long)v->valuedouble : 0;
}

/* ---- ls ---- */

static void print_duration(long long ms)
{
	char text[32];

	if (ms < 60000)
		snprintf(text, sizeof(text), "%.1fs", ms / 1000.0);
	else if (ms < 3600000)
		snprintf(text, sizeof(text), "%lldm %llds", ms / 60000, ms / 1000 % 60);
	else
		snprintf(text, sizeof(text), "%lldh %lldm", ms / 3600000, ms / 60000 % 60);
	printf("%9s  ", text);
}

/* The first line of a command, without what a terminal would obey. */
static void print_command(const char *s)
{
	for (; *s && *s != '\n'; s++)
		putchar((unsigned char)*s < ' ' || *s == 0x7f ? ' ' : *s);
	puts(*s ? " …" : "");
}

static void print_job(const cJSON *j)
{
	char how[32];

	if (strcmp(json_text(j, "state"), "exited") != 0)
		snprintf(how, sizeof(how), "%s", json_text(j, "state"));
	else if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(j, "timed_out")))
		snprintf(how, sizeof(how), "timeout");
	else if (number_of(j, "signal"))
		snprintf(how, sizeof(how), "signal %lld", number_of(j, "signal"));
	else
		snprintf(how, sizeof(how), "exit %lld", number_of(j, "exit_code"));
	printf("%-16s %-10s %-12s", json_text(j, "name"), how, json_text(j, "sandbox"));
	print_duration(number_of(j, "duration_ms"));
	print_command(json_text(j, "cmd"));
}

static int job_ls(const struct job_args *args, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *o = request("jobs", NULL), *reply = NULL;
	const cJSON *j;
	int r = ask_mount(args, o, ANSWER_MS, &reply, err);

	if (r < 0)
		return r;
	if (args->json) {
		_cleanup_free_ char *text = cJSON_Print(reply);

		return text && puts(text) >= 0 ? 0 : 1;
	}
	cJSON_ArrayForEach (j, cJSON_GetObjectItemCaseSensitive(reply, "jobs"))
		print_job(j);
	return 0;
}

/* ---- logs ---- */

/* Frames of an output until the REPLY. */
static int copy_output(int fd, struct err *err)
{
	static struct pump_input in;
	const uint8_t *payload;
	struct proto_header h;

	for (;;) {
		int r = pump_input(&in, fd, &h, &payload);

		if (r == -EAGAIN)
			continue;
		if (r <= 0)
			return err_set(err, r < 0 ? r : -EPIPE, "the daemon ended (aib status)");
		if (h.type == PROTO_REPLY)
			return 0;
		if (h.type == PROTO_ERROR)
			return err_set(err, -EREMOTEIO, "%.*s", (int)h.len, (const char *)payload);
		if (h.type != PROTO_STDOUT && h.type != PROTO_STDERR)
			return err_set(err, -EPROTO, "the daemon broke the exec protocol");
		r = io_write_all(h.type == PROTO_STDOUT ? STDOUT_FILENO : STDERR_FILENO, payload,
				 h.len);
		if (r < 0)
			return err_set(err, r, "cannot write: %s", strerror(-r));
	}
}

static int job_logs(const struct job_args *args, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *o = request("job_logs", args->names[0]);
	_cleanup_close_ int fd = connect_mount(args, err);
	_cleanup_free_ char *text = NULL;
	int r;

	if (fd < 0)
		return fd;
	cJSON_AddBoolToObject(o, "follow", args->follow);
	cJSON_AddBoolToObject(o, "no_stdout", args->only_err);
	cJSON_AddBoolToObject(o, "no_stderr", args->only_out);
	text = cJSON_PrintUnformatted(o);
	r = text ? send_request(fd, text, err) : -ENOMEM;
	return r < 0 ? r : copy_output(fd, err);
}

/* ---- wait, kill, rm ---- */

static int job_wait(const struct job_args *args, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *o = request("job_wait", args->names[0]), *reply = NULL;
	int r = ask_mount(args, o, -1, &reply, err);

	if (r < 0)
		return r;
	if (*json_text(reply, "error"))
		fprintf(stderr, "aib: job %s: %s\n", args->names[0], json_text(reply, "error"));
	return number_of(reply, "status");
}

static int job_kill(const struct job_args *args, struct err *err)
{
	int r = 0;

	for (int i = 0; i < args->n && r == 0; i++) {
		_cleanup_(cJSON_Deletep) cJSON *o = request("job_kill", args->names[i]);
		_cleanup_(cJSON_Deletep) cJSON *reply = NULL;

		cJSON_AddNumberToObject(o, "signal", args->signal);
		r = ask_mount(args, o, ANSWER_MS, &reply, err);
	}
	return r;
}

static int job_rm(const struct job_args *args, struct err *err)
{
	int r = 0;

	for (int i = 0; i < args->n && r == 0; i++) {
		_cleanup_(cJSON_Deletep) cJSON *o = request("job_rm", args->names[i]);
		_cleanup_(cJSON_Deletep) cJSON *reply = NULL;

		r = ask_mount(args, o, ANSWER_MS, &reply, err);
	}
	return r;
}

/* ---- The command line ---- */

/* "-15", "-KILL", "-SIGKILL" as kill(1) has them. Returns the number, 0 for what is none. */
static int signal_of(const char *arg)
{
	const char *name = *arg == '-' ? arg + 1 : arg;
	char *end;
	long n = strtol(name, &end, 10);

	if (*name && !*end)
		return n > 0 && n < NSIG ? n : 0;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (int sig = 1; sig < NSIG; sig++)
		if (sigabbrev_np(sig) && strcasecmp(sigabbrev_np(sig), name) == 0)
			return sig;
	return 0;
}

static const struct verb {
	const char *name, *letters;
	int min, max; /* names; max 0: any number */
	int (*run)(const struct job_args *args, struct err *err);
} verbs[] = {
    {"ls", "j", 0, -1, job_ls},	  {"logs", "foe", 1, 1, job_logs}, {"wait", "", 1, 1, job_wait},
    {"kill", "", 1, 0, job_kill}, {"rm", "", 1, 0, job_rm},
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int parse(const struct verb *v, int argc, char **argv, struct job_args *args)
{
	static const struct option options[] = {
	    {"json", no_argument, NULL, 'j'},	     {"follow", no_argument, NULL, 'f'},
	    {"stdout", no_argument, NULL, 'o'},	     {"stderr", no_argument, NULL, 'e'},
	    {"mount", required_argument, NULL, 'm'}, {NULL}};
	int c;

	/* A signal looks like an option. */
	if (v->run == job_kill && argc > 1 && argv[1][0] == '-' && argv[1][1] != '-') {
		args->signal = signal_of(argv[1]);
		if (!args->signal) {
			fprintf(stderr, "aib: job kill: no signal \"%s\"\n", argv[1] + 1);
			return 2;
		}
		argc--;
		argv++;
	}
	optind = 0;
	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (c != 'm' && !strchr(v->letters, c)) {
			if (c != '?')
				fprintf(stderr, "aib: job %s has no such option\n", v->name);
			return aib_see_help("job");
		}
		args->json |= c == 'j';
		args->follow |= c == 'f';
		args->only_out |= c == 'o';
		args->only_err |= c == 'e';
		if (c == 'm')
			args->mount = optarg;
	}
	args->names = argv + optind;
	args->n = argc - optind;
	if (args->n >= v->min && (v->max == 0 || args->n <= (v->max < 0 ? 0 : v->max)))
		return 0;
	fprintf(stderr, "aib: job %s takes %s (aib job --help)\n", v->name,
		v->max < 0    ? "no name"
		: v->max == 1 ? "one job"
			      : "jobs");
	return 2;
}

int cmd_job(int argc, char **argv)
{
	const struct verb *v = argc > 1 ? find_verb(argv[1]) : NULL;
	struct job_args args = {0};
	struct err err = {""};
	int r;

	if (!v) {
		fprintf(stderr, "aib: job ls, logs, wait, kill or rm (aib job --help)\n");
		return 2;
	}
	r = parse(v, argc - 1, argv + 1, &args);
	if (r)
		return r;
	r = v->run(&args, &err);
	if (r >= 0)
		return r;
	aib_fail(&err);
	return v->run == job_wait ? 125 : 1;
}
