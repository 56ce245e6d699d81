#include "doctor.h"

#include "mounted.h"
#include "mountpoint.h"

#include <fcntl.h>
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

static const char *const level_names[] = {"ok", "warning", "error"};

#define SPOOL_LOW (1ULL << 30)
#define FILES_LOW 4096

void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *fmt, ...)
{
	cJSON *line = cJSON_CreateObject();
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cJSON_AddStringToObject(line, "check", check);
	cJSON_AddStringToObject(line, "level", level_names[level]);
	cJSON_AddStringToObject(line, "text", text);
	if (!cJSON_AddItemToArray(d->lines, line))
		cJSON_Delete(line);
	d->failed |= level == DOCTOR_ERROR;
}

/* ---- FUSE ---- */

static void check_fuse(struct doctor *d)
{
	struct err err = {""};

	if (mountpoint_check_fuse(false, &err) < 0)
		doctor_say(d, DOCTOR_ERROR, "fuse", "%s", err.text);
	else
		doctor_say(d, DOCTOR_OK, "fuse", "/dev/fuse can be used");
}

static void check_fusermount(struct doctor *d)
{
	bool found = mountpoint_find_program("fusermount3");

	if (found)
		doctor_say(d, DOCTOR_OK, "fusermount3", "installed");
	else
		doctor_say(d, geteuid() ? DOCTOR_ERROR : DOCTOR_WARNING, "fusermount3",
			   "missing: only root can mount; install the package fuse3");
	if (geteuid() == 0 || mountpoint_user_allow_other())
		doctor_say(d, DOCTOR_OK, "allow_other", "permitted");
	else
		doctor_say(
		    d, DOCTOR_OK, "allow_other",
		    "not permitted: your mounts are for you alone, root left out too; a line "
		    "\"user_allow_other\" in /etc/fuse.conf changes that");
}

static void check_libfuse(struct doctor *d)
{
	const char *version = fuse_pkgversion();

	if (fuse_version() >= 317)
		doctor_say(d, DOCTOR_OK, "libfuse", "%s", version);
	else
		doctor_say(
		    d, DOCTOR_WARNING, "libfuse",
		    "%s: no passthrough, large files are slower; 3.17 has it (scripts/setup)",
		    version);
}

static void check_kernel(struct doctor *d)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return;
	if (major * 1000 + minor >= 6009)
		doctor_say(d, DOCTOR_OK, "kernel", "%s", u.release);
	else
		doctor_say(d, DOCTOR_WARNING, "kernel",
			   "%s: no passthrough, large files are slower; 6.9 has it", u.release);
}

/* ---- Limits and places ---- */

static void check_files(struct doctor *d)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	if (l.rlim_max >= FILES_LOW)
		doctor_say(d, DOCTOR_OK, "open files", "limit %" PRIu64, (uint64_t)l.rlim_max);
	else
		doctor_say(d, DOCTOR_WARNING, "open files",
			   "limit %" PRIu64 " is low; raise it (ulimit -Hn, limits.conf)",
			   (uint64_t)l.rlim_max);
}

static void check_spool(struct doctor *d)
{
	const char *dir = d->c->opt.spool;
	struct statvfs st;
	uint64_t free_bytes;

	if (access(dir, W_OK | X_OK) < 0 || statvfs(dir, &st) < 0) {
		doctor_say(d, DOCTOR_ERROR, "spool", "%s: %m; choose another with -o spool=DIR",
			   dir);
		return;
	}
	free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	doctor_say(d, free_bytes < SPOOL_LOW ? DOCTOR_WARNING : DOCTOR_OK, "spool",
		   "%s has %" PRIu64 " MiB free%s", dir, free_bytes >> 20,
		   free_bytes < SPOOL_LOW ? "; large files in containers need more" : "");
}

static void check_mounts(struct doctor *d)
{
	char **list;
	size_t n, living = 0;

	if (mounted_list(&list, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (mounted_state(list[i]) != MOUNTED_DEAD)
			living++;
		else
			doctor_say(d, DOCTOR_WARNING, "mounts",
				   "%s was left by a daemon that was killed; aib umount %s",
				   list[i], list[i]);
	}
	doctor_say(d, DOCTOR_OK, "mounts", "%zu", living);
	mounted_list_free(list, n);
}

/* ---- All ---- */

static void print(const struct doctor *d)
{
	const cJSON *line;

	cJSON_ArrayForEach (line, d->lines) {
		const char *fields[] = {"level", "check", "text"}, *values[3];

		for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
			values[i] = cJSON_GetStringValue(cJSON_GetObjectItem(line, fields[i]));
			if (!values[i])
				values[i] = "";
		}
		printf("%-8s %-12s %s\n", values[0], values[1], values[2]);
	}
}

static int print_json(const struct doctor *d)
{
	_cleanup_(cJSON_Deletep) cJSON *doc = cJSON_CreateObject();
	_cleanup_free_ char *text = NULL;

	cJSON_AddBoolToObject(doc, "ok", !d->failed);
	cJSON_AddItemReferenceToObject(doc, "checks", d->lines);
	text = cJSON_Print(doc);
	if (!text)
		return -ENOMEM;
	puts(text);
	return 0;
}

int doctor(const struct config *c, bool json)
{
	static void (*const checks[])(struct doctor *) = {
	    check_fuse,	 check_fusermount, check_libfuse, check_kernel,
	    check_files, check_spool,	   check_mounts,  doctor_engines,
	};
	_cleanup_(cJSON_Deletep) cJSON *lines = cJSON_CreateArray();
	struct doctor d = {.c = c, .lines = lines};
	int r = 0;

	if (!lines)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&d);
	if (json)
		r = print_json(&d);
	else
		print(&d);
	return r < 0 ? r : d.failed;
}
