#include "store.h"

#include "../backends/base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#define MAX_JSON (1 << 20)
#define WAIT_STEP_MS 10

void store_new_id(char ret[STORE_ID_SIZE])
{
	uint64_t n = 0;

	while (getrandom(&n, sizeof(n), 0) != sizeof(n))
		;
	snprintf(ret, STORE_ID_SIZE, "%016llx", (unsigned long long)n);
}

/* ---- Files ---- */

static int open_dir(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int read_file(int dirfd, const char *name, struct buf *out)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char block[4096];
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return -errno;
	while (r == 0 && (n = read(fd, block, sizeof(block))) != 0)
		r = n < 0 ? -errno : buf_add(out, block, n);
	return r;
}

/* NAME is TEXT from now on, or what it was: also after a crash. */
static int write_file(int dirfd, const char *name, const char *text)
{
	char temp[64];
	size_t len = strlen(text);
	int fd, r = 0;

	snprintf(temp, sizeof(temp), ".%s.new", name);
	(void)unlinkat(dirfd, temp, 0); /* a killed writer's */
	fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	errno = EIO;
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
		r = -errno;
	if (r == 0 && fsync(dirfd) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dirfd, temp, 0);
	return r;
}

static int write_json(int dirfd, const cJSON *json)
{
	_cleanup_free_ char *text = cJSON_Print(json);

	return text ? write_file(dirfd, "session.json", text) : -ENOMEM;
}

static int read_json_of(int dirfd, const char *name, cJSON **ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_JSON);
	int r = read_file(dirfd, name, &text);
	cJSON *json;

	if (r < 0)
		return r;
	json = cJSON_ParseWithLength(text.data ? text.data : "", text.len);
	if (!cJSON_IsObject(json)) {
		cJSON_Delete(json);
		return -EINVAL;
	}
	*ret = json;
	return 0;
}

static int read_json(int dirfd, cJSON **ret)
{
	return read_json_of(dirfd, "session.json", ret);
}

static bool has_id(const cJSON *json, const char *id)
{
	const char *have = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "id"));

	return have && strcmp(have, id) == 0;
}

/* ---- The root ---- */

static int make_parents(const char *path, mode_t mode)
{
	char dir[PATH_MAX];

	if (strlen(path) >= sizeof(dir))
		return -ENAMETOOLONG;
	for (const char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - path), path);
		if (mkdir(dir, mode) < 0 && errno != EEXIST)
			return -errno;
		if (!*p)
			return 0;
	}
}

/* The root's id: made by who comes first. */
static int find_id(struct store *s)
{
	_cleanup_buf_ struct buf text = BUF_INIT(256);
	char id[STORE_ID_SIZE];
	int r;

	if (flock(s->fd, LOCK_EX) < 0)
		return -errno;
	r = read_file(s->fd, ".root", &text);
	if (r == -ENOENT) {
		store_new_id(id);
		r = write_file(s->fd, ".root", id);
		if (r == 0)
			r = buf_adds(&text, id);
	}
	flock(s->fd, LOCK_UN);
	if (r == 0 && (text.len < STORE_ID_SIZE - 1 ||
		       strspn(text.data, "0123456789abcdef") < STORE_ID_SIZE - 1))
		r = -EINVAL;
	if (r == 0)
		snprintf(s->id, sizeof(s->id), "%.16s", text.data);
	return r;
}

static int check_owner(const struct store *s, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return err_set(err, -errno, "workspace root %s: %m", path);
	if (st.st_uid != geteuid())
		return err_set(err, -EPERM, "workspace root %s belongs to uid %u", path, st.st_uid);
	if (st.st_mode & 0022)
		return err_set(err, -EPERM,
			       "workspace root %s: others may write there (chmod go-w)", path);
	return 0;
}

int store_open(const char *path, struct store *ret, struct err *err)
{
	struct store s = {.fd = -1, .daemons_fd = -1};
	int r = make_parents(path, geteuid() == 0 ? 0755 : 0700);

	if (r < 0)
		return err_set(err, r, "workspace root %s: %s", path, strerror(-r));
	s.path = realpath(path, NULL);
	s.fd = s.path ? open(s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	r = s.fd < 0 ? err_set(err, -errno, "workspace root %s: %m", path) : 0;
	if (r == 0)
		r = check_owner(&s, path, err);
	if (r == 0) {
		r = find_id(&s);
		if (r < 0)
			err_set(err, r, "workspace root %s: .root: %s", path, strerror(-r));
	}
	if (r == 0) {
		s.daemons_fd =
		    openat(s.fd, ".daemons", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (s.daemons_fd < 0 || flock(s.daemons_fd, LOCK_SH) < 0)
			r = err_set(err, -errno, "workspace root %s: .daemons: %m", path);
	}
	if (r < 0) {
		store_close(&s);
		return r;
	}
	*ret = s;
	return 0;
}

bool store_last(struct store *s)
{
	return flock(s->daemons_fd, LOCK_EX | LOCK_NB) == 0;
}

void store_close(struct store *s)
{
	closep(&s->daemons_fd);
	closep(&s->fd);
	free(s->path);
	*s = (struct store){.fd = -1, .daemons_fd = -1};
}

/* ---- A session's directory ---- */

static int open_session(const struct store *s, const char *name)
{
	return name_is_plain(name) ? open_dir(s->fd, name) : -EINVAL;
}

/* The same with its flock, held alone until the descriptor is closed. */
static int open_to_change(const struct store *s, const char *name)
{
	for (;;) {
		int fd = open_session(s, name);
		struct stat st;

		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
			return fd;
		close(fd); /* removed between the two: there may be another now */
	}
}

int store_read(const struct store *s, const char *name, cJSON **ret)
{
	_cleanup_close_ int dir = open_session(s, name);

	return dir < 0 ? dir : read_json(dir, ret);
}

int store_stamp(const struct store *s, const char *name, struct store_stamp *ret)
{
	_cleanup_close_ int dir = open_session(s, name);
	struct stat st;

	if (dir < 0)
		return dir;
	if (fstatat(dir, "session.json", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret = (struct store_stamp){st.st_ino, st.st_ctim};
	return 0;
}

static bool has_session(const struct store *s, const char *name)
{
	_cleanup_close_ int dir = open_session(s, name);

	return dir >= 0 && faccessat(dir, "session.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int store_list(const struct store *s, bool (*each)(void *ctx, const char *name), void *ctx)
{
	int fd = open_dir(s->fd, ".");
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		closep(&fd);
		return fd < 0 ? fd : -ENOMEM;
	}
	while ((e = readdir(dir)))
		if (name_is_plain(e->d_name) && has_session(s, e->d_name) && !each(ctx, e->d_name))
			break;
	closedir(dir);
	return 0;
}

static bool count_one(void *ctx, const char *name)
{
	++*(unsigned *)ctx;
	return true;
}

int store_count(const struct store *s)
{
	unsigned n = 0;
	int r = store_list(s, count_one, &n);

	return r < 0 ? r : (int)n;
}

/* ---- Making ---- */

/* The workspace and the lock, made or found. */
static int make_files(int dir, const struct store_session *from)
{
	_cleanup_close_ int lock = -1, workspace = -1;

	lock = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0)
		return -errno;
	if (from->volume)
		return futimens(lock, NULL) < 0 ? -errno : 0;
	if (mkdirat(dir, "workspace", 0700) < 0 && errno != EEXIST)
		return -errno;
	workspace = open_dir(dir, "workspace");
	if (workspace < 0)
		return workspace;
	if (geteuid() == 0 && fchown(workspace, from->uid, from->gid) < 0)
		return -errno;
	return fchmod(workspace, 0700) < 0 || futimens(lock, NULL) < 0 ? -errno : 0;
}

static int write_new(int dir, const struct store_session *from)
{
	cJSON *json = cJSON_Duplicate(from->json, true);
	char id[STORE_ID_SIZE];
	int r = -ENOMEM;

	store_new_id(id);
	if (json && cJSON_AddStringToObject(json, "id", id) &&
	    cJSON_AddNumberToObject(json, "uid", from->uid) &&
	    cJSON_AddNumberToObject(json, "gid", from->gid))
		r = write_json(dir, json);
	cJSON_Delete(json);
	return r;
}

/* Counting and making are one step for all daemons: the root's flock is held. */
static int create_counted(const struct store *s, int dir, const struct store_session *from,
			  uint64_t max, struct err *err)
{
	_cleanup_close_ int root = max ? open_dir(s->fd, ".") : -1;
	int n, r;

	if (max && (root < 0 || flock(root, LOCK_EX) < 0))
		return err_set(err, -errno, "workspace root %s: %m", s->path);
	n = max ? store_count(s) : 0;
	if (n < 0)
		return err_set(err, n, "workspace root %s: %s", s->path, strerror(-n));
	if (max && (uint64_t)n >= max)
		return err_set(err, -EDQUOT,
			       "there are %d sessions already (max_sessions); release one", n);
	r = make_files(dir, from);
	if (r == 0)
		r = write_new(dir, from);
	return r < 0 ? err_set(err, r, "workspace root %s: making a session: %s", s->path,
			       strerror(-r))
		     : 1;
}

int store_create(const struct store *s, const char *name, const struct store_session *from,
		 uint64_t max, struct err *err)
{
	_cleanup_close_ int dir = -1;
	int r;

	if (!name_is_plain(name))
		return err_set(err, -EINVAL,
			       "\"%.80s\" is no name of a session: a letter or digit, then at most "
			       "63 letters, digits, '.', '_' and '-'",
			       name);
	do {
		if (mkdirat(s->fd, name, 0711) < 0 && errno != EEXIST)
			return err_set(err, -errno, "workspace root %s: %s: %m", s->path, name);
		dir = open_to_change(s, name);
	} while (dir == -ENOENT);
	if (dir < 0)
		return err_set(err, dir, "workspace root %s: %s: %s", s->path, name,
			       strerror(-dir));
	if (faccessat(dir, "session.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	r = create_counted(s, dir, from, max, err);
	if (r < 0) /* where nothing is in it */
		(void)unlinkat(s->fd, name, AT_REMOVEDIR);
	return r;
}

/* The directory of the session NAME, to be changed, if its id is ID; else MISSING. */
static int open_same(const struct store *s, const char *name, const char *id, int missing)
{
	int dir = open_to_change(s, name), r;
	cJSON *now = NULL;

	if (dir < 0)
		return dir;
	r = read_json(dir, &now);
	if (r == 0 && !has_id(now, id))
		r = missing;
	cJSON_Delete(now);
	if (r == 0)
		return dir;
	close(dir);
	return r;
}

int store_write(const struct store *s, const char *name, const char *id, const cJSON *json)
{
	_cleanup_close_ int dir = open_same(s, name, id, -ESTALE);

	return dir < 0 ? dir : write_json(dir, json);
}

/* ---- Removing ---- */

int store_forget(const struct store *s, const char *name, const char *id)
{
	_cleanup_close_ int dir = open_same(s, name, id, -ENOENT);

	if (dir < 0)
		return dir;
	return unlinkat(dir, "session.json", 0) < 0 || fsync(dir) < 0 ? -errno : 0;
}

/* Call DO on every entry below the directory FD (taken), the deepest first: 0 or the first error.
 */
static int walk(struct bk_req *req, int fd, unsigned depth,
		int (*act)(void *ctx, int dirfd, const char *name, bool is_dir), void *ctx)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (e = readdir(dir))) {
		int sub;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = bk_req_check(req);
		if (r < 0)
			break;
		sub = open_dir(dirfd(dir), e->d_name);
		if (sub >= 0 && depth == 0) {
			close(sub);
			r = -ELOOP;
		} else if (sub >= 0) {
			r = walk(req, sub, depth - 1, act, ctx);
		} else if (sub != -ENOTDIR && sub != -ELOOP && sub != -ENXIO) {
			r = sub;
		}
		if (r == 0)
			r = act(ctx, dirfd(dir), e->d_name, sub >= 0);
	}
	closedir(dir);
	return r;
}

#define MAX_DEPTH 1000 /* of a workspace's directories that are gone through: a descriptor each */

static int remove_entry(void *ctx, int dirfd, const char *name, bool is_dir)
{
	return unlinkat(dirfd, name, is_dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

int store_destroy(struct bk_req *req, const struct store *s, const char *name)
{
	_cleanup_close_ int dir = open_to_change(s, name);
	int fd, r;

	if (dir < 0)
		return dir;
	if (faccessat(dir, "session.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EBUSY;
	fd = open_dir(dir, ".");
	r = fd < 0 ? fd : walk(req, fd, MAX_DEPTH, remove_entry, NULL);
	if (r == 0 && unlinkat(s->fd, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

struct giving {
	uid_t from, to;
	gid_t gid;
};

static int give_entry(void *ctx, int dirfd, const char *name, bool is_dir)
{
	const struct giving *g = ctx;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (st.st_uid != g->from)
		return 0;
	return fchownat(dirfd, name, g->to, g->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int store_chown(struct bk_req *req, const struct store *s, const char *name, uid_t from, uid_t to,
		gid_t gid)
{
	struct giving g = {from, to, gid};
	_cleanup_close_ int dir = open_session(s, name);
	int fd = dir < 0 ? dir : open_dir(dir, "workspace"), r;

	if (fd < 0)
		return fd;
	r = walk(req, fd, MAX_DEPTH, give_entry, &g);
	return r < 0 ? r : give_entry(&g, dir, "workspace", true);
}

/* ---- The workspace, locks and activity ---- */

int store_keep_volume(const struct store *s, const char *name, const char *volume,
		      const char *engine)
{
	_cleanup_close_ int dir = open_to_change(s, name);
	cJSON *json = dir < 0 ? NULL : cJSON_CreateObject();
	_cleanup_free_ char *text = NULL;

	if (json && cJSON_AddStringToObject(json, "volume", volume) &&
	    (!engine || cJSON_AddStringToObject(json, "engine", engine)))
		text = cJSON_Print(json);
	cJSON_Delete(json);
	if (dir < 0)
		return dir;
	return text ? write_file(dir, "volume", text) : -ENOMEM;
}

int store_volume(const struct store *s, const char *name, char **ret_engine)
{
	_cleanup_close_ int dir = open_session(s, name);
	const char *engine;
	cJSON *json = NULL;
	int r = dir < 0 ? dir : read_json_of(dir, "volume", &json);

	if (r < 0)
		return r;
	engine = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "engine"));
	*ret_engine = engine ? strdup(engine) : NULL;
	r = engine && !*ret_engine ? -ENOMEM : 0;
	cJSON_Delete(json);
	return r;
}

int store_workspace(const struct store *s, const char *name)
{
	_cleanup_close_ int dir = open_session(s, name);
	int fd;

	if (dir < 0)
		return dir;
	fd = openat(dir, "workspace", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int store_workspace_empty(const struct store *s, const char *name)
{
	_cleanup_close_ int parent = open_session(s, name);
	int fd = parent < 0 ? parent : open_dir(parent, "workspace");
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int n = 0;

	if (parent >= 0 && fd == -ENOENT)
		return faccessat(parent, "volume", F_OK, AT_SYMLINK_NOFOLLOW) < 0;
	if (!dir) {
		closep(&fd);
		return fd < 0 ? fd : -ENOMEM;
	}
	while (n < 3 && readdir(dir))
		n++;
	closedir(dir);
	return n < 3;
}

static int open_lock(const struct store *s, const char *name)
{
	_cleanup_close_ int dir = open_session(s, name);
	int fd;

	if (dir < 0)
		return dir;
	fd = openat(dir, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int try_flock(int fd, bool alone)
{
	return flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0 ? -errno : 0;
}

static int try_making(int fd, bool alone)
{
	struct flock lock = {.l_type = F_WRLCK};

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int hold(struct bk_req *req, const struct store *s, const char *name, bool alone,
		int (*try)(int fd, bool alone))
{
	_cleanup_close_ int fd = open_lock(s, name);
	int r;

	if (fd < 0)
		return fd;
	while ((r = try(fd, alone)) == -EAGAIN || r == -EACCES) {
		if (!req)
			return -EBUSY;
		r = bk_req_check(req);
		if (r < 0)
			return r;
		usleep(WAIT_STEP_MS * 1000);
	}
	return r < 0 ? r : TAKE_FD(fd);
}

int store_hold(struct bk_req *req, const struct store *s, const char *name, bool alone)
{
	return hold(req, s, name, alone, try_flock);
}

int store_hold_making(struct bk_req *req, const struct store *s, const char *name)
{
	return hold(req, s, name, true, try_making);
}

void store_touch(const struct store *s, const char *name, time_t at)
{
	_cleanup_close_ int fd = open_lock(s, name);
	struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (at && st.st_mtime >= at))
		return;
	if (futimens(fd, at ? times : NULL) < 0)
		log_warning("session %s: lock: %s", name, strerror(errno));
}

int64_t store_touched(const struct store *s, const char *name)
{
	_cleanup_close_ int fd = open_lock(s, name);
	struct stat st;

	if (fd < 0)
		return fd;
	return fstat(fd, &st) < 0 ? -errno : st.st_mtime;
}
