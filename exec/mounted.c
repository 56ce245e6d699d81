#include "mounted.h"

#include "registry.h"

#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>

extern char **environ;

/* A line of /proc/self/mounts may have a path of escaped bytes twice and many options. */
#define MAX_LINE 65536

/* Call EACH for every mount until it returns non-zero, which is then the result. */
static int for_each(int (*each)(void *ctx, const struct mntent *e), void *ctx)
{
	_cleanup_free_ char *line = malloc(MAX_LINE);
	FILE *table = setmntent("/proc/self/mounts", "re");
	struct mntent e;
	int r = 0;

	if (!line || !table) {
		r = line ? -errno : -ENOMEM;
	} else {
		while (r == 0 && getmntent_r(table, &e, line, MAX_LINE))
			r = each(ctx, &e);
	}
	if (table)
		endmntent(table);
	return r;
}

struct look {
	const char *mountpoint;
	enum mounted_state found;
};

static int look_at(void *ctx, const struct mntent *e)
{
	struct look *look = ctx;

	/* The last line of a place is the one on top. */
	if (strcmp(e->mnt_dir, look->mountpoint) == 0)
		look->found =
		    strcmp(e->mnt_type, MOUNTED_TYPE) == 0 ? MOUNTED_LIVING : MOUNTED_OTHER;
	return 0;
}

int mounted_look(const char *mountpoint)
{
	struct look look = {.mountpoint = mountpoint, .found = MOUNTED_NOTHING};
	int r = for_each(look_at, &look);

	return r < 0 ? r : (int)look.found;
}

/* Asked for what the kernel never remembers: attributes of the root may outlive the daemon. */
static bool is_dead(const char *mountpoint)
{
	struct statfs st;

	return statfs(mountpoint, &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

int mounted_state(const char *mountpoint)
{
	struct registry_mount *list;
	size_t n;
	bool known = false;
	int r = mounted_look(mountpoint);

	if (r != MOUNTED_LIVING)
		return r;
	if (registry_list(&list, &n) == 0) {
		for (size_t i = 0; i < n; i++)
			known |= strcmp(list[i].mountpoint, mountpoint) == 0;
		registry_list_free(list, n);
	}
	return !known && is_dead(mountpoint) ? MOUNTED_DEAD : MOUNTED_LIVING;
}

struct list {
	char **paths;
	size_t n;
};

static int add_to_list(void *ctx, const struct mntent *e)
{
	struct list *list = ctx;
	char **more;

	if (strcmp(e->mnt_type, MOUNTED_TYPE) != 0)
		return 0;
	more = reallocarray(list->paths, list->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	list->paths = more;
	more[list->n] = strdup(e->mnt_dir);
	if (!more[list->n])
		return -ENOMEM;
	list->n++;
	return 0;
}

int mounted_list(char ***ret, size_t *ret_n)
{
	struct list list = {0};
	int r = for_each(add_to_list, &list);

	if (r < 0) {
		mounted_list_free(list.paths, list.n);
		return r;
	}
	*ret = list.paths;
	*ret_n = list.n;
	return 0;
}

void mounted_list_free(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

/* fusermount3 has to be asked where this user is not root. Its own words go nowhere: they are for
 * people who know what it is. */
static int run_fusermount(const char *mountpoint, bool lazy, struct err *err)
{
	const char *argv[] = {"fusermount3", lazy ? "-uz" : "-u", "--", mountpoint, NULL};
	posix_spawn_file_actions_t actions;
	int r, status = 0;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return err_set(err, -r, "fusermount3: %s; install the package fuse3", strerror(r));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(err, -EBUSY, "%s is in use, or another user's", mountpoint);
}

int mounted_detach(const char *mountpoint, bool lazy, struct err *err)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno == EPERM && geteuid() != 0)
		return run_fusermount(mountpoint, lazy, err);
	if (errno == EBUSY)
		return err_set(err, -EBUSY, "%s is in use", mountpoint);
	return err_set(err, -errno, "cannot unmount %s: %m", mountpoint);
}

/* The real path of PATH's directory and PATH's last name; NULL where there is no such name. */
static char *resolve_parent(const char *path)
{
	_cleanup_free_ char *copy = strdup(path), *parent = NULL;
	char *slash, *name, *ret = NULL;
	size_t n = copy ? strlen(copy) : 0;

	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	slash = n ? strrchr(copy, '/') : NULL;
	name = slash ? slash + 1 : copy;
	if (!name || !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return NULL;
	if (slash)
		*slash = '\0';
	parent = realpath(slash ? (slash == copy ? "/" : copy) : ".", NULL);
	if (!parent)
		return NULL;
	if (asprintf(&ret, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0)
		return NULL;
	return ret;
}

int mounted_resolve(const char *path, char **ret, struct err *err)
{
	_cleanup_free_ char *place = resolve_parent(path);
	char *real;

	if (place && mounted_state(place) > MOUNTED_NOTHING) {
		*ret = TAKE(place);
		return 0;
	}
	real = realpath(path, NULL);
	if (!real)
		return err_set(err, -errno, "mount point %s: %m", path);
	*ret = real;
	return 0;
}
