/*
 * Names: looking up, making, removing and renaming entries, each relative to the descriptor of its
 * directory. What loses its last name keeps a descriptor while its node is in use.
 */
#include "host.h"

#include "base/procfd.h"

#include <linux/fs.h>
#include <stdio.h>

/* ---- Changes of a directory ---- */

static pthread_mutex_t *lock_of(struct host *h, const struct bk_node *dir)
{
	return &h->names[(uintptr_t)dir / sizeof(struct host_node) % HOST_NAME_LOCKS];
}

struct host_held host_hold(struct host *h, const struct bk_node *dir, const struct bk_node *dir2)
{
	pthread_mutex_t *a = lock_of(h, dir), *b = lock_of(h, dir2);
	struct host_held held = {a < b ? a : b, a == b ? NULL : a < b ? b : a};

	pthread_mutex_lock(held.first);
	if (held.second)
		pthread_mutex_lock(held.second);
	return held;
}

void host_let_go(struct host_held *held)
{
	if (held->second)
		pthread_mutex_unlock(held->second);
	if (held->first)
		pthread_mutex_unlock(held->first);
	*held = (struct host_held){NULL, NULL};
}

/* ---- Looking up ---- */

static int lookup_at(struct host *h, const struct host_pin *dir, const char *name, bool numbers,
		     struct bk_node **ret_node, struct stat *ret_st)
{
	struct host_node *n;
	int r = host_node_at(h, dir, name, numbers, &n, ret_st);

	if (r == 0)
		*ret_node = &n->base;
	return r;
}

int host_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	int r = host_pin(dir, &pin);

	if (r < 0)
		return r;
	return lookup_at(HOST_OF(dir), &pin, name, req && req->listing, ret_node, ret_st);
}

/* ---- Making ---- */

struct making {
	mode_t mode;
	dev_t rdev;
	const char *target; /* of a symlink */
};

static int make_as_caller(struct bk_req *req, struct host *h, const struct host_pin *dir,
			  const char *name, const struct making *m)
{
	_cleanup_held_ struct host_held held = host_hold(h, &dir->node->base, &dir->node->base);
	_cleanup_as_ struct host_as as = {.host = NULL};
	int dirfd = dir->fd, r = host_as_maker(h, req, dirfd, m->mode, &as);

	if (r < 0)
		return r;
	if (S_ISLNK(m->mode))
		r = symlinkat(m->target, dirfd, name);
	else if (S_ISDIR(m->mode))
		r = mkdirat(dirfd, name, m->mode & 07777);
	else
		r = mknodat(dirfd, name, m->mode, m->rdev);
	return r < 0 ? -errno : 0;
}

static int make(struct bk_req *req, struct bk_node *dir, const char *name, const struct making *m,
		struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	struct host *h = HOST_OF(dir);
	int r = host_pin(dir, &pin);

	if (r == 0)
		r = make_as_caller(req, h, &pin, name, m);
	return r < 0 ? r : lookup_at(h, &pin, name, false, ret_node, ret_st);
}

int host_mknod(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
	       struct bk_node **ret_node, struct stat *ret_st)
{
	const struct making m = {.mode = mode & S_IFMT ? mode : S_IFREG | mode, .rdev = rdev};

	if (S_ISDIR(m.mode) || S_ISLNK(m.mode))
		return -EINVAL;
	return make(req, dir, name, &m, ret_node, ret_st);
}

int host_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
	       struct bk_node **ret_node, struct stat *ret_st)
{
	const struct making m = {.mode = S_IFDIR | mode};

	return make(req, dir, name, &m, ret_node, ret_st);
}

int host_symlink(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	const struct making m = {.mode = S_IFLNK | 0777, .target = target};

	return make(req, dir, name, &m, ret_node, ret_st);
}

int host_link(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
	      struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin file = HOST_PIN_NONE;
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_held_ struct host_held held = {NULL, NULL};
	int r = host_pin(node, &file);

	if (r == 0)
		r = host_pin(dir, &pin);
	if (r < 0)
		return r;
	/* Following the /proc link gives the file itself, also where that is a symlink.
	 * AT_EMPTY_PATH would need a capability. */
	held = host_hold(HOST_OF(dir), dir, dir);
	if (linkat(AT_FDCWD, procfd(file.fd).path, pin.fd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	host_let_go(&held);
	return lookup_at(HOST_OF(dir), &pin, name, false, ret_node, ret_st);
}

/* ---- Removing and renaming ---- */

static void begin_moving(struct host *h, bool placed)
{
	if (placed)
		pthread_rwlock_wrlock(&h->moving);
}

static void end_moving(struct host *h, bool placed)
{
	if (placed)
		pthread_rwlock_unlock(&h->moving);
}

static int remove_found(struct host *h, const struct host_pin *dir, const char *name, int flags)
{
	_cleanup_(host_found_done) struct host_found victim = {.pin = HOST_PIN_NONE};
	int r = host_find(h, dir, name, &victim);
	bool placed;

	if (r < 0)
		return r;
	placed = host_found_placed(h, &victim);
	begin_moving(h, placed);
	r = unlinkat(dir->fd, name, flags) < 0 ? -errno : 0;
	if (r == 0)
		host_found_removed(h, &victim, dir->node, name);
	end_moving(h, placed);
	return r;
}

static int remove_name(struct bk_node *dir, const char *name, int flags)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	struct host *h = HOST_OF(dir);
	_cleanup_held_ struct host_held held = {NULL, NULL};
	int r = host_pin(dir, &pin);

	if (r < 0)
		return r;
	held = host_hold(h, dir, dir);
	return remove_found(h, &pin, name, flags);
}

int host_unlink(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return remove_name(dir, name, 0);
}

int host_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return remove_name(dir, name, AT_REMOVEDIR);
}

static bool same_file(const struct host_found *a, const struct host_found *b)
{
	return a->node && b->node && a->st.st_dev == b->st.st_dev && a->st.st_ino == b->st.st_ino;
}

struct entry {
	const struct host_pin *dir;
	const char *name;
};

static int rename_found(struct host *h, const struct entry *old, const struct entry *new,
			unsigned flags)
{
	_cleanup_(host_found_done) struct host_found from = {.pin = HOST_PIN_NONE};
	_cleanup_(host_found_done) struct host_found to = {.pin = HOST_PIN_NONE};
	int r = host_find(h, old->dir, old->name, &from);
	bool placed;

	if (r == 0)
		r = host_find(h, new->dir, new->name, &to);
	if (r < 0)
		return r;
	placed = host_found_placed(h, &from) || host_found_placed(h, &to);
	begin_moving(h, placed);
	r = host_renameat2(old->dir->fd, old->name, new->dir->fd, new->name, flags);
	/* Of two links of one file, nothing has happened. */
	if (r == 0 && !same_file(&from, &to)) {
		if (!(flags & RENAME_EXCHANGE))
			host_found_removed(h, &to, new->dir->node, new->name);
		host_found_moved(h, &from, new->dir->node, new->name);
		if (flags & RENAME_EXCHANGE)
			host_found_moved(h, &to, old->dir->node, old->name);
	}
	end_moving(h, placed);
	return r;
}

int host_rename(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_node *new_dir,
		const char *new_name, unsigned flags)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_pin_ struct host_pin new_pin = HOST_PIN_NONE;
	const struct entry old = {&pin, name}, new = {&new_pin, new_name};
	struct host *h = HOST_OF(dir);
	_cleanup_held_ struct host_held held = {NULL, NULL};
	int r = host_pin(dir, &pin);

	if (r == 0)
		r = host_pin(new_dir, &new_pin);
	if (r < 0)
		return r;
	held = host_hold(h, dir, new_dir);
	return rename_found(h, &old, &new, flags);
}
