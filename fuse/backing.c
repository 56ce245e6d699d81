/* See backing.h. The ioctls are made here and not by libfuse, which needs a request for them, has
 * none at the end, and logs each refusal as an error. */
#include "backing.h"

#include "base/caps.h"
#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <utlist.h>

/* <linux/fuse.h> of Linux 6.9, which is newer than what it has to be built with. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

#define EXPIRE_MAX 64 /* of a shard, at a time */

void backing_give_up_rights(void)
{
	struct __user_cap_data_struct caps[2];

	if (caps_get(caps) < 0)
		return;
	caps[0].effective &= ~(1U << CAP_FSETID);
	(void)caps_set(caps);
}

void backing_init(struct backings *b)
{
	*b = (struct backings){.fuse_fd = -1};
	for (size_t i = 0; i < BACKING_SHARDS; i++)
		pthread_mutex_init(&b->shards[i].lock, NULL);
}

int backing_start(struct backings *b, int fuse_fd, uint64_t linger_ms, unsigned max_lingering)
{
	struct __user_cap_data_struct caps[2];

	if (caps_get(caps) < 0 || !(caps[0].effective & 1U << CAP_SYS_ADMIN) ||
	    caps[0].effective & 1U << CAP_FSETID)
		return -EPERM;
	b->fuse_fd = fuse_fd;
	b->linger_ms = linger_ms;
	b->max_lingering = max_lingering;
	b->on = true;
	return 0;
}

/* ---- Ids ---- */

static int register_fd(const struct backings *b, int fd)
{
	struct backing_map map = {.fd = fd};
	int id = ioctl(b->fuse_fd, BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

static void unregister(const struct backings *b, int id)
{
	uint32_t arg = id;

	if (ioctl(b->fuse_fd, BACKING_CLOSE, &arg) < 0)
		log_error("passthrough: backing id %d: %m", id);
}

/* Refused: what that means for the rest. */
static void refused(struct backings *b, const char *route, int error)
{
	log_debug("route %s: no passthrough: %s", route, strerror(-error));
	if (error != -EPERM || b->worked)
		return;
	log_info("passthrough: off: the kernel does not let this process use it");
	b->on = false;
}

static void forget(struct backings *b, struct backing *one)
{
	if (!one)
		return;
	if (one->id) {
		unregister(b, one->id);
		b->registered--;
	}
	free(one);
}

/* ---- Lingering ---- */

/* Whether it is the only one. */
static bool linger_locked(struct backings *b, struct backing_shard *shard, struct backing *one)
{
	one->closed_ms = clock_ms();
	DL_APPEND(shard->lingering, one);
	return atomic_fetch_add(&b->lingering, 1) == 0;
}

static void resume_locked(struct backings *b, struct backing_shard *shard, struct backing *one)
{
	DL_DELETE(shard->lingering, one);
	b->lingering--;
}

/* To be forgotten without the lock: its file may be gone but for this, and take long to end. */
static void retire_locked(struct backings *b, struct backing_shard *shard, struct backing *one)
{
	resume_locked(b, shard, one);
	HASH_DEL(shard->all, one);
}

static struct backing_shard *shard_of(struct backings *b, const struct inode_id *inode)
{
	return &b->shards[inode->number % BACKING_SHARDS];
}

struct backing *backing_resume(struct backings *b, const struct inode_id *inode)
{
	struct backing_shard *shard = shard_of(b, inode);
	struct backing *one;

	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->all, inode, sizeof(*inode), one);
	if (one && !one->may_linger) /* whether it is the same file was not asked */
		one = NULL;
	if (one && one->opens++ == 0)
		resume_locked(b, shard, one);
	pthread_mutex_unlock(&shard->lock);
	return one;
}

void backing_forget(struct backings *b, const struct inode_id *inode)
{
	struct backing_shard *shard = shard_of(b, inode);
	struct backing *one;

	if (b->lingering == 0)
		return;
	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->all, inode, sizeof(*inode), one);
	if (one && one->opens > 0)
		one = NULL;
	if (one)
		retire_locked(b, shard, one);
	pthread_mutex_unlock(&shard->lock);
	forget(b, one);
}

/* Whether more is due. */
static bool expire(struct backings *b, struct backing_shard *shard, uint64_t now)
{
	struct backing *one, *next, *gone = NULL;
	unsigned n = 0;

	pthread_mutex_lock(&shard->lock);
	while ((one = shard->lingering) && now - one->closed_ms >= b->linger_ms &&
	       n++ < EXPIRE_MAX) {
		retire_locked(b, shard, one);
		DL_APPEND(gone, one);
	}
	pthread_mutex_unlock(&shard->lock);
	DL_FOREACH_SAFE (gone, one, next)
		forget(b, one);
	return n > EXPIRE_MAX;
}

uint64_t backing_expire(struct backings *b)
{
	uint64_t now = clock_ms();
	bool more = false;

	for (size_t i = 0; i < BACKING_SHARDS; i++)
		more = expire(b, &b->shards[i], now) || more;
	if (more)
		return 1;
	return b->lingering > 0 ? b->linger_ms / 4 + 1 : 0;
}

/* ---- Choosing ---- */

/* The backend's descriptor of FILE and its stat, where it can be used. */
static int usable_fd(struct bk_file *file, int flags, bool bypass, struct stat *ret_st)
{
	int fd = bypass ? -EOPNOTSUPP : bk_backing_fd(file);
	int has = file->flags & O_ACCMODE, wants = flags & O_ACCMODE;

	if (fd < 0)
		return fd;
	if (wants == O_ACCMODE || (has != O_RDWR && has != wants))
		return -EACCES;
	if (fstat(fd, ret_st) < 0)
		return -errno;
	return S_ISREG(ret_st->st_mode) ? fd : -EOPNOTSUPP;
}

static int join_locked(struct backing *one, const char *route, int fd, const struct stat *st)
{
	if (one->id && fd < 0) {
		log_warning("route %s: a file in passthrough cannot be opened otherwise: %s", route,
			    strerror(-fd));
		return -EIO;
	}
	if (one->id && (one->dev != st->st_dev || one->ino != st->st_ino)) {
		log_warning("route %s: a file in passthrough has become another", route);
		return -ESTALE;
	}
	one->opens++;
	return 0;
}

static int first_locked(struct backings *b, const struct inode_id *inode, struct bk_file *file,
			int fd, const struct stat *st, struct backing **ret)
{
	const struct bk *bk = file->node->bk;
	struct backing_shard *shard = shard_of(b, inode);
	struct backing *one = malloc(sizeof(*one));
	int id = 0;

	if (!one)
		return -ENOMEM;
	*one = (struct backing){.inode = *inode, .opens = 1};
	HASH_ADD(hh, shard->all, inode, sizeof(one->inode), one);
	if (!one->hh.tbl) {
		free(one);
		return -ENOMEM;
	}
	/* A write keeps setuid bits for those who may: only the daemon can tell who writes. */
	if (fd >= 0 && !(st->st_mode & (S_ISUID | S_ISGID)))
		id = register_fd(b, fd);
	if (id < 0)
		refused(b, bk->route, id);
	if (id > 0) {
		one->id = id;
		b->registered++;
		one->dev = st->st_dev;
		one->ino = st->st_ino;
		b->worked = true;
		one->may_linger = b->linger_ms > 0 && !bk->blocking && !bk->recall &&
				  (file->flags & O_ACCMODE) == O_RDONLY;
	}
	*ret = one;
	return 0;
}

int backing_open(struct backings *b, const struct inode_id *inode, struct bk_file *file, int flags,
		 bool bypass, struct backing **ret)
{
	struct backing_shard *shard = shard_of(b, inode);
	const struct bk *bk = file->node->bk;
	struct backing *one = NULL, *gone = NULL;
	struct stat st;
	int fd, r;

	*ret = NULL;
	if (!b->on || !bk->ops->backing_fd)
		return 0;
	fd = usable_fd(file, flags, bypass, &st);
	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->all, inode, sizeof(*inode), one);
	if (one && one->opens == 0) {
		retire_locked(b, shard, one);
		gone = one;
		one = NULL;
	}
	if (one)
		r = join_locked(one, bk->route, fd, &st);
	else
		r = first_locked(b, inode, file, fd, &st, &one);
	pthread_mutex_unlock(&shard->lock);
	forget(b, gone);
	if (r == 0)
		*ret = one;
	return r;
}

/* ---- Closing ---- */

bool backing_close(struct backings *b, struct backing *one, bool known)
{
	struct backing_shard *shard;
	bool last, lingers, only = false;

	if (!one)
		return false;
	shard = shard_of(b, &one->inode);
	pthread_mutex_lock(&shard->lock);
	last = --one->opens == 0;
	lingers = last && known && one->may_linger && b->lingering < b->max_lingering;
	if (lingers)
		only = linger_locked(b, shard, one);
	else if (last)
		HASH_DEL(shard->all, one);
	pthread_mutex_unlock(&shard->lock);
	if (last && !lingers)
		forget(b, one);
	return only;
}

unsigned backing_count(struct backings *b)
{
	return b->registered - b->lingering;
}

void backing_done(struct backings *b)
{
	for (size_t i = 0; i < BACKING_SHARDS; i++) {
		struct backing_shard *shard = &b->shards[i];

		while (shard->all) {
			struct backing *one = shard->all;

			HASH_DEL(shard->all, one);
			forget(b, one);
		}
		pthread_mutex_destroy(&shard->lock);
	}
}
