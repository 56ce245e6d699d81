/*
 * Open files: regular ones only, opened anew from the node's descriptor. Devices, FIFOs and sockets
 * are never opened, whatever a name is replaced with meanwhile: a descriptor is a file, and a
 * file's type does not change.
 */
#include "host.h"

#include "base/procfd.h"

#include <linux/fs.h>
#include <stdio.h>
#include <sys/syscall.h>

/*
 * The open(2) flags that go to the file itself. O_APPEND is applied to each write, since data of a
 * shared mapping may come through any open file; O_DIRECT would need the caller's alignment.
 */
#define FILE_FLAGS (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME)

/* O_NONBLOCK: a lease answers EAGAIN. To a regular file's reads and writes it is nothing. */
#define OPEN_FLAGS (O_LARGEFILE | O_NOCTTY | O_NONBLOCK)

static int file_new(struct bk_node *node, int flags, int fd, struct bk_file **ret)
{
	struct host_file *f = malloc(sizeof(*f));
	struct host_node *n = NODE_OF(node);

	if (!f) {
		closep(&fd);
		return -ENOMEM;
	}
	*f = (struct host_file){
	    .base = {.node = bk_node_ref(node), .flags = flags},
	    .fd = fd,
	    .lent = fd >= 0 && n->type == S_IFREG && host_fds_lend(HOST_OF(node), n, fd),
	};
	*ret = &f->base;
	return 0;
}

static int reopen_once(const struct host_pin *pin, int flags)
{
	/* musl's open(3) asks for close-on-exec once more. */
	int fd =
	    syscall(SYS_openat, AT_FDCWD, procfd(pin->fd).path, flags | OPEN_FLAGS | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int open_pinned(struct bk_req *req, struct bk_node *node, int wanted)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_as_ struct host_as as = {.host = NULL};
	struct host *h = HOST_OF(node);
	int fd, r = host_pin(node, &pin);

	if (r == 0 && wanted & O_TRUNC)
		r = host_as_writer(h, req, pin.fd, &as);
	if (r < 0)
		return r;
	do {
		fd = reopen_once(&pin, wanted);
		if (fd == -EPERM && wanted & O_NOATIME) {
			wanted &= ~O_NOATIME; /* not the daemon's file: only a wish */
			fd = reopen_once(&pin, wanted);
		}
	} while (fd == -EMFILE && host_fds_shrink(h));
	return fd;
}

static int open_node(struct bk_req *req, struct bk_node *node, int wanted)
{
	int fd = -EOPNOTSUPP;

	/* Of a file without a descriptor none is made but the caller's. */
	if (!(wanted & (O_TRUNC | O_NOATIME)))
		fd = host_open_evicted(HOST_OF(node), NODE_OF(node), wanted | OPEN_FLAGS);
	if (fd == -EOPNOTSUPP || fd == -ESTALE) /* or by what whoever removed it keeps */
		fd = open_pinned(req, node, wanted);
	return fd;
}

static int open_patiently(struct bk_req *req, struct bk_node *node, int wanted)
{
	int fd, r = 0;

	do
		fd = open_node(req, node, wanted);
	while (fd == -EAGAIN && (r = host_bide(req)) == 0);
	return r < 0 ? r : fd;
}

int host_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	int fd = -1;

	if (NODE_OF(node)->type != S_IFREG)
		return NODE_OF(node)->type == S_IFDIR ? -EISDIR : -EACCES;
	if (!req || !req->kernel_reads || !host_node_has_handle(NODE_OF(node))) {
		fd = open_patiently(req, node, flags & FILE_FLAGS);
		if (fd < 0)
			return fd;
	}
	return file_new(node, flags, fd, ret);
}

/* What FILE is read by. */
static int data_fd(struct bk_req *req, struct bk_file *file)
{
	struct host_file *f = FILE_OF(file);
	int fd = atomic_load(&f->fd), none = -1;

	if (fd >= 0)
		return fd;
	fd = open_patiently(req, file->node, file->flags & FILE_FLAGS);
	if (fd < 0 || atomic_compare_exchange_strong(&f->fd, &none, fd))
		return fd;
	close(fd);
	return none;
}

/* ---- peek ---- */

/* An O_PATH descriptor of NAME, which is a regular file. */
static int find_regular(const struct host_pin *dir, struct host *h, const char *name,
			struct stat *ret_st)
{
	int fd, r;

	do
		fd = host_openat(h, dir->fd, name, O_PATH, 0);
	while (fd == -EMFILE && host_fds_shrink(h));
	if (fd < 0)
		return fd;
	r = host_fstat(fd, ret_st);
	if (r == 0 && S_ISREG(ret_st->st_mode))
		return fd;
	closep(&fd);
	if (r < 0)
		return r;
	return S_ISLNK(ret_st->st_mode) ? -ELOOP : S_ISDIR(ret_st->st_mode) ? -EISDIR : -ENXIO;
}

int host_peek(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_file **ret,
	      struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_close_ int path = -1;
	struct host *h = HOST_OF(dir);
	int fd, r = host_pin(dir, &pin);

	if (r == 0)
		r = path = find_regular(&pin, h, name, ret_st);
	if (r < 0)
		return r;
	do
		fd = reopen_once(&(struct host_pin){.fd = path}, O_RDONLY);
	while ((fd == -EMFILE && host_fds_shrink(h)) ||
	       (fd == -EAGAIN && (r = host_bide(req)) == 0));
	if (r < 0)
		return r;
	r = fd < 0 ? fd : file_new(dir, O_RDONLY, fd, ret);
	if (r == 0)
		FILE_OF(*ret)->peeked = true;
	return r;
}

/* ---- create ---- */

static int create_new(struct bk_req *req, struct host *h, const struct host_pin *dir,
		      const char *name, mode_t mode, int flags)
{
	_cleanup_held_ struct host_held held = host_hold(h, &dir->node->base, &dir->node->base);
	_cleanup_as_ struct host_as as = {.host = NULL};
	int fd = host_as_maker(h, req, dir->fd, mode, &as);

	if (fd < 0)
		return fd;
	do
		fd = host_openat(h, dir->fd, name, (flags & FILE_FLAGS) | O_CREAT | O_EXCL, mode);
	while (fd == -EMFILE && host_fds_shrink(h));
	return fd;
}

static int open_existing(struct bk_req *req, struct bk_node *dir, const char *name, int flags,
			 struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	int r = host_lookup(req, dir, name, &node, ret_st);

	if (r == 0)
		r = host_open(req, node, flags, ret_file);
	if (r == 0 && flags & O_TRUNC)
		r = host_fstat(FILE_OF(*ret_file)->fd, ret_st);
	if (r == 0)
		*ret_node = TAKE(node);
	return r;
}

int host_create(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, int flags,
		struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	struct host *h = HOST_OF(dir);
	struct host_node *n;
	int fd = -EEXIST, r = host_pin(dir, &pin);

	if (r < 0)
		return r;
	/* Always with O_EXCL, so that it is never a FIFO or device that is opened; the name may be
	 * made and removed between the two steps. */
	for (int i = 0; i < 16; i++) {
		fd = create_new(req, h, &pin, name, mode, flags);
		if (fd != -EEXIST || flags & O_EXCL)
			break;
		r = open_existing(req, dir, name, flags, ret_node, ret_file, ret_st);
		if (r != -ENOENT && r != -ESTALE)
			return r;
	}
	if (fd < 0)
		return fd;
	r = host_node_for_open(h, pin.node, name, fd, &n, ret_st);
	if (r < 0) {
		closep(&fd);
		return r;
	}
	r = file_new(&n->base, flags & ~(O_CREAT | O_EXCL | O_TRUNC), fd, ret_file);
	if (r < 0)
		host_node_unref(n);
	else
		*ret_node = &n->base;
	return r;
}

static int open_unnamed(struct bk_req *req, struct host *h, const struct host_pin *dir, mode_t mode,
			int flags)
{
	_cleanup_as_ struct host_as as = {.host = NULL};
	int fd = host_as_maker(h, req, dir->fd, mode, &as);

	if (fd < 0)
		return fd;
	do
		fd =
		    host_openat(h, dir->fd, ".", (flags & (FILE_FLAGS | O_EXCL)) | O_TMPFILE, mode);
	while (fd == -EMFILE && host_fds_shrink(h));
	return fd;
}

int host_tmpfile(struct bk_req *req, struct bk_node *dir, mode_t mode, int flags,
		 struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	_cleanup_close_ int fd = -1;
	struct host *h = HOST_OF(dir);
	struct host_node *n;
	int path, r = host_pin(dir, &pin);

	if (r == 0)
		r = fd = open_unnamed(req, h, &pin, mode, flags);
	if (r < 0)
		return r;
	/* Nothing but a descriptor reaches it until it has a name. */
	path = open(procfd(fd).path, O_PATH | O_CLOEXEC);
	if (path < 0)
		return -errno;
	r = host_node_for(h, NULL, NULL, path, &n, ret_st);
	if (r < 0)
		return r;
	r = file_new(&n->base, flags, TAKE_FD(fd), ret_file);
	if (r < 0)
		host_node_unref(n);
	else
		*ret_node = &n->base;
	return r;
}

/* ---- Data ---- */

ssize_t host_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	int fd = data_fd(req, file);
	size_t done = 0;

	if (fd < 0)
		return fd;
	while (done < size) {
		ssize_t n = pread(fd, (char *)data + done, size - done, off + done);

		if (n < 0 && errno == EINTR)
			n = bk_req_check(req);
		else if (n <= 0)
			return n < 0 && done == 0 ? -errno : (ssize_t)done;
		if (n < 0)
			return n;
		done += n;
	}
	return done;
}

ssize_t host_write(struct bk_req *req, struct bk_file *file, const void *data, size_t size,
		   off_t off)
{
	_cleanup_as_ struct host_as as = {.host = NULL};
	int fd = FILE_OF(file)->fd;
	int append = file->flags & O_APPEND && !(req && req->writeback) ? RWF_APPEND : 0;
	ssize_t r = host_as_writer(HOST_OF(file->node), req, fd, &as);
	size_t done = 0;

	if (r < 0)
		return r;
	while (done < size) {
		const struct iovec iov = {(char *)data + done, size - done};
		ssize_t n = host_pwritev2(fd, &iov, off + done, append);

		if (n < 0 && errno == EINTR)
			n = bk_req_check(req);
		else if (n <= 0)
			return n < 0 && done == 0 ? -errno : (ssize_t)done;
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += n;
	}
	return done;
}

int host_flush(struct bk_req *req, struct bk_file *file)
{
	int fd;

	/* A network file system tells its write errors at close(2). */
	if ((file->flags & O_ACCMODE) == O_RDONLY)
		return 0;
	fd = fcntl(FILE_OF(file)->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || close(fd) < 0)
		return -errno;
	return 0;
}

int host_fsync(struct bk_req *req, struct bk_file *file, bool datasync)
{
	int fd = data_fd(req, file);

	return fd < 0 ? fd : host_sync(fd, datasync);
}

void host_release(struct bk_file *file)
{
	struct host_file *f = FILE_OF(file);

	if (NODE_OF(file->node)->type == S_IFDIR && !f->peeked) {
		host_dir_release(file);
		return;
	}
	if (f->lent)
		host_unpin(&(struct host_pin){.node = NODE_OF(file->node)});
	else if (f->fd >= 0)
		close(f->fd);
	bk_node_unref(file->node);
	free(f);
}

off_t host_lseek(struct bk_req *req, struct bk_file *file, off_t off, int whence)
{
	int fd = data_fd(req, file);
	off_t r;

	if (fd < 0)
		return fd;
	r = lseek(fd, off, whence);
	return r < 0 ? -errno : r;
}

int host_fallocate(struct bk_req *req, struct bk_file *file, int mode, off_t off, off_t len)
{
	_cleanup_as_ struct host_as as = {.host = NULL};
	int fd = FILE_OF(file)->fd;
	int r = host_as_writer(HOST_OF(file->node), req, fd, &as);

	if (r < 0)
		return r;
	return fallocate(fd, mode, off, len) < 0 ? -errno : 0;
}

int host_backing_fd(struct bk_file *file)
{
	int fd = atomic_load(&FILE_OF(file)->fd);

	return fd < 0 ? -EOPNOTSUPP : fd;
}
