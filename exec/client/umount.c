/*
 * `aib umount`: takes the mount away as umount(8) would, so that a busy one stays and its users are
 * named, and then waits for the daemon's end, since containers have to go. A dead daemon's mount
 * and entry are cleaned up here.
 */
#include "aib.h"

#include "base/clock.h"
#include "base/path.h"

#include "ask.h"
#include "mounted.h"
#include "registry.h"

#include <ctype.h>
#include <dirent.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#define ANSWER_MS 30000 /* between two signs of life */
#define END_MS 15000
#define MAX_USERS 10 /* that are named */
/* How long what uses it unseen may: a file that a process closed a moment ago is open still. */
#define UNSEEN_MS 1000
#define UNSEEN_STEP_MS 20

struct how {
	bool force, lazy;
};

/* ---- Who uses it ---- */

static bool leads_below(const char *link, const char *dir)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return path_below(target, dir);
}

/* How process PID uses DIR: "working directory", "open file"…, or NULL. */
static const char *use_of(const char *pid, const char *dir)
{
	static const struct {
		const char *link, *use;
	} links[] = {{"cwd", "working directory"}, {"root", "root"}, {"exe", "program"}};
	char path[PATH_MAX];
	const char *use = NULL;
	struct dirent *e;
	DIR *fds;

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, links[i].link);
		if (leads_below(path, dir))
			return links[i].use;
	}
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	fds = opendir(path);
	while (fds && !use && (e = readdir(fds))) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, e->d_name);
		if (leads_below(path, dir))
			use = "open file";
	}
	if (fds)
		closedir(fds);
	return use;
}

static void name_of(const char *pid, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(ret, size, f))
		snprintf(ret, size, "?");
	ret[strcspn(ret, "\n")] = '\0';
}

/* How many processes are seen to use it. They are named below TITLE; NULL: not at all. */
static int look_for_users(const char *mountpoint, const char *title)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	int n = 0;

	while (proc && (e = readdir(proc))) {
		const char *use =
		    isdigit((unsigned char)*e->d_name) ? use_of(e->d_name, mountpoint) : NULL;
		char name[64];

		if (!use || n++ >= MAX_USERS || !title)
			continue;
		if (n == 1)
			fprintf(stderr, "aib: %s; end what uses it, or see --lazy and --force:\n",
				title);
		name_of(e->d_name, name, sizeof(name));
		fprintf(stderr, "  %s %s (%s)\n", e->d_name, name, use);
	}
	if (n > MAX_USERS && title)
		fprintf(stderr, "  and %d more\n", n - MAX_USERS);
	if (proc)
		closedir(proc);
	return n;
}

static void explain_busy(const char *mountpoint, const char *text)
{
	if (look_for_users(mountpoint, text) == 0)
		fprintf(stderr,
			"aib: %s, by nothing that can be seen from here; see --lazy and --force\n",
			text);
}

/* ---- A dead daemon's ---- */

/* The entry in the registry is taken over and removed. */
static void clean_entry(const char *mountpoint)
{
	struct registry_entry entry = {.info_fd = -1};

	if (registry_add(mountpoint, &entry, NULL) == 0)
		registry_remove(&entry);
}

static int clean_dead(const char *mountpoint, const struct how *how, struct err *err)
{
	int state = mounted_state(mountpoint), r;

	if (state < 0)
		return err_set(err, state, "cannot read the mount table: %s", strerror(-state));
	if (state == MOUNTED_NOTHING || state == MOUNTED_OTHER)
		return err_set(err, -EINVAL, "%s is not a mount of aib's (aib status)", mountpoint);
	r = mounted_detach(mountpoint, state == MOUNTED_DEAD || how->lazy || how->force, err);
	if (r == 0)
		clean_entry(mountpoint);
	return r;
}

/* ---- A living daemon's ---- */

static void show_progress(void *ctx, const char *text)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s", text);
}

/* The daemon answers as its last act but one: PROCESS (a pidfd, or -1) is seen to its end. */
static int wait_for_end(const struct registry_mount *m, int fd, int process, const struct how *how,
			struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *request = cJSON_CreateObject(), *reply = NULL;
	struct pollfd ended = {.fd = process, .events = POLLIN};
	int r = 0;

	cJSON_AddStringToObject(request, "op", "umount");
	cJSON_AddBoolToObject(request, "force", how->force);
	if (fd >= 0)
		r = ask(fd, request, ANSWER_MS, show_progress, NULL, &reply, err);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (r < 0 && r != -EPIPE)
		return err_prefix(err, r, "umount %s", m->mountpoint);
	if (process >= 0 && poll(&ended, 1, END_MS) == 0)
		return err_set(err, -ETIMEDOUT,
			       "%s is unmounted, but its daemon (pid %d) does not end",
			       m->mountpoint, (int)m->pid);
	return 0;
}

static int detach(const struct registry_mount *m, bool lazy, struct err *err)
{
	uint64_t until = clock_ms() + UNSEEN_MS;
	int r;

	while ((r = mounted_detach(m->mountpoint, lazy, err)) == -EBUSY && clock_ms() < until &&
	       look_for_users(m->mountpoint, NULL) == 0)
		(void)poll(NULL, 0, UNSEEN_STEP_MS);
	return r;
}

static int end_living(const struct registry_mount *m, const struct how *how, struct err *err)
{
	_cleanup_close_ int process = m->pid > 0 ? pidfd_open(m->pid, 0) : -1;
	_cleanup_close_ int fd = -1;
	struct err detach_err = {""};
	int r = 0;

	if (!how->lazy) {
		r = registry_connect(m, err);
		if (r == -EPERM || r == -EACCES)
			return r;
		fd = r;
		r = 0;
	}
	if (!how->force)
		r = detach(m, how->lazy, &detach_err);
	if (r == -EBUSY) {
		*err = detach_err;
		return r;
	}
	if (how->lazy) {
		if (r < 0)
			*err = detach_err;
		return r;
	}
	/* Any other failure, as in another mount namespace: the daemon does it, or says why not. */
	return wait_for_end(m, fd, process, how, err);
}

/* ---- The command ---- */

static int umount_it(const char *named, const struct how *how, struct err *err)
{
	_cleanup_registry_mount_ struct registry_mount m = {0};
	_cleanup_free_ char *place = NULL;
	int r;

	if (named) {
		r = mounted_resolve(named, &place, err);
		if (r < 0)
			return r;
		if (registry_find(place, &m) == 0 && strcmp(m.mountpoint, place) == 0)
			r = end_living(&m, how, err);
		else
			return clean_dead(place, how, err);
	} else {
		r = registry_choose(NULL, &m, err);
		if (r == 0)
			r = end_living(&m, how, err);
	}
	if (r == -EBUSY) {
		explain_busy(m.mountpoint, err->text);
		err->text[0] = '\0';
	}
	return r;
}

int cmd_umount(int argc, char **argv)
{
	static const struct option options[] = {
	    {"force", no_argument, NULL, 'f'}, {"lazy", no_argument, NULL, 'l'}, {NULL}};
	struct how how = {0};
	struct err err = {""};
	int c;

	while ((c = getopt_long(argc, argv, "fl", options, NULL)) != -1) {
		if (c != 'f' && c != 'l')
			return aib_see_help("umount");
		how.force |= c == 'f';
		how.lazy |= c == 'l';
	}
	if (argc - optind > 1) {
		fprintf(stderr, "aib: umount takes one mount point (aib umount --help)\n");
		return 2;
	}
	if (umount_it(argv[optind], &how, &err) == 0)
		return 0;
	return aib_fail(&err);
}
