/*
 * `aib status`: every mount that this user can reach, its daemon's own words about its routes, and
 * the dead ones that killed daemons left.
 */
#include "aib.h"

#include "ask.h"
#include "base/json.h"
#include "mounted.h"
#include "registry.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 10000

static double number_of(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

/* ---- Gathering ---- */

/* What the daemon says; where it does not answer, what the registry knows. */
static cJSON *living(const struct registry_mount *m)
{
	_cleanup_(cJSON_Deletep) cJSON *request = cJSON_CreateObject();
	struct err err = {""};
	cJSON *o = NULL;
	int fd = registry_connect(m, &err), r = fd;

	if (fd >= 0) {
		cJSON_AddStringToObject(request, "op", "status");
		r = ask(fd, request, TIMEOUT_MS, NULL, NULL, &o, &err);
		close(fd);
	}
	if (r == 0 && cJSON_IsObject(o)) {
		cJSON_AddStringToObject(o, "state", "ok");
		cJSON_AddNumberToObject(o, "uid", m->uid);
		return o;
	}
	cJSON_Delete(o);
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "mountpoint", m->mountpoint);
	cJSON_AddStringToObject(o, "state", r == -EREMOTEIO ? "refused" : "no answer");
	cJSON_AddStringToObject(o, "error", err.text);
	cJSON_AddNumberToObject(o, "pid", m->pid);
	cJSON_AddNumberToObject(o, "uid", m->uid);
	return o;
}

static int add_dead(cJSON *list)
{
	char **paths;
	size_t n;
	int r = mounted_list(&paths, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		cJSON *o;

		if (mounted_state(paths[i]) != MOUNTED_DEAD)
			continue;
		o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "mountpoint", paths[i]);
		cJSON_AddStringToObject(o, "state", "dead");
		cJSON_AddItemToArray(list, o);
	}
	mounted_list_free(paths, n);
	return 0;
}

static int gather(cJSON *list)
{
	struct registry_mount *mounts;
	size_t n;
	int r = registry_list(&mounts, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(list, living(&mounts[i]));
	registry_list_free(mounts, n);
	return add_dead(list);
}

/* ---- Printing ---- */

static void print_time(double s)
{
	unsigned long t = s < 0 ? 0 : s;

	if (t < 60)
		printf("%lus", t);
	else if (t < 3600)
		printf("%lum", t / 60);
	else if (t < 86400)
		printf("%luh %lum", t / 3600, t / 60 % 60);
	else
		printf("%lud %luh", t / 86400, t / 3600 % 24);
}

static void print_route(const cJSON *route)
{
	const cJSON *sandbox = cJSON_GetObjectItemCaseSensitive(route, "sandbox");
	const char *source = json_text(route, "source"), *exec = json_text(route, "exec");
	const char *state = json_text(sandbox, "state");

	printf("  %-16s %s%s%s", json_text(route, "path"), json_text(route, "type"),
	       *source ? ":" : "", source);
	if (*exec)
		printf("  exec %s", exec);
	if (*state)
		printf("  %s", state);
	if (strcmp(json_text(route, "state"), "ok") != 0)
		printf("  %s: %s", json_text(route, "state"), json_text(route, "error"));
	putchar('\n');
}

static void print_supervised(const cJSON *m)
{
	double restarts = number_of(m, "restarts");

	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(m, "supervised")))
		printf(", supervised");
	if (restarts > 0)
		printf(", started again %.0f time%s", restarts, restarts == 1 ? "" : "s");
}

static void print_mount(const cJSON *m)
{
	const char *state = json_text(m, "state");
	const cJSON *route;

	printf("%s  ", json_text(m, "mountpoint"));
	if (strcmp(state, "dead") == 0)
		printf("dead: its daemon was killed; aib umount %s", json_text(m, "mountpoint"));
	else if (strcmp(state, "ok") != 0)
		printf("pid %.0f, %s: %s", number_of(m, "pid"), state, json_text(m, "error"));
	else {
		printf("pid %.0f, up ", number_of(m, "pid"));
		print_time(number_of(m, "uptime_s"));
		print_supervised(m);
	}
	putchar('\n');
	cJSON_ArrayForEach (route, cJSON_GetObjectItemCaseSensitive(m, "routes"))
		print_route(route);
}

static int print_json(cJSON *list)
{
	_cleanup_(cJSON_Deletep) cJSON *doc = cJSON_CreateObject();
	_cleanup_free_ char *text = NULL;

	cJSON_AddItemReferenceToObject(doc, "mounts", list);
	text = cJSON_Print(doc);
	return text && puts(text) >= 0 ? 0 : 1;
}

int cmd_status(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL}};
	_cleanup_(cJSON_Deletep) cJSON *list = cJSON_CreateArray();
	struct err err = {""};
	const cJSON *m;
	int c, r;
	bool json = false;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'j')
			return aib_see_help("status");
		json = true;
	}
	if (optind != argc) {
		fprintf(stderr, "aib: status takes no argument (aib status --help)\n");
		return 2;
	}
	r = gather(list);
	if (r < 0) {
		err_set(&err, r, "status: %s", strerror(-r));
		return aib_fail(&err);
	}
	if (json)
		return print_json(list);
	cJSON_ArrayForEach (m, list)
		print_mount(m);
	if (cJSON_GetArraySize(list) == 0)
		puts("nothing is mounted");
	return 0;
}
