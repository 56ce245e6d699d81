/*
 * What a sandbox needs in its container: the guest as PID 1, the workdir, HOME for a user that the
 * image does not know, and links that make the mount's own absolute path exist. All is put before
 * the first start, in one archive, and nothing that exists is changed.
 */
#include "sandbox.h"

#include "spec.h"

#include "../base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define ENTRIES_MAX 256

struct list {
	struct engine_put_entry e[ENTRIES_MAX];
	char *text[2 * ENTRIES_MAX]; /* paths and links, owned */
	size_t n, n_text;
};

static void list_done(struct list *l)
{
	for (size_t i = 0; i < l->n_text; i++)
		free(l->text[i]);
}

static struct engine_put_entry *list_add(struct list *l, const char *path, mode_t mode, uid_t uid,
					 gid_t gid)
{
	struct engine_put_entry *e;
	char *copy;

	if (l->n == ENTRIES_MAX)
		return NULL;
	copy = strdup(path + 1); /* relative to "/" */
	if (!copy)
		return NULL;
	l->text[l->n_text++] = copy;
	e = &l->e[l->n++];
	*e = (struct engine_put_entry){.path = copy, .fd = -1};
	e->st.st_mode = mode;
	e->st.st_uid = uid;
	e->st.st_gid = gid;
	clock_gettime(CLOCK_REALTIME, &e->st.st_mtim);
	return e;
}

static bool list_has(const struct list *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->e[i].path, path + 1) == 0)
			return true;
	return false;
}

/* 1 where PATH exists, 0 where not, or -errno. */
static int exists(struct bk_req *req, struct sandbox *sb, const char *path, struct err *err)
{
	struct engine_stat st = {0};
	int r = engine_archive_stat(req, sb->engine, sb->ref, path, &st, err);

	free(st.link);
	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

/* The directories above PATH that are missing. */
static int add_parents(struct bk_req *req, struct sandbox *sb, struct list *l, const char *path,
		       struct err *err)
{
	char dir[PATH_MAX];
	int r;

	for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - path), path);
		if (list_has(l, dir))
			continue;
		r = exists(req, sb, dir, err);
		if (r < 0)
			return r;
		if (r == 0 && !list_add(l, dir, S_IFDIR | 0755, 0, 0))
			return -ENOMEM;
	}
	return 0;
}

static int add_dir(struct bk_req *req, struct sandbox *sb, struct list *l, const char *path,
		   mode_t mode, uid_t uid, gid_t gid, struct err *err)
{
	int r;

	if (strcmp(path, "/") == 0 || list_has(l, path))
		return 0;
	r = exists(req, sb, path, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = add_parents(req, sb, l, path, err);
	if (r < 0)
		return r;
	return list_add(l, path, S_IFDIR | mode, uid, gid) ? 0 : -ENOMEM;
}

static int add_link(struct bk_req *req, struct sandbox *sb, struct list *l, const char *path,
		    const char *target, struct err *err)
{
	struct engine_put_entry *e;
	int r;

	if (!path_is_plain(path) || strcmp(path, "/") == 0 || strcmp(path, target) == 0 ||
	    list_has(l, path))
		return 0;
	r = exists(req, sb, path, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = add_parents(req, sb, l, path, err);
	if (r < 0)
		return r;
	e = list_add(l, path, S_IFLNK | 0777, 0, 0);
	if (!e || !(l->text[l->n_text] = strdup(target)))
		return -ENOMEM;
	e->link = l->text[l->n_text++];
	return 0;
}

/* The mount's own absolute path, as the host has it. */
static int add_host_paths(struct bk_req *req, struct sandbox *sb, struct list *l, struct err *err)
{
	const struct docker_conf *c = sb->conf;
	const char *mp = sb->mount->mountpoint, *below = strcmp(sb->route, "/") ? sb->route : "";
	char path[2 * PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s%s", mp, below);
	r = add_link(req, sb, l, path, "/", err);
	for (size_t i = 0; i < c->n_volumes && r == 0; i++) {
		/* Below a route at "/" the link above leads there already. */
		if (!c->volumes[i].route || !*below)
			continue;
		snprintf(path, sizeof(path), "%s%s", mp, c->volumes[i].place);
		r = add_link(req, sb, l, path, c->volumes[i].place, err);
	}
	return r;
}

static int add_given_links(struct bk_req *req, struct sandbox *sb, struct list *l, struct err *err)
{
	const cJSON *v;
	int r = 0;

	cJSON_ArrayForEach (v, sb->conf->links_json) {
		r = add_link(req, sb, l, v->string, v->valuestring, err);
		if (r < 0)
			break;
	}
	return r;
}

static int add_guest(struct sandbox *sb, struct list *l, int *ret_fd, struct err *err)
{
	struct engine_put_entry *e;
	struct stat st;
	int fd = open(sb->mount->guest, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, -errno, "%s: %s; is aib installed whole?", sb->mount->guest,
			       strerror(errno));
	e = list_add(l, GUEST_PATH, S_IFREG | 0755, 0, 0);
	if (!e || fstat(fd, &st) < 0) {
		close(fd);
		return -ENOMEM;
	}
	e->fd = fd;
	e->st.st_size = st.st_size;
	e->st.st_mtim = st.st_mtim;
	*ret_fd = fd;
	return 0;
}

int furnish(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	_cleanup_(list_done) struct list l = {.n = 0};
	_cleanup_close_ int fd = -1;
	bool theirs = *sb->user || strcmp(sb->conf->idmap, "user") == 0;
	/* Who runs commands has to be able to write there, and so has the mount's owner: one is
	 * shown as the other (idmap), or root in the container, who can anyway. */
	uid_t uid = theirs ? sb->uid : sb->mount->uid;
	gid_t gid = theirs ? sb->gid : sb->mount->gid;
	int r;

	r = add_guest(sb, &l, &fd, err);
	if (r == 0 && sb->conf->workspace) /* a fresh volume is root's */
		r = list_add(&l, sb->conf->workdir, S_IFDIR | 0700, uid, gid) ? 0 : -ENOMEM;
	if (r == 0)
		r = add_dir(req, sb, &l, sb->conf->workdir, 0755, uid, gid, err);
	if (r == 0 && conf_is_owners(sb->conf) && !sb->conf->user && uid != 0)
		r = add_dir(req, sb, &l, GUEST_HOME, 0700, uid, gid, err);
	if (r == 0 && sb->conf->host_paths)
		r = add_host_paths(req, sb, &l, err);
	if (r == 0)
		r = add_given_links(req, sb, &l, err);
	if (r == 0)
		r = engine_archive_put(req, sb->engine, sb->ref, "/", l.e, l.n, err);
	return r < 0 ? err_prefix(err, r, "furnishing container %s", sb->ref) : 0;
}

static bool is_guest(const struct engine_stat *have, const struct stat *ours)
{
	return S_ISREG(have->mode) && have->size == (uint64_t)ours->st_size &&
	       have->mtime.tv_sec == ours->st_mtim.tv_sec;
}

static int put_guest(struct bk_req *req, struct sandbox *sb, const struct list *l, struct err *err)
{
	int r = engine_archive_put(req, sb->engine, sb->ref, "/", l->e, l->n, err);

	if (r < 0)
		return err_prefix(err, r,
				  "container %s: aib-guest cannot be put at " GUEST_PATH
				  " (read-only root?), so nothing can be run or changed there",
				  sandbox_name(sb));
	pthread_mutex_lock(&sb->lock);
	sb->guest_put = true;
	pthread_mutex_unlock(&sb->lock);
	return 0;
}

int furnish_guest(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	_cleanup_(list_done) struct list l = {.n = 0};
	_cleanup_close_ int fd = -1;
	struct engine_stat have = {0};
	bool checked;
	int r;

	pthread_mutex_lock(&sb->lock);
	checked = sb->guest_checked;
	pthread_mutex_unlock(&sb->lock);
	if (checked)
		return 0;
	r = add_guest(sb, &l, &fd, err);
	if (r < 0)
		return r;
	r = engine_archive_stat(req, sb->engine, sb->ref, GUEST_PATH, &have, err);
	free(have.link);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r < 0 && !sb->attached)
		r = furnish(req, sb, err); /* where it is not, nothing else need be */
	else if (r < 0 || !is_guest(&have, &l.e[0].st))
		r = put_guest(req, sb, &l, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&sb->lock);
	sb->guest_checked = true;
	pthread_mutex_unlock(&sb->lock);
	return 0;
}
