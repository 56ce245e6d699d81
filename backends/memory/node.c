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
	n->atime = n->mtime = n->ctime = mem_now();
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

static void kill_suidgid(struct mem_node *n)
{
	n->mode &= ~S_ISUID;
	if (n->mode & S_IXGRP)
		n->mode &= ~S_ISGID;
}

void mem_node_written_locked(struct mem_node *n, struct bk_req *req)
{
	n->mtime = n->ctime = mem_now();
	if (req && req->uid != 0)
		kill_suidgid(n);
	mem_xattr_drop_locked(n, "security.capability");
}

int mem_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file, struct stat *ret_st)
{
	mem_node_stat(mem_node_of(node), ret_st);
	return 0;
}

static void set_owner(struct mem_node *n, const struct bk_setattr *attr)
{
	if (attr->mask & BK_SET_UID)
		n->uid = attr->uid;
	if (attr->mask & BK_SET_GID)
		n->gid = attr->gid;
	if (!mem_is_dir(n)) {
		kill_suidgid(n);
		mem_xattr_drop_locked(n, "security.capability");
	}
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

static int setattr_locked(struct mem_node *n, const struct bk_setattr *attr)
{
	struct timespec now = mem_now();

	if (attr->mask & BK_SET_SIZE) {
		int r = n->type == DT_REG ? mem_resize_locked(n, attr->size)
			: mem_is_dir(n)	  ? -EISDIR
					  : -EINVAL;

		if (r < 0)
			return r;
		n->mtime = now;
		mem_xattr_drop_locked(n, "security.capability");
	}
	if (attr->mask & BK_SET_KILL_SUIDGID)
		kill_suidgid(n);
	if (attr->mask & (BK_SET_UID | BK_SET_GID))
		set_owner(n, attr);
	if (attr->mask & BK_SET_MODE)
		n->mode = (n->mode & S_IFMT) | (attr->mode & 07777);
	set_times(n, attr, now);
	return 0;
}

int mem_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		const struct bk_setattr *attr, struct stat *ret_st)
{
	struct mem_node *n = mem_node_of(node);
	int r;

	pthread_rwlock_wrlock(mem_lock(n));
	r = setattr_locked(n, attr);
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
