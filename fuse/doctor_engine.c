/*
 * Engines as `aib doctor` sees them: whether each answers, what it is, and what is known to be
 * wrong with its version.
 */
#include "doctor.h"

#include "docker/engine.h"

#include <string.h>

#define TIMEOUT_MS 10000

static const char *text_of(const cJSON *obj, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(obj, key));

	return s ? s : "?";
}

/* ---- Known holes ---- */

/* Versions below `fixed` have them. A distribution may have repaired an older one. */
static const struct {
	const char *component;
	unsigned fixed[3];
	const char *what;
} holes[] = {
    {"Engine", {19, 3, 1}, "CVE-2019-14271: copying from a container can run its code as root"},
    {"runc", {1, 1, 12}, "CVE-2024-21626: a container can leave through a leaked descriptor"},
};

static bool is_older(const char *version, const unsigned fixed[3])
{
	unsigned v[3] = {0};

	if (sscanf(version, "%u.%u.%u", &v[0], &v[1], &v[2]) < 2)
		return false;
	for (size_t i = 0; i < 3; i++)
		if (v[i] != fixed[i])
			return v[i] < fixed[i];
	return false;
}

static void check_holes(struct doctor *d, const char *name, const cJSON *version)
{
	const cJSON *component;

	cJSON_ArrayForEach (component, cJSON_GetObjectItemCaseSensitive(version, "Components")) {
		for (size_t i = 0; i < ARRAY_SIZE(holes); i++) {
			const char *v = text_of(component, "Version");

			if (strcmp(text_of(component, "Name"), holes[i].component) == 0 &&
			    is_older(v, holes[i].fixed))
				doctor_say(d, DOCTOR_WARNING, name,
					   "%s %s: %s (unless your distribution has repaired it)",
					   holes[i].component, v, holes[i].what);
		}
	}
}

static void check_info(struct doctor *d, const char *name, const cJSON *info)
{
	const cJSON *option;
	bool seccomp = false;

	cJSON_ArrayForEach (option, cJSON_GetObjectItemCaseSensitive(info, "SecurityOptions")) {
		const char *s = cJSON_GetStringValue(option);

		seccomp |= s && strstr(s, "seccomp");
	}
	if (!seccomp)
		doctor_say(d, DOCTOR_WARNING, name,
			   "containers run without seccomp: any system call is open to them");
	if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(info, "MemoryLimit")) ||
	    cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(info, "PidsLimit")))
		doctor_say(d, DOCTOR_WARNING, name,
			   "limits of memory or processes are not enforced (cgroups)");
}

/* What the storage driver says of KEY. */
static const char *driver_status(const cJSON *info, const char *key)
{
	const cJSON *pair;

	cJSON_ArrayForEach (pair, cJSON_GetObjectItemCaseSensitive(info, "DriverStatus")) {
		const char *k = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0));
		const char *v = cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1));

		if (k && v && strcmp(k, key) == 0)
			return v;
	}
	return "";
}

/* `disk` needs a driver with quotas: docs.docker.com, "docker run --storage-opt". */
static void check_disk(struct doctor *d, const char *name, const cJSON *info)
{
	const char *driver = text_of(info, "Driver");
	const char *backing = driver_status(info, "Backing Filesystem");

	if (strcmp(driver, "btrfs") == 0 || strcmp(driver, "zfs") == 0)
		return;
	if (strncmp(driver, "overlay", 7) == 0 && strcmp(backing, "xfs") == 0)
		doctor_say(d, DOCTOR_OK, name,
			   "limits of a sandbox's disk (disk=) work where the xfs below is mounted "
			   "with pquota");
	else
		doctor_say(d, DOCTOR_OK, name,
			   "sandboxes' disks cannot be limited (disk=): storage %s on %s has no "
			   "quotas; overlay2 on xfs with pquota, btrfs and zfs have",
			   driver, *backing ? backing : "an unknown file system");
}

/* ---- One engine ---- */

static void check_engine(struct doctor *d, const char *name, const struct engine_conf *conf,
			 enum doctor_level missing)
{
	_cleanup_(cJSON_Deletep) cJSON *version = NULL, *info = NULL;
	_cleanup_(engine_closep) struct engine *e = NULL;
	struct err err = {""};
	struct bk_req req;
	int r = engine_open(conf, &e, &err);

	bk_req_init(&req, geteuid(), getegid(), 0, TIMEOUT_MS);
	if (r == 0)
		r = engine_version(&req, e, &version, &err);
	if (r == 0)
		r = engine_info(&req, e, &info, &err);
	bk_req_done(&req);
	if (r < 0) {
		doctor_say(d, missing, name, "%s", err.text[0] ? err.text : strerror(-r));
		return;
	}
	doctor_say(d, DOCTOR_OK, name, "%s: version %s, API %s, storage %s, cgroup %s",
		   engine_host(e), text_of(version, "Version"), text_of(version, "ApiVersion"),
		   text_of(info, "Driver"), text_of(info, "CgroupVersion"));
	check_holes(d, name, version);
	check_info(d, name, info);
	check_disk(d, name, info);
}

void doctor_engines(struct doctor *d)
{
	const cJSON *v;

	check_engine(d, "engine", &(struct engine_conf){0}, DOCTOR_WARNING);
	cJSON_ArrayForEach (v, d->c->engines) {
		_cleanup_(engine_conf_done) struct engine_conf conf = {0};
		struct err err = {""};
		char name[80];

		snprintf(name, sizeof(name), "engine %.64s", v->string);
		if (engine_conf_parse(v, &conf, &err) < 0)
			doctor_say(d, DOCTOR_ERROR, name, "%s", err.text);
		else
			check_engine(d, name, &conf, DOCTOR_ERROR);
	}
}
