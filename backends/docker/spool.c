#include "spool.h"

#include "../base/clock.h"
#include "../base/thread.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define CHUNK (256 * 1024)

static int open_temporary(const char *dir)
{
	char path[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;
	snprintf(path, sizeof(path), "%s/spool.XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

int spool_new(const char *dir, struct spool_budget *budget, struct spool **ret)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fd = open_temporary(dir);
	if (s->fd < 0) {
		int r = s->fd;

		free(s);
		return r;
	}
	atomic_init(&s->refs, 1);
	s->budget = budget;
	s->state = SPOOL_WHOLE;
	s->has_size = true;
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->cond);
	bk_req_init(&s->req, 0, 0, 0, 0);
	*ret = s;
	return 0;
}

struct spool *spool_ref(struct spool *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void spool_unref(struct spool *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	if (s->joinable) {
		bk_req_cancel(&s->req);
		pthread_join(s->thread, NULL);
	}
	bk_req_done(&s->req);
	atomic_fetch_sub(&s->budget->used, s->have);
	close(s->fd);
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s->container);
	free(s->path);
	free(s);
}

/* ---- Budget: `used` counts the `have` of every spool ---- */

static bool reserve(struct spool_budget *b, uint64_t n)
{
	if (atomic_fetch_add(&b->used, n) + n <= b->max)
		return true;
	atomic_fetch_sub(&b->used, n);
	return false;
}

/* ---- Filling ---- */

static int write_all(int fd, const char *data, size_t size, off_t off)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= n;
		off += n;
	}
	return 0;
}

static int take_header(struct spool *s, const struct engine_tar_entry *t)
{
	if (!S_ISREG(t->st.st_mode) || t->hardlink || t->st.st_size < 0)
		return -EIO;
	pthread_mutex_lock(&s->lock);
	s->head = t->st;
	s->size = t->st.st_size;
	s->has_size = true;
	s->progress_ms = clock_ms();
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* The bytes [have, have + n) came. More than the header said never count. */
static int take_bytes(struct spool *s, const char *data, size_t n)
{
	uint64_t at, size;
	int r;

	pthread_mutex_lock(&s->lock);
	at = s->have;
	size = s->size;
	pthread_mutex_unlock(&s->lock);
	if (n > size - at)
		return -EIO;
	if (!reserve(s->budget, n))
		return -ENOSPC;
	r = write_all(s->fd, data, n, at);
	if (r < 0) {
		atomic_fetch_sub(&s->budget->used, n);
		return r;
	}
	pthread_mutex_lock(&s->lock);
	s->have += n;
	s->progress_ms = clock_ms();
	atomic_store(s->budget->progress_ms, s->progress_ms);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int fill(struct spool *s, struct err *err)
{
	_cleanup_(engine_tar_closep) struct engine_tar *tar = NULL;
	_cleanup_free_ char *chunk = malloc(CHUNK);
	struct engine_tar_entry t;
	ssize_t n;
	int r;

	if (!chunk)
		return -ENOMEM;
	r = engine_archive_get(&s->req, s->engine, s->container, s->path, &tar, err);
	if (r == 0)
		r = engine_tar_next(&s->req, tar, &t);
	if (r == 0)
		return -EIO; /* an empty archive */
	if (r < 0)
		return r;
	r = take_header(s, &t);
	while (r == 0 && (n = engine_tar_read(&s->req, tar, chunk, CHUNK)) != 0)
		r = n < 0 ? (int)n : take_bytes(s, chunk, n);
	if (r < 0)
		return r;
	return s->have == s->size ? 0 : -EIO;
}

static void *run(void *arg)
{
	struct spool *s = arg;
	struct err err = {""};
	int r = fill(s, &err);

	pthread_mutex_lock(&s->lock);
	s->state = r < 0 ? SPOOL_FAILED : SPOOL_WHOLE;
	s->error = r;
	s->text = err;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int spool_fill(struct spool *s, struct engine *engine, const char *container, const char *path)
{
	int r;

	s->engine = engine;
	s->container = strdup(container);
	s->path = strdup(path);
	if (!s->container || !s->path)
		return -ENOMEM;
	s->state = SPOOL_FILLING;
	s->has_size = false;
	s->progress_ms = clock_ms();
	r = thread_start(&s->thread, NULL, run, s);
	if (r < 0) {
		s->state = SPOOL_FAILED;
		s->error = r;
		return r;
	}
	s->joinable = true;
	return 0;
}

/* 1: enough is here; 0: wait; or the fill's error. Caller holds the lock. */
static int enough_locked(const struct spool *s, uint64_t end)
{
	if (s->state == SPOOL_WHOLE)
		return 1;
	if (s->has_size && s->have >= (end < s->size ? end : s->size) && end != UINT64_MAX)
		return 1;
	return s->state == SPOOL_FAILED ? s->error : 0;
}

int spool_wait(struct bk_req *req, struct spool *s, uint64_t end, uint64_t timeout_ms)
{
	struct waiting w;
	uint64_t progress;
	int r, waited = 0;

	pthread_mutex_lock(&s->lock);
	r = enough_locked(s, end);
	progress = s->progress_ms;
	pthread_mutex_unlock(&s->lock);
	if (r != 0)
		return r < 0 ? r : 0;
	waiting_begin(&w, req, &s->lock, &s->cond);
	pthread_mutex_lock(&s->lock);
	while ((r = enough_locked(s, end)) == 0 && waited == 0) {
		if (s->progress_ms != progress)
			bk_req_extend(req, timeout_ms);
		progress = s->progress_ms;
		waited = waiting_wait(&w, 60000);
	}
	pthread_mutex_unlock(&s->lock);
	waiting_end(&w);
	return r < 0 ? r : r > 0 ? 0 : waited;
}

/* ---- Content ---- */

bool spool_is_filling(struct spool *s)
{
	bool filling;

	pthread_mutex_lock(&s->lock);
	filling = s->state == SPOOL_FILLING;
	pthread_mutex_unlock(&s->lock);
	return filling;
}

uint64_t spool_size(struct spool *s)
{
	uint64_t size;

	pthread_mutex_lock(&s->lock);
	size = s->size;
	pthread_mutex_unlock(&s->lock);
	return size;
}

ssize_t spool_read(struct spool *s, void *data, size_t size, off_t off)
{
	uint64_t have;
	size_t done = 0;

	pthread_mutex_lock(&s->lock);
	have = s->have;
	pthread_mutex_unlock(&s->lock);
	if ((uint64_t)off >= have)
		return 0;
	if (size > have - off)
		size = have - off;
	while (done < size) {
		ssize_t n = pread(s->fd, (char *)data + done, size - done, off + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

/* The file is to end at END at least. */
static int grow(struct spool *s, uint64_t end)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (end > s->size) {
		if (reserve(s->budget, end - s->size))
			s->size = s->have = end;
		else
			r = -ENOSPC;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

ssize_t spool_write(struct spool *s, const void *data, size_t size, off_t off)
{
	uint64_t before = spool_size(s);
	int r;

	if (size > INT64_MAX - (uint64_t)off)
		return -EFBIG;
	r = write_all(s->fd, data, size, off);
	if (r == 0)
		r = grow(s, off + size);
	/* What was written past the end must not come to light when the file grows. */
	if (r < 0 && (uint64_t)off + size > before && ftruncate(s->fd, before) < 0)
		r = -errno;
	return r < 0 ? r : (ssize_t)size;
}

int spool_truncate(struct spool *s, uint64_t size)
{
	uint64_t before = spool_size(s);

	if (size > INT64_MAX)
		return -EFBIG;
	if (size > before) {
		int r = ftruncate(s->fd, size) < 0 ? -errno : 0;

		return r < 0 ? r : grow(s, size);
	}
	if (ftruncate(s->fd, size) < 0)
		return -errno;
	pthread_mutex_lock(&s->lock);
	s->size = s->have = size;
	pthread_mutex_unlock(&s->lock);
	atomic_fetch_sub(&s->budget->used, before - size);
	return 0;
}
