/*
 * Names of the memory backend: finding, making, removing, listing. Everything that changes a
 * name holds mem.tree for writing from its first look to its last change, so that each call is
 * seen whole or not at all. References are dropped after the lock: the last one frees the data.
 */
#include "memory.h"

#include <string.h>

static struct mem_node *ref(struct mem_node *n)
{
	bk_node_ref(&n->node);
	return n;
}

static void unref(struct mem_node *n)
{
	bk_node_unref(n ? &n->node : NULL);
}
DEFINE_CLEANUP(struct mem_node *, unref)

int mem_lookup(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_node **ret_node,
	       struct stat *ret_st)
{
	struct mem_node *d = mem_node_of(dir), *n = NULL;
	struct mem_entry *e;

	pthread_rwlock_rdlock(&mem_of(d)->tree);
	e = mem_dir_find(d->dir, name);
	if (e)
		n = ref(mem_entry_node(e));
	pthread_rwlock_unlock(&mem_of(d)->tree);
	if (!n)
		return -ENOENT;
	mem_node_stat(n, ret_st);
	*ret_node = &n->node;
	return 0;
}

/* ---- Making ---- */

static int may_add(struct mem_node *d, const char *name)
{
	if (d->nlink == 0)
		return -ENOENT;
	return mem_dir_find(d->dir, name) ? -EEXIST : 0;
}

static int add_locked(struct mem_node *d, const char *name, struct mem_node *n)
{
	bool is_dir = mem_is_dir(n);
	int r = may_add(d, name);

	if (r == 0)
		r = mem_dir_add(d->dir, name, n);
	if (r < 0)
		return r;
	ref(n);
	if (is_dir)
		n->dir->parent = d;
	mem_node_changed(n, is_dir ? 2 : 1, false, n->ctime);
	mem_node_changed(d, is_dir ? 1 : 0, true, n->ctime);
	return 0;
}

/* Give the new node N, whose reference it takes, its first name. */
static int add_new(struct mem_node *d, const char *name, struct mem_node *n,
		   struct bk_node **ret_node, struct stat *ret_st)
{
	int r;

	pthread_rwlock_wrlock(&mem_of(d)->tree);
	r = add_locked(d, name, n);
	pthread_rwlock_unlock(&mem_of(d)->tree);
	if (r < 0) {
		unref(n);
		return r;
	}
	mem_node_stat(n, ret_st);
	*ret_node = &n->node;
	return 0;
}

int mem_mknod(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
	      struct bk_node **ret_node, struct stat *ret_st)
{
	struct mem_node *d = mem_node_of(dir), *n;
	int r;

	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) && !S_ISCHR(mode) &&
	    !S_ISBLK(mode))
		return -EINVAL;
	r = mem_node_new(mem_of(d), req, d, mode, &n);
	if (r < 0)
		return r;
	if (S_ISCHR(mode) || S_ISBLK(mode))
		n->rdev = rdev;
	return add_new(d, name, n, ret_node, ret_st);
}

int mem_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
	      struct bk_node **ret_node, struct stat *ret_st)
{
	struct mem_node *d = mem_node_of(dir), *n;
	int r = mem_node_new(mem_of(d), req, d, S_IFDIR | mode, &n);

	return r < 0 ? r : add_new(d, name, n, ret_node, ret_st);
}

static int set_target(struct mem_node *n, const char *target)
{
	int r = mem_charge(mem_of(n), strlen(target));

	if (r < 0)
		return r;
	n->size = strlen(target);
	n->target = strdup(target);
	return n->target ? 0 : -ENOMEM;
}

int mem_symlink(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
		struct bk_node **ret_node, struct stat *ret_st)
{
	struct mem_node *d = mem_node_of(dir);
	_cleanup_(unrefp) struct mem_node *n = NULL;
	int r;

	if (!*target)
		return -ENOENT;
	r = mem_node_new(mem_of(d), req, d, S_IFLNK | 0777, &n);
	if (r == 0)
		r = set_target(n, target);
	return r < 0 ? r : add_new(d, name, TAKE(n), ret_node, ret_st);
}

static int link_locked(struct mem_node *d, const char *name, struct mem_node *n)
{
	int r = may_add(d, name);

	if (r < 0)
		return r;
	if (mem_is_dir(n))
		return -EPERM;
	if (n->nlink == 0 && !n->unnamed)
		return -ENOENT;
	r = n->unnamed ? 0 : mem_charge_inode(mem_of(d));
	if (r < 0)
		return r;
	r = mem_dir_add(d->dir, name, n);
	if (r < 0) {
		if (!n->unnamed)
			mem_uncharge_inode(mem_of(d));
		return r;
	}
	n->unnamed = false;
	ref(n);
	mem_node_changed(n, 1, false, mem_now());
	mem_node_changed(d, 0, true, mem_now());
	return 0;
}

int mem_link(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
	     struct bk_node **ret_node, struct stat *ret_st)
{
	struct mem_node *d = mem_node_of(dir), *n = mem_node_of(node);
	int r;

	pthread_rwlock_wrlock(&mem_of(d)->tree);
	r = link_locked(d, name, n);
	pthread_rwlock_unlock(&mem_of(d)->tree);
	if (r < 0)
		return r;
	mem_node_stat(n, ret_st);
	*ret_node = bk_node_ref(node);
	return 0;
}

/* ---- Removing ---- */

void mem_node_unlinked(struct mem_node *d, struct mem_node *n, struct timespec now)
{
	if (mem_is_dir(n)) {
		n->dir->parent = NULL;
		mem_node_changed(n, -2, false, now);
		mem_node_changed(d, -1, true, now);
		return;
	}
	if (n->nlink > 1)
		mem_uncharge_inode(mem_of(n));
	mem_node_changed(n, -1, false, now);
	mem_node_changed(d, 0, true, now);
}

static int may_remove(const struct mem_entry *e, bool want_dir)
{
	const struct mem_node *n = e ? mem_entry_node(e) : NULL;

	if (!n)
		return -ENOENT;
	if (!mem_is_dir(n))
		return want_dir ? -ENOTDIR : 0;
	if (!want_dir)
		return -EISDIR;
	return n->dir->n_entries > 0 ? -ENOTEMPTY : 0;
}

static int remove_name(struct mem_node *d, const char *name, bool want_dir)
{
	_cleanup_(unrefp) struct mem_node *n = NULL;
	struct mem_entry *e;
	int r;

	pthread_rwlock_wrlock(&mem_of(d)->tree);
	e = mem_dir_find(d->dir, name);
	r = may_remove(e, want_dir);
	if (r == 0) {
		n = mem_dir_remove(d->dir, e);
		mem_node_unlinked(d, n, mem_now());
	}
	pthread_rwlock_unlock(&mem_of(d)->tree);
	return r;
}

int mem_unlink(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return remove_name(mem_node_of(dir), name, false);
}

int mem_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return remove_name(mem_node_of(dir), name, true);
}

/* ---- Listing ---- */

/* Entries are copied out under the lock and handed on without it, so that FILL may take its time
 * and call the backend. */
#define BATCH 32

struct listed {
	uint64_t ino, cookie;
	unsigned type;
	char name[NAME_MAX + 1];
};

static void list(struct listed *l, const char *name, const struct mem_node *n, uint64_t cookie)
{
	l->ino = n->ino;
	l->cookie = cookie;
	l->type = n->type;
	strcpy(l->name, name);
}

static size_t list_locked(const struct mem_node *d, uint64_t cookie, struct listed *out)
{
	const struct mem_entry *e;
	size_t n = 0;

	if (cookie < 1)
		list(&out[n++], ".", d, 1);
	if (cookie < 2)
		list(&out[n++], "..", d->dir->parent ? d->dir->parent : d, 2);
	for (e = mem_dir_after(d->dir, cookie); e && n < BATCH;
	     e = mem_dir_after(d->dir, mem_entry_cookie(e)))
		list(&out[n++], mem_entry_name(e), mem_entry_node(e), mem_entry_cookie(e));
	return n;
}

int mem_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
		void *ctx)
{
	struct mem_node *d = mem_node_of(file->node);
	struct listed batch[BATCH];
	size_t n;

	do {
		pthread_rwlock_rdlock(&mem_of(d)->tree);
		n = d->nlink > 0 ? list_locked(d, cookie, batch) : 0;
		pthread_rwlock_unlock(&mem_of(d)->tree);
		for (size_t i = 0; i < n; i++) {
			if (!fill(ctx, batch[i].name, batch[i].ino, batch[i].type, batch[i].cookie))
				return 0;
			cookie = batch[i].cookie;
		}
	} while (n > 0);
	return 0;
}
