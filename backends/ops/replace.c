/* See replace.h. */
#include "replace.h"

#include "base/clock.h"
#include "base/thread.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/random.h>

/* ---- One at a time ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unlocked = PTHREAD_COND_INITIALIZER;
static struct replace_lock *locks; /* guarded by lock, as all of them */

static bool is_locked(const struct replace_lock *l)
{
	for (const struct replace_lock *x = locks; x; x = x->next)
		if (x->dir == l->dir && strcmp(x->name, l->name) == 0)
			return true;
	return false;
}

int replace_lock(struct ops *o, struct ops_place *dir, const char *name, struct replace_lock *ret)
{
	int r = 0;

	*ret = (struct replace_lock){.dir = dir->node, .name = name};
	pthread_mutex_lock(&lock);
	while (is_locked(ret) && r == 0) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 50 * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&unlocked, &lock, &until);
		r = bk_req_check(&o->req.req);
	}
	if (r == 0) {
		ret->next = locks;
		locks = ret;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void replace_unlock(struct replace_lock *l)
{
	struct replace_lock **at = &locks;

	pthread_mutex_lock(&lock);
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	pthread_cond_broadcast(&unlocked);
	pthread_mutex_unlock(&lock);
}

/* ---- Writing ---- */

int replace_begin(struct ops *o, struct ops_place *dir, const char *name, mode_t mode,
		  struct replacement *ret)
{
	struct replacement x = {.ops = o, .dir = dir, .name = name, .hash = hash_new()};
	uint64_t number;
	struct stat st;
	int r = -EEXIST;

	if (!x.hash)
		return -ENOMEM;
	while (r == -EEXIST) {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			number = clock_us();
		snprintf(x.temp, sizeof(x.temp), ".aib-%016llx.tmp", (unsigned long long)number);
		r = bk_create(&o->req.req, dir->node, x.temp, S_IFREG | mode,
			      O_WRONLY | O_CREAT | O_EXCL, &x.node, &x.file, &st);
	}
	if (r < 0) {
		hash_free(x.hash);
		return r;
	}
	*ret = x;
	return 0;
}

int replace_write(struct replacement *x, const void *data, size_t len)
{
	const char *p = data;

	hash_add(x->hash, data, len);
	while (len > 0) {
		int r = ops_step(&x->ops->req);
		ssize_t n = r < 0 ? r : bk_write(&x->ops->req.req, x->file, p, len, x->size);

		if (n <= 0)
			return n < 0 ? n : -EIO;
		x->size += n;
		p += n;
		len -= n;
	}
	return 0;
}

static void done(struct replacement *x)
{
	bk_release(TAKE(x->file));
	bk_node_unref(TAKE(x->node));
	hash_free(TAKE(x->hash));
	x->temp[0] = '\0';
}

void replace_abort(struct replacement *x)
{
	const struct ops_who *w = x->ops ? x->ops->who : NULL;
	struct bk_req req;

	if (!x->temp[0])
		return;
	/* Also where the operation was cancelled. */
	bk_req_init(&req, w->uid, w->gid, w->pid, x->ops->tree->deadline_ms);
	bk_release(TAKE(x->file));
	(void)bk_unlink(&req, x->dir->node, x->temp);
	bk_req_done(&req);
	if (x->ops->tree->replaced)
		x->ops->tree->replaced(x->ops->tree->ctx, x->dir->node, x->temp);
	done(x);
}

/* ---- As the old one was ---- */

/* What a write by another than root takes away. */
static mode_t kept_mode(const struct ops *o, mode_t mode)
{
	mode &= 07777;
	if (o->who->uid != 0) {
		mode &= ~S_ISUID;
		if (mode & S_IXGRP)
			mode &= ~S_ISGID;
	}
	return mode;
}

static int copy_xattr(struct replacement *x, struct bk_node *old, const char *name)
{
	struct bk_req *req = &x->ops->req.req;
	_cleanup_free_ char *value = malloc(XATTR_SIZE_MAX);
	ssize_t n = value ? bk_getxattr(req, old, name, value, XATTR_SIZE_MAX) : -ENOMEM;
	int r = n < 0 ? n : bk_setxattr(req, x->node, name, value, n, 0);

	/* What may not be set, or is not known here, is left. */
	return r == -ENOSPC || r == -EDQUOT || r == -ENOMEM || r == -EINTR ? r : 0;
}

static int copy_xattrs(struct replacement *x, struct bk_node *old)
{
	struct bk_req *req = &x->ops->req.req;
	ssize_t n = bk_listxattr(req, old, NULL, 0);
	_cleanup_free_ char *list = n > 0 ? malloc(n + 1) : NULL;
	int r = 0;

	if (n <= 0)
		return 0;
	if (!list)
		return -ENOMEM;
	n = bk_listxattr(req, old, list, n);
	for (ssize_t at = 0; at < n && r == 0; at += strnlen(list + at, n - at) + 1) {
		list[n] = '\0';
		/* A write takes it away. */
		if (strcmp(list + at, "security.capability") != 0)
			r = copy_xattr(x, old, list + at);
	}
	return r;
}

static int take_after(struct replacement *x, struct bk_node *old, const struct stat *st)
{
	struct bk_req *req = &x->ops->req.req;
	struct bk_setattr a = {.mask = BK_SET_MODE, .mode = kept_mode(x->ops, st->st_mode)};
	struct stat now;
	int r = bk_getattr(req, x->node, NULL, &now);

	if (r == 0)
		r = copy_xattrs(x, old);
	if (r < 0)
		return r;
	if (now.st_uid != st->st_uid)
		a.mask |= BK_SET_UID;
	if (now.st_gid != st->st_gid)
		a.mask |= BK_SET_GID;
	a.uid = st->st_uid;
	a.gid = st->st_gid;
	return bk_setattr(req, x->node, x->file, &a, &now);
}

/* ---- The end ---- */

int replace_hash(struct ops *o, struct bk_node *node, const struct stat *st, char ret[HASH_HEX])
{
	_cleanup_free_ char *data = malloc(OPS_CHUNK);
	struct hash *hash = hash_new();
	struct bk_file *file;
	ssize_t n = 0;
	int r = data && hash ? ops_open(o, &o->req, node, st, &file) : -ENOMEM;

	for (off_t off = 0; r == 0; off += n) {
		r = ops_step(&o->req);
		n = r < 0 ? r : bk_read(&o->req.req, file, data, OPS_CHUNK, off);
		if (n <= 0) {
			bk_release(file);
			break;
		}
		hash_add(hash, data, n);
	}
	r = r < 0 ? r : n < 0 ? (int)n : 0;
	if (r == 0)
		hash_hex(hash, ret);
	hash_free(hash);
	return r;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int check(struct replacement *x, const struct replace_only *only, struct bk_node *node,
		 const struct stat *st)
{
	char hex[HASH_HEX];
	int r;

	if (only->was && (node != only->was || st->st_size != only->st.st_size ||
			  !same_time(&st->st_mtim, &only->st.st_mtim) ||
			  !same_time(&st->st_ctim, &only->st.st_ctim)))
		return -ESTALE;
	if (!only->expect || only->was)
		return 0;
	r = node ? replace_hash(x->ops, node, st, hex) : -ESTALE;
	return r < 0 ? r : strcasecmp(hex, only->expect) == 0 ? 0 : -ESTALE;
}

/* What is at the name now has to be a file that the caller may write. */
static int meet_old(struct replacement *x, const struct replace_only *only)
{
	struct ops *o = x->ops;
	_cleanup_(bk_node_unrefp) struct bk_node *old = NULL;
	struct stat st, dir;
	int r = bk_getattr(&o->req.req, x->dir->node, NULL, &dir);

	if (r == 0)
		r = bk_lookup(&o->req.req, x->dir->node, x->name, &old, &st);
	if (r < 0 && r != -ENOENT)
		return r;
	if (old && !S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO;
	r = ops_may_replace(o, &dir, old ? &st : NULL);
	if (r == 0)
		r = check(x, only, old, &st);
	return r < 0 || !old ? r : take_after(x, old, &st);
}

static int commit(struct replacement *x, const struct replace_only *only)
{
	struct bk_req *req = &x->ops->req.req;
	int r = meet_old(x, only);

	if (r == 0)
		r = bk_fsync(req, x->file, false);
	if (r == 0)
		r = bk_flush(req, x->file);
	bk_release(TAKE(x->file));
	if (r == 0)
		r = ops_step(&x->ops->req);
	if (r == 0)
		r = bk_rename(req, x->dir->node, x->temp, x->dir->node, x->name, 0);
	if (r < 0)
		return r;
	if (x->ops->tree->replaced)
		x->ops->tree->replaced(x->ops->tree->ctx, x->dir->node, x->name);
	return 0;
}

int replace_commit(struct replacement *x, const struct replace_only *only)
{
	int r = commit(x, only);

	if (r < 0)
		replace_abort(x);
	else
		done(x);
	return r;
}
