/*
 * The daemon's side of the registry: its entry, and the lock that says that it lives.
 * Directories are made and checked from descriptors without following links, since /tmp is among
 * the places where they may be.
 */
#include "registry.h"

#include "json.h"
#include "registry_paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

void registry_id(const char *mountpoint, char ret[REGISTRY_ID_SIZE])
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	for (const char *p = mountpoint; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3;
	snprintf(ret, REGISTRY_ID_SIZE, "%016llx", (unsigned long long)hash);
}

int registry_runtime_dir(char **ret)
{
	const char *dir = getenv("AIB_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (dir && *dir == '/')
		n = asprintf(ret, "%s", dir);
	else if (geteuid() == 0)
		n = asprintf(ret, "%s", REGISTRY_SHARED);
	else if (xdg && *xdg == '/')
		n = asprintf(ret, "%s/aib", xdg);
	else
		n = asprintf(ret, "/tmp/aib-%u", (unsigned)geteuid());
	return n < 0 ? -ENOMEM : 0;
}

/* Make DIR, or accept it where it is a directory of ours that nobody else can write to. */
static int private_dir(const char *dir, struct err *err)
{
	mode_t mode = geteuid() == 0 ? 0755 : 0700;
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdir(dir, mode) < 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make %s: %m; set AIB_RUNTIME_DIR", dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot open %s: %m; set AIB_RUNTIME_DIR", dir);
	if (st.st_uid != geteuid())
		return err_set(err, -EPERM, "%s belongs to another user; set AIB_RUNTIME_DIR", dir);
	/* Also where the umask made it less than it has to be. */
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
		return err_set(err, -errno, "cannot set the mode of %s: %m", dir);
	return 0;
}

/* The locked info file of DIR. -EBUSY where a living daemon has it. */
static int lock_info(const char *dir, int *ret)
{
	struct flock lock = {.l_type = F_WRLCK};
	char path[PATH_MAX];
	struct stat st;

	if ((size_t)snprintf(path, sizeof(path), "%s/info", dir) >= sizeof(path))
		return -ENAMETOOLONG;
	for (int tries = 0; tries < 100; tries++) {
		_cleanup_close_ int fd =
		    open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

		if (fd < 0)
			return -errno;
		if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
			return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
		if (fstat(fd, &st) < 0)
			return -errno;
		/* Gone: the one before removed it between our open and our lock. */
		if (st.st_nlink > 0) {
			*ret = TAKE_FD(fd);
			return 0;
		}
	}
	return -EBUSY;
}

static int write_info(int fd, const char *mountpoint)
{
	_cleanup_buf_ struct buf text = BUF_INIT(REGISTRY_MAX_INFO - 1);
	int r = buf_adds(&text, "{\"mountpoint\":");

	if (r == 0)
		r = json_add_string(&text, mountpoint);
	if (r == 0)
		r = buf_addf(&text, ",\"pid\":%d,\"uid\":%u}", getpid(), geteuid());
	if (r < 0)
		return r;
	if (ftruncate(fd, 0) < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	errno = EIO;
	return pwrite(fd, text.data, text.len, 0) == (ssize_t)text.len ? 0 : -errno;
}

int registry_dir(char **ret, struct err *err)
{
	_cleanup_free_ char *dir = NULL;
	int r = registry_runtime_dir(&dir);

	if (r < 0)
		return err_set(err, r, "out of memory");
	r = private_dir(dir, err);
	if (r == 0)
		*ret = TAKE(dir);
	return r;
}

int registry_add(const char *mountpoint, struct registry_entry *ret, struct err *err)
{
	_cleanup_free_ char *runtime = NULL, *dir = NULL, *info = NULL;
	_cleanup_close_ int fd = -1;
	char id[REGISTRY_ID_SIZE];
	int r;

	r = registry_dir(&runtime, err);
	if (r < 0)
		return r;
	registry_id(mountpoint, id);
	if (asprintf(&dir, "%s/%s", runtime, id) < 0) {
		dir = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	if (asprintf(&info, "%s/info", dir) < 0) {
		info = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	r = private_dir(dir, err);
	if (r < 0)
		return r;
	r = lock_info(dir, &fd);
	if (r == -EBUSY)
		return err_set(err, r,
			       "%s is mounted already (its daemon runs); aib umount %s first",
			       mountpoint, mountpoint);
	if (r == 0)
		r = write_info(fd, mountpoint);
	if (r < 0)
		return err_set(err, r, "cannot write %s/info: %s", dir, strerror(-r));
	ret->dir = TAKE(dir);
	ret->info = TAKE(info);
	ret->info_fd = TAKE_FD(fd);
	return 0;
}

void registry_remove(struct registry_entry *entry)
{
	_cleanup_close_ int dir = -1;

	if (!entry->dir)
		return;
	dir = open(entry->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		unlinkat(dir, "socket", 0);
		unlinkat(dir, "info", 0);
	}
	rmdir(entry->dir);
	close(entry->info_fd);
	free(entry->dir);
	free(entry->info);
	*entry = (struct registry_entry){.info_fd = -1};
}

/* ---- What dead daemons left ---- */

static bool is_id(const char *name)
{
	return strlen(name) == REGISTRY_ID_SIZE - 1 &&
	       strspn(name, "0123456789abcdef") == REGISTRY_ID_SIZE - 1;
}

/* 0 where it was dead, and is removed unless DRY; -EBUSY where it lives. */
static int prune_entry(const char *dir, bool dry)
{
	struct registry_entry e = {.info_fd = -1};
	int r = lock_info(dir, &e.info_fd);

	if (r < 0)
		return r;
	if (dry) {
		close(e.info_fd);
		return 0;
	}
	e.dir = strdup(dir);
	registry_remove(&e);
	return 0;
}

int registry_prune(bool dry, void (*each)(void *ctx, const char *dir), void *ctx)
{
	_cleanup_free_ char *runtime = NULL;
	struct dirent *entry;
	DIR *list;
	int r = registry_runtime_dir(&runtime);

	if (r < 0)
		return r;
	list = opendir(runtime);
	if (!list)
		return errno == ENOENT ? 0 : -errno;
	while (r == 0 && (entry = readdir(list))) {
		_cleanup_free_ char *dir = NULL;
		int one;

		if (!is_id(entry->d_name))
			continue;
		if (asprintf(&dir, "%s/%s", runtime, entry->d_name) < 0) {
			dir = NULL;
			r = -ENOMEM;
			break;
		}
		one = prune_entry(dir, dry);
		if (one == 0)
			each(ctx, dir);
		else if (one != -EBUSY)
			r = one;
	}
	closedir(list);
	return r;
}
