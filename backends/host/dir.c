/*
 * Open directories: getdents64(2) with the file system's own cookies, which survive removals.
 */
#include "host.h"

#include <dirent.h>
#include <string.h>

struct host_dir {
	struct host_file
	    file; /* first: attributes and release take it; its descriptor is the pin's */
	struct host_pin pin;
	pthread_mutex_t lock; /* guards what follows, and the position of the descriptor */
	int fd;		      /* that is read; -1: it was not opened yet */
	uint64_t cookie;      /* that the next entry of the buffer continues */
	size_t pos, len;
	char data[32 * 1024] __attribute__((aligned(8)));
};

#define DIR_OF(f) container_of(FILE_OF(f), struct host_dir, file)

static struct host_dir *take_spare(struct host *h)
{
	struct host_dir *d = NULL;

	for (size_t i = 0; i < HOST_SPARE_DIRS && !d; i++)
		d = atomic_exchange(&h->spare_dirs[i], NULL);
	return d ? d : malloc(sizeof(*d));
}

static void give_spare(struct host *h, struct host_dir *d)
{
	for (size_t i = 0; i < HOST_SPARE_DIRS && d; i++)
		d = atomic_exchange(&h->spare_dirs[i], d);
	free(d);
}

/* D's lock is held, or nobody else knows D. */
static int open_locked(struct host_dir *d)
{
	struct host *h = HOST_OF(d->file.base.node);

	if (d->fd >= 0)
		return 0;
	do
		d->fd = host_openat(h, d->pin.fd, ".", O_RDONLY | O_DIRECTORY, 0);
	while (d->fd == -EMFILE && host_fds_shrink(h));
	return d->fd < 0 ? d->fd : 0;
}

/* Root may list it: then it is opened when it is read, since who has a listing already (listed.h of
 * the daemon) only opens and closes it. */
int host_opendir(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	struct host *h = HOST_OF(node);
	struct host_dir *d;
	int r;

	if (NODE_OF(node)->type != S_IFDIR)
		return -ENOTDIR;
	d = take_spare(h);
	if (!d)
		return -ENOMEM;
	d->pin = HOST_PIN_NONE;
	r = host_pin(node, &d->pin);
	d->file = (struct host_file){
	    .base = {.node = bk_node_ref(node), .flags = O_RDONLY | O_DIRECTORY},
	    .fd = d->pin.fd,
	};
	pthread_mutex_init(&d->lock, NULL);
	d->fd = -1;
	d->cookie = d->pos = d->len = 0;
	if (r == 0 && !h->switch_user)
		r = open_locked(d);
	if (r < 0)
		host_dir_release(&d->file.base);
	else
		*ret = &d->file.base;
	return r;
}

void host_dir_release(struct bk_file *file)
{
	struct host_dir *d = DIR_OF(file);
	struct bk_node *node = file->node;

	pthread_mutex_destroy(&d->lock);
	closep(&d->fd);
	host_unpin(&d->pin);
	give_spare(HOST_OF(node), d);
	bk_node_unref(node);
}

/* Go to COOKIE, unless the buffer is there. Cookie 0 always reads anew, as rewinddir(3) does. */
static int seek_locked(struct host_dir *d, uint64_t cookie)
{
	if (cookie == d->cookie && cookie != 0)
		return 0;
	if (lseek(d->fd, cookie, SEEK_SET) < 0)
		return -errno;
	d->cookie = cookie;
	d->pos = d->len = 0;
	return 0;
}

/* 1 where the buffer has an entry, 0 at the end. */
static int load_locked(struct host_dir *d)
{
	ssize_t n;

	if (d->pos < d->len)
		return 1;
	n = getdents64(d->fd, (void *)d->data, sizeof(d->data));
	if (n < 0)
		return errno == ENOENT ? 0 : -errno; /* the directory itself was removed */
	d->pos = 0;
	d->len = n;
	return n > 0;
}

static int fill_locked(struct bk_req *req, struct host_dir *d, bk_fill_fn fill, void *ctx)
{
	int r;

	while ((r = load_locked(d)) > 0) {
		const struct dirent64 *e = (const void *)(d->data + d->pos);

		if (d->pos == 0)
			r = bk_req_check(req);
		if (r < 0)
			return r;
		if (!fill(ctx, e->d_name, e->d_ino, e->d_type, e->d_off))
			return 0;
		d->pos += e->d_reclen;
		d->cookie = e->d_off;
	}
	return r;
}

int host_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
		 void *ctx)
{
	struct host_dir *d = DIR_OF(file);
	int r;

	pthread_mutex_lock(&d->lock);
	r = open_locked(d);
	if (r == 0)
		r = seek_locked(d, cookie);
	if (r == 0)
		r = fill_locked(req, d, fill, ctx);
	pthread_mutex_unlock(&d->lock);
	return r;
}

int host_fsyncdir(struct bk_req *req, struct bk_file *file, bool datasync)
{
	struct host_dir *d = DIR_OF(file);
	int r;

	pthread_mutex_lock(&d->lock);
	r = open_locked(d);
	pthread_mutex_unlock(&d->lock);
	return r < 0 ? r : host_sync(d->fd, datasync);
}
