/*
 * The checked wrappers of the contract: the one place that every call of a backend passes.
 * They know nothing of any backend.
 */
#include "backend.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <string.h>

/* ---- Requests ---- */

void bk_req_init(struct bk_req *req, uid_t uid, gid_t gid, pid_t pid, uint64_t timeout_ms)
{
	*req = (struct bk_req){
	    .uid = uid,
	    .gid = gid,
	    .pid = pid,
	    .deadline_ms = timeout_ms ? clock_ms() + timeout_ms : 0,
	};
	pthread_mutex_init(&req->lock, NULL);
}

void bk_req_done(struct bk_req *req)
{
	pthread_mutex_destroy(&req->lock);
}

void bk_req_cancel(struct bk_req *req)
{
	pthread_mutex_lock(&req->lock);
	if (!req->cancelled) {
		req->cancelled = true;
		if (req->wake)
			req->wake(req->wake_arg);
	}
	pthread_mutex_unlock(&req->lock);
}

int bk_req_check(struct bk_req *req)
{
	bool cancelled;

	if (!req)
		return 0;
	pthread_mutex_lock(&req->lock);
	cancelled = req->cancelled;
	pthread_mutex_unlock(&req->lock);
	if (cancelled)
		return -EINTR;
	return req->deadline_ms && clock_ms() >= req->deadline_ms ? -ETIMEDOUT : 0;
}

uint64_t bk_req_left_ms(struct bk_req *req, uint64_t max_ms)
{
	uint64_t now, left;

	if (!req || !req->deadline_ms)
		return max_ms;
	now = clock_ms();
	left = now < req->deadline_ms ? req->deadline_ms - now : 0;
	return left < max_ms ? left : max_ms;
}

void bk_req_extend(struct bk_req *req, uint64_t ms)
{
	if (req && req->deadline_ms)
		req->deadline_ms = clock_ms() + ms;
}

void bk_req_on_cancel(struct bk_req *req, void (*wake)(void *), void *arg)
{
	if (!req)
		return;
	pthread_mutex_lock(&req->lock);
	req->wake = wake;
	req->wake_arg = arg;
	if (wake && req->cancelled)
		wake(arg);
	pthread_mutex_unlock(&req->lock);
}

/* ---- Nodes and backends ---- */

void bk_node_init(struct bk_node *node, struct bk *bk)
{
	node->bk = bk;
	atomic_init(&node->refs, 1);
	atomic_init(&node->era, 0);
	node->front = 0;
	atomic_fetch_add_explicit(&bk->nodes, 1, memory_order_relaxed);
}

struct bk_node *bk_node_ref(struct bk_node *node)
{
	unsigned before = atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);

	assert(before > 0);
	return node;
}

bool bk_node_tryref(struct bk_node *node)
{
	unsigned n = atomic_load_explicit(&node->refs, memory_order_relaxed);

	while (n > 0)
		if (atomic_compare_exchange_weak(&node->refs, &n, n + 1))
			return true;
	return false;
}

void bk_node_unref(struct bk_node *node)
{
	struct bk *bk;

	if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) > 1)
		return;
	bk = node->bk;
	bk->ops->node_free(node);
	atomic_fetch_sub_explicit(&bk->nodes, 1, memory_order_release);
}

int bk_init(struct bk *bk, const struct bk_ops *ops, const char *route)
{
	char *copy = strdup(route);

	if (!copy)
		return -ENOMEM;
	*bk = (struct bk){
	    .ops = ops,
	    .route = copy,
	    .entry_ttl_ms = 1000,
	    .attr_ttl_ms = 1000,
	};
	return 0;
}

void bk_done(struct bk *bk)
{
	free(TAKE(bk->route));
}

void bk_free(struct bk *bk)
{
	if (bk)
		bk->ops->destroy(bk);
}

/* ---- Sandboxes that come and go ---- */

int bk_enter(struct bk *bk, uid_t uid, const char *path, const char *name, struct bk_use *ret,
	     char **ret_dir, struct err *err)
{
	struct bk_use use = {.ops = bk->ops};
	int r = bk->ops->enter(bk, uid, path, name, &use, ret_dir, err);

	if (r < 0)
		return r;
	assert(use.bk->ops->sandbox && use.name);
	*ret = use;
	return 0;
}

void bk_leave(struct bk_use *use)
{
	if (use->keeper)
		use->ops->leave(use->keeper);
	*use = (struct bk_use){.bk = NULL};
}

/* ---- What every wrapper does ---- */

uint64_t bk_unique_ino(const struct bk *bk, dev_t dev, uint64_t ino)
{
	uint64_t h;

	if (dev == bk->ino_dev && ino < 1ULL << 48)
		return (bk->ino_space & 0x7fff) << 48 | ino;
	h = bk->ino_space * 0x9e3779b97f4a7c15ULL ^ dev * 0xc2b2ae3d27d4eb4fULL ^ ino;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	h ^= h >> 29;
	h *= 0xd6e8feb86659fd93ULL;
	h ^= h >> 32;
	return h | 1ULL << 63;
}

static void fix_stat(const struct bk *bk, struct stat *st)
{
	if (!bk->ops->through)
		st->st_ino = bk_unique_ino(bk, st->st_dev, st->st_ino);
}

/* Count the call, and answer -EIO for a result that no call may have. */
static int64_t checked(struct bk *bk, const char *what, int64_t r, int64_t max)
{
	atomic_fetch_add_explicit(&bk->calls, 1, memory_order_relaxed);
	if (r > max || r < -4095) {
		log_error("route %s: %s: impossible result %lld", bk->route, what, (long long)r);
		r = -EIO;
	}
	if (r < 0) {
		atomic_fetch_add_explicit(&bk->errors, 1, memory_order_relaxed);
		log_debug("route %s: %s: %s", bk->route, what, strerror(-r));
	}
	return r;
}

static int check_name(const char *name)
{
	size_t n = strlen(name);

	assert(n > 0 && !strchr(name, '/'));
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	return n > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* Let *node be the node that serves it, or its entry NAME. */
static int resolve(struct bk_node **node, const char *name)
{
	int r = name ? check_name(name) : 0;

	if (r < 0)
		return r;
	while ((*node)->bk->ops->through) {
		struct bk_node *next;

		r = (*node)->bk->ops->through(*node, name, &next);
		if (r < 0)
			return r;
		if (next == *node)
			return 0;
		*node = next;
	}
	return 0;
}

/* resolve, for a change. */
static int resolve_change(struct bk_node **node, const char *name)
{
	int r = resolve(node, name);

	if (r < 0)
		return r;
	return (*node)->bk->readonly ? -EROFS : 0;
}

struct bk *bk_serving(struct bk_node *node, const char *name)
{
	struct bk_node *next = NULL;

	while (node->bk->ops->through) {
		int r = node->bk->ops->through(node, name, &next);

		if (!next || next == node)
			break;
		if (r == -EBUSY)
			name = NULL;
		node = next;
	}
	return node->bk;
}

int bk_rule(struct bk_node *node, const char *name, const char **ret)
{
	if (resolve(&node, name) < 0 || !node->bk->ops->rule)
		return 0;
	return node->bk->ops->rule(node, name, ret);
}

#define OPS(n) ((n)->bk->ops)

/* The end of every call that answers with a node: its inode number made unique. */
static int new_node(struct bk *bk, const char *what, int r, struct bk_node *const *node,
		    struct stat *st)
{
	r = checked(bk, what, r, 0);
	if (r == 0)
		fix_stat((*node)->bk, st);
	return r;
}

/* ---- Names ---- */

struct bk_node *bk_root(struct bk *bk)
{
	return bk->ops->root(bk);
}

int bk_lookup(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_node **ret_node,
	      struct stat *ret_st)
{
	struct bk_node *node = NULL;
	int r = check_name(name);

	if (r < 0)
		return r;
	r = OPS(dir)->lookup(req, dir, name, &node, ret_st);
	r = checked(dir->bk, "lookup", r, 0);
	if (r < 0)
		return r;
	if (node->bk == dir->bk)
		fix_stat(dir->bk, ret_st);
	*ret_node = node;
	return 0;
}

int bk_mknod(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
	     struct bk_node **ret_node, struct stat *ret_st)
{
	int r = resolve_change(&dir, name);

	if (r < 0)
		return r;
	if (!OPS(dir)->mknod)
		return -EROFS;
	r = OPS(dir)->mknod(req, dir, name, mode, rdev, ret_node, ret_st);
	return new_node(dir->bk, "mknod", r, ret_node, ret_st);
}

int bk_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
	     struct bk_node **ret_node, struct stat *ret_st)
{
	int r = resolve_change(&dir, name);

	if (r < 0)
		return r;
	if (!OPS(dir)->mkdir)
		return -EROFS;
	r = OPS(dir)->mkdir(req, dir, name, mode & 07777, ret_node, ret_st);
	return new_node(dir->bk, "mkdir", r, ret_node, ret_st);
}

int bk_symlink(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
	       struct bk_node **ret_node, struct stat *ret_st)
{
	int r = resolve_change(&dir, name);

	if (r < 0)
		return r;
	if (strlen(target) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (!OPS(dir)->symlink)
		return -EROFS;
	r = OPS(dir)->symlink(req, dir, name, target, ret_node, ret_st);
	return new_node(dir->bk, "symlink", r, ret_node, ret_st);
}

int bk_link(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
	    struct bk_node **ret_node, struct stat *ret_st)
{
	int r = resolve_change(&dir, name);

	if (r < 0)
		return r;
	if (node->bk != dir->bk)
		return -EXDEV;
	if (!OPS(dir)->link)
		return -EROFS;
	r = OPS(dir)->link(req, node, dir, name, ret_node, ret_st);
	return new_node(dir->bk, "link", r, ret_node, ret_st);
}

int bk_unlink(struct bk_req *req, struct bk_node *dir, const char *name)
{
	int r = resolve_change(&dir, name);

	if (r < 0)
		return r;
	if (!OPS(dir)->unlink)
		return -EROFS;
	return checked(dir->bk, "unlink", OPS(dir)->unlink(req, dir, name), 0);
}

int bk_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	int r = resolve_change(&dir, name);

	if (r < 0)
		return r;
	if (!OPS(dir)->rmdir)
		return -EROFS;
	return checked(dir->bk, "rmdir", OPS(dir)->rmdir(req, dir, name), 0);
}

int bk_rename(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_node *new_dir,
	      const char *new_name, unsigned flags)
{
	int r = resolve_change(&dir, name);

	if (r == 0)
		r = resolve_change(&new_dir, new_name);
	if (r < 0)
		return r;
	if (dir->bk != new_dir->bk)
		return -EXDEV;
	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (!OPS(dir)->rename)
		return -EROFS;
	r = OPS(dir)->rename(req, dir, name, new_dir, new_name, flags);
	return checked(dir->bk, "rename", r, 0);
}

/* ---- Attributes ---- */

int bk_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file, struct stat *ret_st)
{
	int r = checked(node->bk, "getattr", OPS(node)->getattr(req, node, file, ret_st), 0);

	if (r == 0)
		fix_stat(node->bk, ret_st);
	return r;
}

int bk_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
	       const struct bk_setattr *attr, struct stat *ret_st)
{
	struct bk_node *shown = node;
	int r = resolve_change(&node, NULL);

	if (r < 0)
		return r;
	if (!OPS(node)->setattr)
		return -EROFS;
	r = checked(node->bk, "setattr", OPS(node)->setattr(req, node, file, attr, ret_st), 0);
	if (r < 0)
		return r;
	if (shown != node)
		return bk_getattr(req, shown, NULL, ret_st);
	fix_stat(node->bk, ret_st);
	return 0;
}

int bk_born(struct bk_req *req, struct bk_node *node, struct bk_file *file, struct timespec *ret)
{
	int r = resolve(&node, NULL);

	if (r < 0 || !OPS(node)->born)
		return -EOPNOTSUPP;
	return checked(node->bk, "born", OPS(node)->born(req, node, file, ret), 0);
}

int bk_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	if (!OPS(node)->readlink)
		return -EINVAL;
	return checked(node->bk, "readlink", OPS(node)->readlink(req, node, buf), PATH_MAX);
}

int bk_statfs(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	int r = resolve(&node, NULL);

	if (r == 0 && OPS(node)->statfs)
		return checked(node->bk, "statfs", OPS(node)->statfs(req, node, ret), 0);
	*ret = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_MAX};
	return 0;
}

ssize_t bk_getxattr(struct bk_req *req, struct bk_node *node, const char *name, void *value,
		    size_t size)
{
	int r = resolve(&node, NULL);

	if (r < 0 || !OPS(node)->getxattr)
		return -EOPNOTSUPP;
	return checked(node->bk, "getxattr", OPS(node)->getxattr(req, node, name, value, size),
		       size ? (int64_t)size : XATTR_SIZE_MAX);
}

ssize_t bk_listxattr(struct bk_req *req, struct bk_node *node, char *list, size_t size)
{
	int r = resolve(&node, NULL);

	if (r < 0 || !OPS(node)->listxattr)
		return -EOPNOTSUPP;
	return checked(node->bk, "listxattr", OPS(node)->listxattr(req, node, list, size),
		       size ? (int64_t)size : XATTR_SIZE_MAX);
}

int bk_setxattr(struct bk_req *req, struct bk_node *node, const char *name, const void *value,
		size_t size, int flags)
{
	int r = resolve_change(&node, NULL);

	if (r < 0)
		return r;
	if (!OPS(node)->setxattr)
		return -EOPNOTSUPP;
	return checked(node->bk, "setxattr",
		       OPS(node)->setxattr(req, node, name, value, size, flags), 0);
}

int bk_removexattr(struct bk_req *req, struct bk_node *node, const char *name)
{
	int r = resolve_change(&node, NULL);

	if (r < 0)
		return r;
	if (!OPS(node)->removexattr)
		return -EOPNOTSUPP;
	return checked(node->bk, "removexattr", OPS(node)->removexattr(req, node, name), 0);
}

/* ---- Files ---- */

bool bk_writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

/* An open file keeps what it is in busy: how many there are, and when that last changed. */
static void count_open(struct bk *bk, int n)
{
	atomic_store_explicit(&bk->used_ms, clock_ms(), memory_order_relaxed);
	atomic_fetch_add(&bk->open, n);
}

static int counted(int r, struct bk_file *const *file)
{
	if (r == 0) {
		(*file)->counted = true;
		count_open((*file)->node->bk, 1);
	}
	return r;
}

int bk_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	if (node->bk->readonly && bk_writes(flags))
		return -EROFS;
	if (!OPS(node)->open)
		return -EOPNOTSUPP;
	return counted(checked(node->bk, "open", OPS(node)->open(req, node, flags, ret), 0), ret);
}

static int peek_by_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
			  struct bk_file **ret, struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	int r = bk_lookup(req, dir, name, &node, ret_st);

	if (r < 0)
		return r;
	if (S_ISREG(ret_st->st_mode))
		return bk_open(req, node, O_RDONLY, ret);
	return S_ISLNK(ret_st->st_mode) ? -ELOOP : S_ISDIR(ret_st->st_mode) ? -EISDIR : -ENXIO;
}

int bk_peek(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_file **ret,
	    struct stat *ret_st)
{
	int r = check_name(name);

	if (r < 0)
		return r;
	if (!OPS(dir)->peek)
		return peek_by_lookup(req, dir, name, ret, ret_st);
	r = checked(dir->bk, "peek", OPS(dir)->peek(req, dir, name, ret, ret_st), 0);
	if (r == 0)
		fix_stat(dir->bk, ret_st);
	return r;
}

static int create_by_mknod(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
			   int flags, struct bk_node **ret_node, struct bk_file **ret_file,
			   struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	int r = -ENOENT;

	if (!OPS(dir)->mknod)
		return -EROFS;
	/* Again where it was there, then removed by another: bounded, since a backend may lie. */
	for (int tries = 0; tries < 10; tries++) {
		r = OPS(dir)->mknod(req, dir, name, S_IFREG | (mode & 07777), 0, &node, ret_st);
		if (r == 0)
			flags &= ~O_TRUNC; /* nothing of a new file is lost */
		if (r != -EEXIST || flags & O_EXCL)
			break;
		r = OPS(dir)->lookup(req, dir, name, &node, ret_st);
		if (r != -ENOENT)
			break;
	}
	if (r < 0)
		return r;
	r = OPS(node)->open(req, node, flags & ~(O_CREAT | O_EXCL), ret_file);
	if (r == 0 && flags & O_TRUNC) {
		r = OPS(node)->getattr(req, node, *ret_file, ret_st);
		if (r < 0)
			bk_release(*ret_file);
	}
	if (r == 0)
		*ret_node = TAKE(node);
	return r;
}

int bk_create(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, int flags,
	      struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	int r = resolve_change(&dir, name);

	if (r < 0)
		return r;
	if (OPS(dir)->create)
		r = OPS(dir)->create(req, dir, name, mode & 07777, flags, ret_node, ret_file,
				     ret_st);
	else
		r = create_by_mknod(req, dir, name, mode, flags, ret_node, ret_file, ret_st);
	return counted(new_node(dir->bk, "create", r, ret_node, ret_st), ret_file);
}

int bk_tmpfile(struct bk_req *req, struct bk_node *dir, mode_t mode, int flags,
	       struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	int r = resolve_change(&dir, NULL);

	if (r < 0)
		return r;
	if (!OPS(dir)->tmpfile)
		return -EOPNOTSUPP;
	r = OPS(dir)->tmpfile(req, dir, mode & 07777, flags, ret_node, ret_file, ret_st);
	return counted(new_node(dir->bk, "tmpfile", r, ret_node, ret_st), ret_file);
}

ssize_t bk_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	struct bk_node *node = file->node;

	assert(off >= 0);
	return checked(node->bk, "read", OPS(node)->read(req, file, data, size, off), size);
}

ssize_t bk_write(struct bk_req *req, struct bk_file *file, const void *data, size_t size, off_t off)
{
	struct bk_node *node = file->node;

	assert(off >= 0);
	if (node->bk->readonly || !OPS(node)->write)
		return -EROFS;
	return checked(node->bk, "write", OPS(node)->write(req, file, data, size, off), size);
}

int bk_flush(struct bk_req *req, struct bk_file *file)
{
	if (!OPS(file->node)->flush)
		return 0;
	return checked(file->node->bk, "flush", OPS(file->node)->flush(req, file), 0);
}

int bk_fsync(struct bk_req *req, struct bk_file *file, bool datasync)
{
	if (!OPS(file->node)->fsync)
		return 0;
	return checked(file->node->bk, "fsync", OPS(file->node)->fsync(req, file, datasync), 0);
}

void bk_release(struct bk_file *file)
{
	struct bk *bk;
	bool was_counted;

	if (!file)
		return;
	bk = file->node->bk;
	was_counted = file->counted;
	if (bk->ops->release) {
		bk->ops->release(file);
	} else {
		bk_node_unref(file->node);
		free(file);
	}
	if (was_counted)
		count_open(bk, -1);
}

off_t bk_seek_all_data(struct bk_req *req, struct bk_file *file, off_t off, int whence)
{
	struct stat st;
	int r = bk_getattr(req, file->node, file, &st);

	if (r < 0)
		return r;
	if (off >= st.st_size)
		return -ENXIO;
	return whence == SEEK_DATA ? off : st.st_size;
}

off_t bk_lseek(struct bk_req *req, struct bk_file *file, off_t off, int whence)
{
	struct bk_node *node = file->node;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off < 0)
		return -ENXIO;
	if (!OPS(node)->lseek)
		return bk_seek_all_data(req, file, off, whence);
	return checked(node->bk, "lseek", OPS(node)->lseek(req, file, off, whence), INT64_MAX);
}

int bk_fallocate(struct bk_req *req, struct bk_file *file, int mode, off_t off, off_t len)
{
	struct bk_node *node = file->node;

	if (node->bk->readonly)
		return -EROFS;
	if (!OPS(node)->fallocate)
		return -EOPNOTSUPP;
	return checked(node->bk, "fallocate", OPS(node)->fallocate(req, file, mode, off, len), 0);
}

/* ---- Directories ---- */

int bk_backing_fd(struct bk_file *file)
{
	const struct bk_ops *ops = file->node->bk->ops;

	return ops->backing_fd ? ops->backing_fd(file) : -EOPNOTSUPP;
}

int bk_opendir(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	struct bk_file *file;

	if (OPS(node)->opendir)
		return checked(node->bk, "opendir", OPS(node)->opendir(req, node, ret), 0);
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->node = bk_node_ref(node);
	*ret = file;
	return 0;
}

struct numbering {
	struct bk *bk;
	bk_fill_fn fill;
	void *ctx;
};

static bool fill_numbered(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct numbering *n = ctx;

	return n->fill(n->ctx, name, bk_unique_ino(n->bk, n->bk->ino_dev, ino), type, next);
}

int bk_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
	       void *ctx)
{
	struct bk_node *node = file->node;
	struct numbering n = {.bk = node->bk, .fill = fill, .ctx = ctx};

	if (OPS(node)->through)
		return checked(node->bk, "readdir",
			       OPS(node)->readdir(req, file, cookie, fill, ctx), 0);
	return checked(node->bk, "readdir",
		       OPS(node)->readdir(req, file, cookie, fill_numbered, &n), 0);
}

int bk_fsyncdir(struct bk_req *req, struct bk_file *file, bool datasync)
{
	if (!OPS(file->node)->fsyncdir)
		return 0;
	return checked(file->node->bk, "fsyncdir", OPS(file->node)->fsyncdir(req, file, datasync),
		       0);
}

/* ---- Searches ---- */

int bk_search(struct bk_req *req, struct bk_node *dir, const struct bk_search *search,
	      struct bk_results **ret)
{
	if (!OPS(dir)->search)
		return -EOPNOTSUPP;
	return checked(dir->bk, "search", OPS(dir)->search(req, dir, search, ret), 0);
}

ssize_t bk_results_read(struct bk_req *req, struct bk_results *results, void *data, size_t size)
{
	ssize_t n = results->ops->read(req, results, data, size);

	assert(n <= (ssize_t)size);
	return n;
}

void bk_results_free(struct bk_results *results)
{
	if (results)
		results->ops->free(results);
}
