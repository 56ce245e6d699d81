/*
 * Open directories: getdents64(2) with the file system's own cookies, which survive removals.
 */
#include "host.h"

#include <dirent.h>
#include <string.h>

struct host_dir {
	struct host_file
	    file; /* first: attributes and release take it; its fd is -1 until it is read */
	pthread_mutex_t lock; /* guards what follows, and the descriptor with its position */
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

static int open_listing(struct bk_node *node)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	struct host *h = HOST_OF(node);
	int fd, r = host_pin(node, &pin);

	if (r < 0)
		return r;
	do
		fd = host_openat(h, pin.fd, ".", O_RDONLY | O_DIRECTORY, 0);
	while (fd == -EMFILE && host_fds_shrink(h));
	return fd;
}

/* Root may list it: then it is opened when it is, since who has a listing already (listed.h of the
 * daemon) only opens and closes it. */
int host_opendir(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	struct host *h = HOST_OF(node);
	struct host_dir *d;
	int fd = -1;

	if (NODE_OF(node)->type != S_IFDIR)
		return -ENOTDIR;
	if (!h->switch_user)
		fd = open_listing(node);
	if (fd < 0 && !h->switch_user)
		return fd;
	d = take_spare(h);
	if (!d) {
		closep(&fd);
		return -ENOMEM;
	}
	d->file = (struct host_file){
	    .base = {.node = bk_node_ref(node), .flags = O_RDONLY | O_DIRECTORY},
	    .fd = fd,
	};
	pthread_mutex_init(&d->lock, NULL);
	d->cookie = d->pos = d->len = 0;
	*ret = &d->file.base;
	return 0;
}

void host_dir_release(struct bk_file *file)
{
	struct host_dir *d = DIR_OF(file);
	struct bk_node *node = file->node;

	pthread_mutex_destroy(&d->lock);
	closep(&d->file.fd);
	give_spare(HOST_OF(node), d);
	bk_node_unref(node);
}

static int open_locked(struct host_dir *d)
{
	if (d->file.fd < 0)
		d->file.fd = open_listing(d->file.base.node);
	return d->file.fd < 0 ? d->file.fd : 0;
}

/* Go to COOKIE, unless the buffer is there. Cookie 0 always reads anew, as rewinddir(3) does. */
static int seek_locked(struct host_dir *d, uint64_t cookie)
{
	if (cookie == d->cookie && cookie != 0)
		return 0;
	if (lseek(d->file.fd, cookie, SEEK_SET) < 0)
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
	n = getdents64(d->file.fd, (void *)d->data, sizeof(d->data));
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
	return r < 0 ? r : host_fsync(req, file, datasync);
}
