/*
 * Reading, writing and resizing regular files, all under the node's lock. Bytes past the end of
 * the file in its last page are zero at all times, so growing is only a number.
 */
#include "memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

/* The part of a range that lies in one page. */
struct part {
	uint64_t index;
	size_t start, size;
};

static struct part part_at(uint64_t off, uint64_t left)
{
	struct part p = {.index = off / MEM_PAGE, .start = off % MEM_PAGE};

	p.size = left < MEM_PAGE - p.start ? left : MEM_PAGE - p.start;
	return p;
}

/* Make a range zeros; with PUNCH, its whole pages become holes. */
static void zero(struct mem_node *n, uint64_t off, uint64_t len, bool punch)
{
	uint64_t end = off + len;

	while (off < end) {
		struct part p = part_at(off, end - off);
		char *page;

		if (punch && p.size == MEM_PAGE) {
			mem_pages_drop(n, p.index, end / MEM_PAGE - 1);
			off = end / MEM_PAGE * MEM_PAGE;
			continue;
		}
		page = mem_page(n, p.index);
		if (page)
			memset(page + p.start, 0, p.size);
		off += p.size;
	}
}

int mem_resize_locked(struct mem_node *n, uint64_t size)
{
	if (size > INT64_MAX)
		return -EFBIG;
	if (size < n->size) {
		uint64_t whole = (size + MEM_PAGE - 1) / MEM_PAGE;
		char *last = size % MEM_PAGE ? mem_page(n, size / MEM_PAGE) : NULL;

		if (last)
			memset(last + size % MEM_PAGE, 0, MEM_PAGE - size % MEM_PAGE);
		mem_pages_drop(n, whole, UINT64_MAX / MEM_PAGE);
	}
	n->size = size;
	return 0;
}

static void truncate_at_open(struct bk_req *req, struct mem_node *n)
{
	pthread_rwlock_wrlock(mem_lock(n));
	(void)mem_resize_locked(n, 0);
	mem_node_written_locked(n, req);
	pthread_rwlock_unlock(mem_lock(n));
}

int mem_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	struct mem_node *n = mem_node_of(node);
	struct bk_file *file;

	if (n->type != DT_REG)
		return mem_is_dir(n) ? -EISDIR : n->type == DT_LNK ? -ELOOP : -ENXIO;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	if (flags & O_TRUNC)
		truncate_at_open(req, n);
	file->node = bk_node_ref(node);
	file->flags = flags;
	*ret = file;
	return 0;
}

int mem_tmpfile(struct bk_req *req, struct bk_node *dir, mode_t mode, int flags,
		struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	struct mem_node *d = mem_node_of(dir), *n;
	int r = mem_node_new(mem_of(d), req, d, S_IFREG | mode, &n);

	if (r < 0)
		return r;
	n->unnamed = true; /* nobody else knows it yet */
	r = mem_open(req, &n->node, flags, ret_file);
	if (r < 0) {
		bk_node_unref(&n->node);
		return r;
	}
	mem_node_stat(n, ret_st);
	*ret_node = &n->node;
	return 0;
}

/* relatime(mount(8)): a read is noted where it would be news, or once a day. */
static bool wants_atime(const struct mem_node *n, struct timespec now)
{
	const struct timespec *a = &n->atime, *m = &n->mtime, *c = &n->ctime;

	return now.tv_sec - a->tv_sec >= 24 * 60 * 60 || a->tv_sec < m->tv_sec ||
	       (a->tv_sec == m->tv_sec && a->tv_nsec <= m->tv_nsec) || a->tv_sec < c->tv_sec ||
	       (a->tv_sec == c->tv_sec && a->tv_nsec <= c->tv_nsec);
}

static void copy_out(const struct mem_node *n, char *data, size_t size, uint64_t off)
{
	while (size > 0) {
		struct part p = part_at(off, size);
		const char *page = mem_page(n, p.index);

		if (page)
			memcpy(data, page + p.start, p.size);
		else
			memset(data, 0, p.size);
		data += p.size;
		off += p.size;
		size -= p.size;
	}
}

ssize_t mem_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	struct mem_node *n = mem_node_of(file->node);
	struct timespec now = mem_now();
	bool atime;

	pthread_rwlock_rdlock(mem_lock(n));
	if ((uint64_t)off >= n->size)
		size = 0;
	else if (size > n->size - off)
		size = n->size - off;
	copy_out(n, data, size, off);
	atime = !(file->flags & O_NOATIME) && wants_atime(n, now);
	pthread_rwlock_unlock(mem_lock(n));

	if (atime) {
		pthread_rwlock_wrlock(mem_lock(n));
		n->atime = now;
		pthread_rwlock_unlock(mem_lock(n));
	}
	return size;
}

/* Bytes written, or why not even one. */
static ssize_t copy_in(struct mem_node *n, const char *data, size_t size, uint64_t off)
{
	size_t done = 0;

	while (done < size) {
		struct part p = part_at(off + done, size - done);
		char *page;
		int r = mem_page_make(n, p.index, p.size == MEM_PAGE, &page);

		if (r < 0)
			return done > 0 ? (ssize_t)done : r;
		memcpy(page + p.start, data + done, p.size);
		done += p.size;
	}
	return done;
}

static ssize_t write_locked(struct bk_req *req, struct mem_node *n, const void *data, size_t size,
			    uint64_t off)
{
	ssize_t r;

	if (off > INT64_MAX || size > INT64_MAX - off)
		return -EFBIG;
	r = copy_in(n, data, size, off);
	if (r > 0) {
		if (off + r > n->size)
			n->size = off + r;
		mem_node_written_locked(n, req);
	}
	return r;
}

ssize_t mem_write(struct bk_req *req, struct bk_file *file, const void *data, size_t size,
		  off_t off)
{
	struct mem_node *n = mem_node_of(file->node);
	ssize_t r;

	pthread_rwlock_wrlock(mem_lock(n));
	r = write_locked(req, n, data, size, file->flags & O_APPEND ? n->size : (uint64_t)off);
	pthread_rwlock_unlock(mem_lock(n));
	return r;
}

static off_t next_data(const struct mem_node *n, uint64_t off)
{
	uint64_t found;

	if (!mem_pages_next(n, off / MEM_PAGE, &found) || found * MEM_PAGE >= n->size)
		return -ENXIO;
	return found * MEM_PAGE > off ? found * MEM_PAGE : off;
}

static off_t next_hole(const struct mem_node *n, uint64_t off)
{
	uint64_t index = off / MEM_PAGE;

	if (!mem_page(n, index))
		return off;
	while (mem_page(n, index))
		index++;
	return index * MEM_PAGE < n->size ? index * MEM_PAGE : n->size;
}

off_t mem_lseek(struct bk_req *req, struct bk_file *file, off_t off, int whence)
{
	struct mem_node *n = mem_node_of(file->node);
	off_t r = -ENXIO;

	pthread_rwlock_rdlock(mem_lock(n));
	if ((uint64_t)off < n->size)
		r = whence == SEEK_DATA ? next_data(n, off) : next_hole(n, off);
	pthread_rwlock_unlock(mem_lock(n));
	return r;
}

/* Whether the pages that FIRST to LAST lack would fit, so that a refusal takes nothing. */
static int check_room(struct mem_node *n, uint64_t first, uint64_t last)
{
	struct mem *m = mem_of(n);
	uint64_t missing = 0;
	int r;

	if (last - first >= m->size / MEM_PAGE)
		return -ENOSPC;
	for (uint64_t i = first; i <= last; i++)
		missing += mem_page(n, i) ? 0 : MEM_PAGE;
	r = mem_charge(m, missing);
	if (r == 0)
		mem_uncharge(m, missing);
	return r;
}

/* Give every page of the range its memory; what is there stays. */
static int allocate(struct bk_req *req, struct mem_node *n, uint64_t off, uint64_t len)
{
	uint64_t first = off / MEM_PAGE, last = (off + len - 1) / MEM_PAGE;
	int r = check_room(n, first, last);
	char *page;

	for (uint64_t i = first; i <= last && r == 0; i++) {
		r = i % 1024 == 0 ? bk_req_check(req) : 0;
		if (r == 0)
			r = mem_page_make(n, i, false, &page);
	}
	return r;
}

static int fallocate_locked(struct bk_req *req, struct mem_node *n, int mode, uint64_t off,
			    uint64_t len)
{
	bool punch = mode & FALLOC_FL_PUNCH_HOLE;
	int r = punch ? 0 : allocate(req, n, off, len);

	if (r < 0)
		return r;
	if (punch || mode & FALLOC_FL_ZERO_RANGE)
		zero(n, off, len, punch);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > n->size)
		n->size = off + len;
	mem_node_written_locked(n, req);
	return 0;
}

int mem_fallocate(struct bk_req *req, struct bk_file *file, int mode, off_t off, off_t len)
{
	static const int modes[] = {
	    0,
	    FALLOC_FL_KEEP_SIZE,
	    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    FALLOC_FL_ZERO_RANGE,
	    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	struct mem_node *n = mem_node_of(file->node);
	size_t i = 0;
	int r;

	if (off < 0 || len <= 0)
		return -EINVAL;
	if (off > INT64_MAX - len)
		return -EFBIG;
	while (i < ARRAY_SIZE(modes) && modes[i] != mode)
		i++;
	if (i == ARRAY_SIZE(modes))
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(mem_lock(n));
	r = fallocate_locked(req, n, mode, off, len);
	pthread_rwlock_unlock(mem_lock(n));
	return r;
}
