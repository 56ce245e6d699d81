/* See recall.h; fs_changed, which uses it, is here too, since all that it does is to tell. */
#include "recall.h"

#include "fs.h"

#include "base/clock.h"

#include <string.h>

/* How long a recall waits for a listing to be taken up; the kernel needs microseconds. */
#define SETTLE_MS 200

void recall_init(struct recall *r)
{
	pthread_mutex_init(&r->lock, NULL);
}

void recall_done(struct recall *r)
{
	pthread_mutex_destroy(&r->lock);
}

/* ---- What was told ---- */

void recall_told(struct recall *r, const struct bk *bk, uint64_t number, uint32_t ttl_ms)
{
	uint64_t now = clock_ms();
	struct recall_dir *d;

	if (ttl_ms == 0)
		return;
	pthread_mutex_lock(&r->lock);
	d = &r->ring[r->next];
	r->next = (r->next + 1) % RECALL_RING;
	if (d->until_ms > now && d->until_ms > r->lost_until_ms)
		r->lost_until_ms = d->until_ms;
	*d = (struct recall_dir){.bk = bk, .number = number, .until_ms = now + ttl_ms};
	pthread_mutex_unlock(&r->lock);
}

int recall_dirs(struct recall *r, const struct bk *bk, uint64_t *numbers)
{
	uint64_t now = clock_ms();
	int n = 0;

	pthread_mutex_lock(&r->lock);
	if (r->lost_until_ms > now)
		n = -ENOBUFS;
	for (size_t i = 0; i < RECALL_RING && n >= 0; i++)
		if (r->ring[i].bk == bk && r->ring[i].until_ms > now)
			numbers[n++] = r->ring[i].number;
	pthread_mutex_unlock(&r->lock);
	return n;
}

/* ---- Telling ---- */

void recall_names(struct fs *fs)
{
#ifdef HAVE_EPOCH
	if (fs->recall.epoch)
		(void)fuse_lowlevel_notify_increment_epoch(fs->se);
#endif
}

/* Pages would have to be waited for. What the kernel does not know is no matter. */
void recall_attributes(struct fs *fs, const uint64_t *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)fuse_lowlevel_notify_inval_inode(fs->se, numbers[i], -1, 0);
}

static void drop_dirs(struct fs *fs, const struct bk *bk)
{
	uint64_t numbers[RECALL_RING], at = 0;
	int n = recall_dirs(&fs->recall, bk, numbers);

	if (n >= 0) {
		recall_attributes(fs, numbers, n);
		return;
	}
	while ((n = inode_list(&fs->inodes, bk, &at, numbers, RECALL_RING)) > 0)
		recall_attributes(fs, numbers, n);
}

static void drop_open(struct fs *fs, const struct bk *bk)
{
	_cleanup_free_ uint64_t *numbers = NULL;
	ssize_t n = handle_list(&fs->handles, bk, &numbers);

	/* Without memory they are what they were for as long as they were told to be. */
	recall_attributes(fs, numbers, n > 0 ? n : 0);
}

void fs_changed(struct fs *fs, struct bk *bk)
{
	if (!atomic_load(&fs->recall.ready))
		return;
	atomic_fetch_add(&fs->recall.count, 1);
	if (!settle_wait(&fs->settle, bk, SETTLE_MS))
		recall_names(fs);
	drop_dirs(fs, bk);
	drop_open(fs, bk);
}

void fs_replaced(struct fs *fs, const struct bk_node *dir, const char *name)
{
	struct inode_id id;

	if (!atomic_load(&fs->recall.ready) || inode_told(&fs->inodes, dir, &id) < 0)
		return;
	atomic_fetch_add(&fs->recall.count, 1);
	(void)fuse_lowlevel_notify_inval_entry(fs->se, id.number, name, strlen(name));
	/* Which says nothing of the directory where the kernel does not know the name. */
	recall_attributes(fs, &id.number, 1);
}
