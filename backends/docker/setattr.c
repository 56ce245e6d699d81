/*
 * Changes of attributes. Of a file that is ahead of the container (created, or written and not
 * closed) they are only noted and go with its content, which is what cp -p, tar and rsync do
 * before they close; of any other the guest makes them, one command for each.
 */
#include "docker.h"

#include "../base/clock.h"

#include <fcntl.h>

static struct timespec chosen_time(const struct bk_setattr *a, unsigned now_bit,
				   const struct timespec *given)
{
	struct timespec ts = *given;

	if (a->mask & now_bit)
		clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

/* Of a node that is ahead of the container: note them. */
static void note(struct dnode *node, const struct bk_setattr *a)
{
	struct stat *st = &node->st;

	pthread_mutex_lock(&node->lock);
	if (a->mask & BK_SET_UID)
		st->st_uid = a->uid;
	if (a->mask & BK_SET_GID)
		st->st_gid = a->gid;
	if (a->mask & (BK_SET_UID | BK_SET_GID))
		st->st_mode &= ~(mode_t)(S_ISUID | (st->st_mode & S_IXGRP ? S_ISGID : 0));
	if (a->mask & BK_SET_MODE)
		st->st_mode = (st->st_mode & S_IFMT) | (a->mode & 07777);
	if (a->mask & BK_SET_KILL_SUIDGID)
		st->st_mode &= ~(mode_t)(S_ISUID | (st->st_mode & S_IXGRP ? S_ISGID : 0));
	if (a->mask & (BK_SET_MTIME | BK_SET_MTIME_NOW))
		st->st_mtim = chosen_time(a, BK_SET_MTIME_NOW, &a->mtime);
	if (a->mask & (BK_SET_ATIME | BK_SET_ATIME_NOW))
		st->st_atim = chosen_time(a, BK_SET_ATIME_NOW, &a->atime);
	pthread_mutex_unlock(&node->lock);
}

/* ---- By the guest ---- */

static int guest_chown(struct bk_req *req, struct docker *d, const char *path,
		       const struct bk_setattr *a)
{
	char uid[16] = "-1", gid[16] = "-1";

	if (a->mask & BK_SET_UID)
		snprintf(uid, sizeof(uid), "%u", a->uid);
	if (a->mask & BK_SET_GID)
		snprintf(gid, sizeof(gid), "%u", a->gid);
	return sandbox_fs(req, &d->sb, (const char *[]){"chown", uid, gid, path, NULL});
}

static int guest_chmod(struct bk_req *req, struct docker *d, const char *path, mode_t mode)
{
	char text[16];

	snprintf(text, sizeof(text), "%o", mode & 07777);
	return sandbox_fs(req, &d->sb, (const char *[]){"chmod", text, path, NULL});
}

static void time_text(char text[48], const struct bk_setattr *a, unsigned set, unsigned now,
		      const struct timespec *ts)
{
	if (a->mask & now)
		snprintf(text, 48, "now");
	else if (a->mask & set)
		snprintf(text, 48, "%lld.%09ld", (long long)ts->tv_sec, ts->tv_nsec);
	else
		snprintf(text, 48, "omit");
}

static int guest_utimens(struct bk_req *req, struct docker *d, const char *path,
			 const struct bk_setattr *a)
{
	char atime[48], mtime[48];

	time_text(atime, a, BK_SET_ATIME, BK_SET_ATIME_NOW, &a->atime);
	time_text(mtime, a, BK_SET_MTIME, BK_SET_MTIME_NOW, &a->mtime);
	return sandbox_fs(req, &d->sb, (const char *[]){"utimens", atime, mtime, path, NULL});
}

#define TIMES (BK_SET_ATIME | BK_SET_MTIME | BK_SET_ATIME_NOW | BK_SET_MTIME_NOW)

static int by_guest(struct bk_req *req, struct docker *d, struct dnode *node,
		    const struct bk_setattr *a)
{
	char path[PATH_MAX];
	int r = node_path(d, node, path);

	if (r == 0)
		r = sandbox_reach(&d->sb, path, true);
	/* First the owner: it takes setuid away, which the mode may give. */
	if (r == 0 && a->mask & (BK_SET_UID | BK_SET_GID))
		r = guest_chown(req, d, path, a);
	if (r == 0 && a->mask & BK_SET_MODE && !S_ISLNK(node->type))
		r = guest_chmod(req, d, path, a->mode);
	if (r == 0 && a->mask & TIMES)
		r = guest_utimens(req, d, path, a);
	touched(d, path);
	node_forget_owner(d, node);
	return r;
}

/* ---- Size ---- */

static int resize(struct bk_req *req, struct docker *d, struct dnode *node, uint64_t size)
{
	int r;

	if (size == 0) {
		r = content_dirty(req, d, node);
		return r < 0 ? r : content_empty(d, node);
	}
	r = content_whole(req, d, node);
	if (r == 0)
		r = content_dirty(req, d, node);
	if (r == 0)
		r = spool_truncate(node->spool, size);
	return r == -ENOSPC
		   ? sandbox_fail(&d->sb, r, "open files of the route hold spool_max bytes")
		   : r;
}

static int set_size(struct bk_req *req, struct docker *d, struct dnode *node, bool by_handle,
		    const struct bk_setattr *a)
{
	struct bk_setattr changed = *a;
	char path[PATH_MAX];
	int r = sandbox_before_change(req, &d->sb);

	if (r == 0)
		r = node_path(d, node, path);
	if (r == -ENOENT) /* unlinked and open */
		r = 0;
	else if (r == 0)
		r = sandbox_reach(&d->sb, path, true);
	if (r == 0)
		r = resize(req, d, node, a->size);
	if (r < 0)
		return r;
	if (!(a->mask & BK_SET_MTIME))
		changed.mask |= BK_SET_MTIME_NOW;
	note(node, &changed);
	/* A handle's close will tell; a truncate(2) has nothing else that could. */
	return by_handle ? 0 : content_put(req, d, node);
}

static int set_gated(struct bk_req *req, struct docker *d, struct dnode *node, bool by_handle,
		     const struct bk_setattr *a)
{
	if (a->mask & BK_SET_SIZE)
		return node->type == S_IFREG ? set_size(req, d, node, by_handle, a) : -EINVAL;
	if (content_local(node)) {
		note(node, a);
		return 0;
	}
	return by_guest(req, d, node, a);
}

int docker_setattr(struct bk_req *req, struct bk_node *base, struct bk_file *file,
		   const struct bk_setattr *a, struct stat *ret)
{
	struct docker *d = docker_of(base);
	struct dnode *node = dnode_of(base);
	bool by_handle = file && (file->flags & O_ACCMODE) != O_RDONLY;
	int r = gate_enter(req, &node->gate);

	if (r < 0)
		return r;
	content_claim(d, node);
	r = set_gated(req, d, node, by_handle, a);
	content_unclaim(d, node);
	gate_leave(&node->gate);
	return r < 0 ? r : stat_node(req, d, node, ret);
}
