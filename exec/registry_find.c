/*
 * The client's side of the registry: which mounts live, and which of them a command means. It
 * trusts an entry only where its directory belongs to root or to the user himself.
 */
#include "registry.h"

#include "json.h"
#include "registry_paths.h"

#include "base/buf.h"
#include "base/cwd.h"
#include "base/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <mntent.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

void registry_mount_done(struct registry_mount *m)
{
	free(m->mountpoint);
	free(m->socket_dir);
	memset(m, 0, sizeof(*m));
}

void registry_list_free(struct registry_mount *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		registry_mount_done(&list[i]);
	free(list);
}

/* Whether the daemon that wrote FD's file still holds its lock. */
static bool lives(int fd)
{
	struct flock lock = {.l_type = F_WRLCK};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int parse_info(const char *text, struct registry_mount *m)
{
	long long pid, uid;
	int r = json_get_string(text, "mountpoint", &m->mountpoint);

	if (r == 0)
		r = json_get_number(text, "pid", &pid);
	if (r == 0)
		r = json_get_number(text, "uid", &uid);
	if (r < 0 || *m->mountpoint != '/')
		return r < 0 ? r : -EINVAL;
	m->pid = pid;
	m->uid = uid;
	return 0;
}

/* The entry NAME of the open directory RUNTIME_FD, whose path is RUNTIME. */
static int read_entry(int runtime_fd, const char *runtime, const char *name,
		      struct registry_mount *ret)
{
	_cleanup_registry_mount_ struct registry_mount m = {0};
	_cleanup_close_ int dir = -1, fd = -1;
	char text[REGISTRY_MAX_INFO];
	struct stat st;
	ssize_t n;
	int r;

	dir = openat(runtime_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st) < 0)
		return -errno;
	if (st.st_uid != 0 && st.st_uid != geteuid() && geteuid() != 0)
		return -EPERM;
	fd = openat(dir, "info", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!lives(fd))
		return -ESTALE;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	r = parse_info(text, &m);
	if (r < 0)
		return r;
	if (asprintf(&m.socket_dir, "%s/%s", runtime, name) < 0) {
		m.socket_dir = NULL;
		return -ENOMEM;
	}
	*ret = m;
	m = (struct registry_mount){0};
	return 0;
}

static int list_dir(const char *runtime, struct registry_mount **list, size_t *n)
{
	DIR *d = opendir(runtime);
	struct registry_mount m, *more;
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT || errno == EACCES ? 0 : -errno;
	while (r == 0 && (e = readdir(d))) {
		if (e->d_name[0] == '.' || read_entry(dirfd(d), runtime, e->d_name, &m) < 0)
			continue;
		more = reallocarray(*list, *n + 1, sizeof(m));
		if (!more) {
			registry_mount_done(&m);
			r = -ENOMEM;
			break;
		}
		*list = more;
		(*list)[(*n)++] = m;
	}
	closedir(d);
	return r;
}

static int by_mountpoint(const void *a, const void *b)
{
	const struct registry_mount *x = a, *y = b;

	return strcmp(x->mountpoint, y->mountpoint);
}

int registry_list(struct registry_mount **ret, size_t *ret_n)
{
	_cleanup_free_ char *runtime = NULL;
	struct registry_mount *list = NULL;
	size_t n = 0;
	int r;

	r = registry_runtime_dir(&runtime);
	if (r == 0)
		r = list_dir(runtime, &list, &n);
	if (r == 0 && !getenv("AIB_RUNTIME_DIR") && strcmp(runtime, REGISTRY_SHARED) != 0)
		r = list_dir(REGISTRY_SHARED, &list, &n);
	if (r < 0) {
		registry_list_free(list, n);
		return r;
	}
	if (n)
		qsort(list, n, sizeof(*list), by_mountpoint);
	*ret = list;
	*ret_n = n;
	return 0;
}

/*
 * A mount whose daemon has another AIB_RUNTIME_DIR than we: the mount table knows it, and its own
 * control tree has the socket. The last line that covers PATH is the file system that PATH is in.
 */
static int find_mounted(const char *path, struct registry_mount *ret)
{
	_cleanup_registry_mount_ struct registry_mount m = {0};
	char link[PATH_MAX + 32], target[PATH_MAX];
	FILE *table = setmntent("/proc/self/mounts", "r");
	struct mntent *e;
	size_t best = 0;
	bool ours = false;
	ssize_t n;

	if (!table)
		return -ENOENT;
	while ((e = getmntent(table))) {
		if (!path_below(path, e->mnt_dir) || strlen(e->mnt_dir) < best)
			continue;
		best = strlen(e->mnt_dir);
		ours = strcmp(e->mnt_type, "fuse.aibfs") == 0;
		free(m.mountpoint);
		m.mountpoint = ours ? strdup(e->mnt_dir) : NULL;
	}
	endmntent(table);
	if (!ours || !m.mountpoint)
		return -ENOENT;
	snprintf(link, sizeof(link), "%s/.aib/socket", m.mountpoint);
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return -ENOENT;
	target[n] = '\0';
	if (*target != '/' || !strrchr(target + 1, '/'))
		return -ENOENT;
	*strrchr(target, '/') = '\0';
	m.socket_dir = strdup(target);
	if (!m.socket_dir)
		return -ENOMEM;
	m.uid = geteuid();
	*ret = m;
	m = (struct registry_mount){0};
	return 0;
}

int registry_find(const char *path, struct registry_mount *ret)
{
	struct registry_mount *list, *best = NULL;
	size_t n;
	int r;

	r = registry_list(&list, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (path_below(path, list[i].mountpoint) &&
		    (!best || strlen(list[i].mountpoint) > strlen(best->mountpoint)))
			best = &list[i];
	if (best) {
		*ret = *best;
		memset(best, 0, sizeof(*best));
	}
	registry_list_free(list, n);
	return best ? 0 : find_mounted(path, ret);
}

/* The only mount of this user. Those of other users count only where he has none. */
static int only_mount(struct registry_mount *ret, struct err *err)
{
	_cleanup_buf_ struct buf names = BUF_INIT(sizeof(err->text) / 2);
	struct registry_mount *list;
	size_t n, own = 0;
	int r;

	r = registry_list(&list, &n);
	if (r < 0)
		return err_set(err, r, "cannot list the mounts: %s", strerror(-r));
	for (size_t i = 0; i < n; i++) {
		if (list[i].uid == geteuid())
			own++;
		buf_addf(&names, "%s%s", i ? ", " : "", list[i].mountpoint);
	}
	r = -ENOTUNIQ;
	for (size_t i = 0; i < n && (own == 1 || (own == 0 && n == 1)); i++) {
		if (own == 1 && list[i].uid != geteuid())
			continue;
		*ret = list[i];
		memset(&list[i], 0, sizeof(list[i]));
		r = 0;
		break;
	}
	registry_list_free(list, n);
	if (r == 0)
		return 0;
	if (n == 0)
		return err_set(
		    err, -ENOENT,
		    "nothing is mounted; start one with `aib mount` (see aib mount --help)");
	return err_set(err, r,
		       "which mount? name one with --mount, AIB_MOUNT or the working directory: %s",
		       names.data ? names.data : "");
}

static int named_mount(const char *how, const char *path, struct registry_mount *ret,
		       struct err *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	int r = registry_find(real ? real : path, ret);

	if (r < 0)
		return err_set(err, r,
			       "%s %s: no mount is there, or its daemon has ended; `aib status` "
			       "lists what is mounted",
			       how, path);
	return 0;
}

int registry_choose(const char *named, struct registry_mount *ret, struct err *err)
{
	const char *env = getenv("AIB_MOUNT");
	_cleanup_free_ char *cwd = NULL;

	if (named)
		return named_mount("--mount", named, ret, err);
	if (env && *env)
		return named_mount("AIB_MOUNT", env, ret, err);
	cwd = cwd_get();
	if (cwd && registry_find(cwd, ret) == 0)
		return 0;
	return only_mount(ret, err);
}

int registry_connect(const struct registry_mount *m, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", m->socket_dir) >=
	    sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG, "%s/socket: too long for a socket's path",
			       m->socket_dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "cannot make a socket: %m");
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return errno == EACCES
			   ? err_set(err, -EACCES,
				     "%s is another user's mount: only its owner, root and its "
				     "control_users may use it",
				     m->mountpoint)
			   : err_set(err, -errno,
				     "%s: its daemon does not answer at %s/socket: %m; is it "
				     "running? (aib status)",
				     m->mountpoint, m->socket_dir);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_set(err, -errno, "cannot ask who serves %s: %m", m->mountpoint);
	if (peer.uid != 0 && peer.uid != geteuid() && geteuid() != 0)
		return err_set(err, -EPERM, "%s is served by another user (uid %u): not trusted",
			       m->mountpoint, (unsigned)peer.uid);
	return TAKE_FD(fd);
}
