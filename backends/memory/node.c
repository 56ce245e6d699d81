/*
 * One file of the memory backend, whatever its type: its life and its attributes. Permissions
 * are the kernel's to check; what a change does to mode bits and times is ours.
 */
#include "memory.h"

#include <string.h>

int mem_node_new(struct mem *m, struct bk_req *req, struct mem_node *dir, mode_t mode,
		 struct mem_node **ret)
{
	struct mem_node *n;
	int r = mem_charge_inode(m);

	if (r < 0)
		return r;
	n = calloc(1, sizeof(*n));
	if (n && S_ISDIR(mode)) {
		n->dir = mem_dir_new();
		n->size = MEM_PAGE;
	}
	if (!n || (S_ISDIR(mode) && !n->dir)) {
		free(n);
		mem_uncharge_inode(m);
		return -ENOMEM;
	}
	bk_node_init(&n->node, &m->bk);
	n->ino = atomic_fetch_add(&m->next_ino, 1) + 1;
	n->type = IFTODT(mode);
	n->mode = mode;
	n->uid = req ? req->uid : 0;
	n->gid = req ? req->gid : 0;
	n->atime = n->mtime = n->ctime = n->born = mem_now();
	if (dir) {
		pthread_rwlock_rdlock(mem_lock(dir));
		if (dir->mode & S_ISGID) {
			n->gid = dir->gid;
			if (S_ISDIR(mode))
				n->mode |= S_ISGID;
		}
		pthread_rwlock_unlock(mem_lock(dir));
	}
	*ret = n;
	return 0;
}

void mem_node_free(struct bk_node *node)
{
	struct mem_node *n = mem_node_of(node);

	if (mem_is_dir(n)) {
		mem_dir_free(n->dir);
	} else if (n->type == DT_LNK) {
		mem_uncharge(mem_of(n), n->size);
		free(n->target);
	} else if (n->type == DT_REG) {
		mem_pages_drop(n, 0, UINT64_MAX / MEM_PAGE);
	}
	mem_xattrs_free(n);
	mem_uncharge_inode(mem_of(n));
	free(n);
}

static void stat_locked(const struct mem_node *n, struct stat *ret)
{
	*ret = (struct stat){
	    .st_ino = n->ino,
	    .st_mode = n->mode,
	    .st_nlink = n->nlink,
	    .st_uid = n->uid,
	    .st_gid = n->gid,
	    .st_rdev = n->type == DT_CHR || n->type == DT_BLK ? n->rdev : 0,
	    .st_size = n->size,
	    .st_blksize = MEM_PAGE,
	    .st_blocks = n->n_pages * (MEM_PAGE / 512),
	    .st_atim = n->atime,
	    .st_mtim = n->mtime,
	    .st_ctim = n->ctime,
	};
}

void mem_node_stat(struct mem_node *n, struct stat *ret)
{
	pthread_rwlock_rdlock(mem_lock(n));
	stat_locked(n, ret);
	pthread_rwlock_unlock(mem_lock(n));
}

void mem_node_changed(struct mem_node *n, int links, bool content, struct timespec now)
{
	pthread_rwlock_wrlock(mem_lock(n));
	n->nlink += links;
	n->ctime = now;
	if (content)
		n->mtime = now;
	pthread_rwlock_unlock(mem_lock(n));
}

void mem_node_written_locked(struct mem_node *n, struct bk_req *req)
{
	n->mtime = n->ctime = mem_now();
	if (req && req->uid != 0)
		n->mode = bk_mode_written(req, n->mode, n->gid);
	mem_capability_drop_locked(n);
}

int mem_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file, struct stat *ret_st)
{
	mem_node_stat(mem_node_of(node), ret_st);
	return 0;
}

int mem_born(struct bk_req *req, struct bk_node *node, struct bk_file *file, struct timespec *ret)
{
	*ret = mem_node_of(node)->born; /* it never changes */
	return 0;
}

static void set_owner(struct bk_req *req, struct mem_node *n, const struct bk_setattr *attr)
{
	if (!mem_is_dir(n)) {
		n->mode = bk_mode_written(req, n->mode, n->gid);
		mem_capability_drop_locked(n);
	}
	if (attr->mask & BK_SET_UID)
		n->uid = attr->uid;
	if (attr->mask & BK_SET_GID)
		n->gid = attr->gid;
}

static void set_times(struct mem_node *n, const struct bk_setattr *attr, struct timespec now)
{
	if (attr->mask & BK_SET_ATIME)
		n->atime = attr->atime;
	if (attr->mask & BK_SET_MTIME)
		n->mtime = attr->mtime;
	if (attr->mask & BK_SET_ATIME_NOW)
		n->atime = now;
	if (attr->mask & BK_SET_MTIME_NOW)
		n->mtime = now;
	n->ctime = attr->mask & BK_SET_CTIME ? attr->ctime : now;
}

/* truncate(2) by name of an empty file to nothing is no change, ftruncate(2) is one: as tmpfs. */
static int set_size(struct mem_node *n, const struct bk_setattr *attr, bool by_file,
		    struct timespec now)
{
	bool changes = by_file || attr->size != n->size || n->n_pages > 0;
	int r = n->type == DT_REG ? mem_resize_locked(n, attr->size)
		: mem_is_dir(n)	  ? -EISDIR
				  : -EINVAL;

	if (r < 0)
		return r;
	if (changes)
		n->mtime = n->ctime = now;
	mem_capability_drop_locked(n);
	return 0;
}

static void set_mode(struct mem_node *n, mode_t mode, struct timespec now)
{
	n->mode = (n->mode & S_IFMT) | (mode & 07777);
	n->ctime = now;
}

static void kill_suidgid(struct bk_req *req, struct mem_node *n, struct timespec now)
{
	mode_t left = bk_mode_written(req, n->mode, n->gid);

	if (left != n->mode)
		set_mode(n, left, now);
}

static int setattr_locked(struct bk_req *req, struct mem_node *n, const struct bk_file *file,
			  const struct bk_setattr *attr)
{
	const unsigned sizes = BK_SET_SIZE | BK_SET_KILL_SUIDGID;
	struct timespec now = mem_now();

	if (attr->mask & BK_SET_SIZE) {
		int r = set_size(n, attr, file, now);

		if (r < 0)
			return r;
	}
	if (attr->mask & BK_SET_KILL_SUIDGID)
		kill_suidgid(req, n, now);
	/* An empty change is a chown(2) of nothing, which touches the file. */
	if (attr->mask & (BK_SET_UID | BK_SET_GID) || !attr->mask)
		set_owner(req, n, attr);
	if (attr->mask & BK_SET_MODE)
		set_mode(n, attr->mode, now);
	if (attr->mask & ~sizes || !attr->mask)
		set_times(n, attr, now);
	return 0;
}

int mem_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		const struct bk_setattr *attr, struct stat *ret_st)
{
	struct mem_node *n = mem_node_of(node);
	int r;

	pthread_rwlock_wrlock(mem_lock(n));
	r = setattr_locked(req, n, file, attr);
	if (r == 0)
		stat_locked(n, ret_st);
	pthread_rwlock_unlock(mem_lock(n));
	return r;
}

int mem_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	struct mem_node *n = mem_node_of(node);

	if (n->type != DT_LNK)
		return -EINVAL;
	memcpy(buf, n->target, n->size);
	return n->size;
}
