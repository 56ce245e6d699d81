/*
 * Open files. What is larger than one frame is read and written in parts, several of which are
 * under way at once.
 */
#include "client.h"

#include <fcntl.h>
#include <string.h>

/* Parts of one read or write that are under way. */
#define PARTS 8

/* Whether FD is what an open with FLAGS gives: never O_PATH, which the kernel would reopen with
 * this process's rights. */
static bool is_file_for(int fd, int flags, struct stat *ret_st)
{
	int has = fcntl(fd, F_GETFL), mode = has & O_ACCMODE;

	return has >= 0 && !(has & O_PATH) && (mode == O_RDWR || mode == (flags & O_ACCMODE)) &&
	       fstat(fd, ret_st) == 0 && S_ISREG(ret_st->st_mode);
}

/* The descriptor of A, if there is one and it is to be used: 0, or -EIO where it is a wrong one and
 * the connection over. */
static int take_fd(struct remote *r, struct answer *a, int flags, int *ret_fd)
{
	struct stat st;

	*ret_fd = -1;
	if (a->fd < 0)
		return 0;
	if (!is_file_for(a->fd, flags, &st))
		return remote_conn_fail(r, "a descriptor is not of what was opened");
	if (r->conf.fd_ok(r->conf.ctx, &st))
		*ret_fd = TAKE_FD(a->fd);
	return 0;
}

/* The open file that A tells of. */
static int file_new(struct remote *r, struct bk_node *node, int flags, struct answer *a,
		    struct bk_file **ret)
{
	const struct remote_msg release = {.file = a->msg.file};
	struct remote_file *f = malloc(sizeof(*f));
	int fd, e = f ? take_fd(r, a, flags, &fd) : -ENOMEM;

	if (e < 0) {
		free(f);
		remote_conn_send(r, REMOTE_RELEASE, 0, &release);
		return e;
	}
	*f = (struct remote_file){
	    .base = {.node = bk_node_ref(node), .flags = flags},
	    .id = a->msg.file,
	    .fd = fd,
	    .refs = 1,
	};
	if (fd >= 0) {
		pthread_mutex_lock(&r->nodes_lock);
		if (!NODE_OF(node)->open)
			NODE_OF(node)->open = f;
		pthread_mutex_unlock(&r->nodes_lock);
	}
	*ret = &f->base;
	return 0;
}

int remote_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote_msg m = {.node = NODE_OF(node)->id, .flags = flags};
	struct remote *r = REMOTE_OF(node);
	int e = remote_call_run(r, req, REMOTE_OPEN, &m, &a);

	if (e < 0)
		return e;
	if (NODE_OF(node)->type != S_IFREG)
		return remote_conn_fail(r, "what is no regular file was opened");
	return file_new(r, node, flags, &a, ret);
}

int remote_create(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, int flags,
		  struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	struct remote_msg m = {
	    .node = NODE_OF(dir)->id, .name = name, .mode = mode, .flags = flags};
	struct remote *r = REMOTE_OF(dir);
	struct remote_msg release = {.file = 0};
	uint64_t begun = remote_told_begin(dir);
	int e = remote_call_run(r, req, REMOTE_CREATE, &m, &a);

	if (e == 0)
		e = remote_told_end(dir, &a.msg.dir_st, begun);
	if (e < 0)
		return e;
	e = remote_node_for(r, a.msg.node, &a.msg.st, S_IFREG, &node);
	if (e < 0) {
		release.file = a.msg.file;
		remote_conn_send(r, REMOTE_RELEASE, 0, &release);
		return e;
	}
	e = file_new(r, node, flags & ~(O_CREAT | O_EXCL | O_TRUNC), &a, ret_file);
	if (e < 0)
		return e;
	*ret_st = a.msg.st;
	*ret_node = TAKE(node);
	return 0;
}

struct remote_file *remote_file_here(struct bk_node *node, struct bk_file *file)
{
	struct remote *r = REMOTE_OF(node);
	struct remote_file *f;

	if (NODE_OF(node)->type != S_IFREG)
		return NULL;
	pthread_mutex_lock(&r->nodes_lock);
	f = file ? FILE_OF(file) : NODE_OF(node)->open;
	if (f && f->fd >= 0)
		atomic_fetch_add(&f->refs, 1);
	else
		f = NULL;
	pthread_mutex_unlock(&r->nodes_lock);
	return f;
}

void remote_file_unref(struct remote_file *f)
{
	const struct remote_msg m = {.file = f ? f->id : 0};

	if (!f || atomic_fetch_sub(&f->refs, 1) > 1)
		return;
	closep(&f->fd);
	remote_conn_send(REMOTE_OF(f->base.node), REMOTE_RELEASE, 0, &m);
	bk_node_unref(f->base.node);
	free(f);
}

void remote_release(struct bk_file *file)
{
	struct remote *r = REMOTE_OF(file->node);

	if (NODE_OF(file->node)->type == S_IFDIR) {
		remote_dir_release(file);
		return;
	}
	pthread_mutex_lock(&r->nodes_lock);
	if (NODE_OF(file->node)->open == FILE_OF(file))
		NODE_OF(file->node)->open = NULL;
	pthread_mutex_unlock(&r->nodes_lock);
	remote_file_unref(FILE_OF(file));
}

int remote_backing_fd(struct bk_file *file)
{
	int fd = FILE_OF(file)->fd;

	return fd >= 0 ? fd : -EOPNOTSUPP;
}

/* ---- With the descriptor. What changes the content is the server's: it acts as the caller. ----
 */

int remote_check_call(struct bk_req *req, struct bk_node *node)
{
	int e = bk_req_check(req);

	return e == 0 && remote_is_over(node->bk) ? -EIO : e;
}

static ssize_t read_here(struct bk_req *req, struct bk_file *file, void *data, size_t size,
			 off_t off)
{
	int e = remote_check_call(req, file->node);
	size_t done = 0;

	while (e == 0 && done < size) {
		ssize_t n = pread(FILE_OF(file)->fd, (char *)data + done, size - done, off + done);

		if (n == 0)
			break;
		if (n < 0)
			e = errno == EINTR ? bk_req_check(req) : -errno;
		else
			done += n;
	}
	return done > 0 ? (ssize_t)done : e;
}

static int fsync_here(struct bk_req *req, struct bk_file *file, bool datasync)
{
	int fd = FILE_OF(file)->fd, e = remote_check_call(req, file->node);

	if (e < 0)
		return e;
	return (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

static off_t lseek_here(struct bk_req *req, struct bk_file *file, off_t off, int whence)
{
	off_t at = remote_check_call(req, file->node);

	if (at < 0)
		return at;
	at = lseek(FILE_OF(file)->fd, off, whence);
	return at < 0 ? -errno : at;
}

/* ---- Data ---- */

struct part {
	struct slot *slot;
	size_t at, size;
};

struct transfer {
	struct remote *r;
	struct bk_req *req;
	enum remote_op op; /* REMOTE_READ or REMOTE_WRITE */
	uint64_t file;
	uint8_t *data;
	size_t size;
	off_t off;
	unsigned max; /* parts under way at once */

	struct part parts[PARTS]; /* a ring: n of them from `first` on */
	unsigned first, n;
	size_t asked, done; /* of size */
	bool over;	    /* nothing more is asked for, and no more counts */
	int error;
};

static void start_part(struct transfer *t)
{
	size_t left = t->size - t->asked;
	struct part p = {.at = t->asked, .size = left < REMOTE_MAX_DATA ? left : REMOTE_MAX_DATA};
	struct remote_msg m = {.file = t->file, .off = t->off + p.at, .size = p.size};
	int e;

	if (t->op == REMOTE_WRITE) {
		m.data = t->data + p.at;
		m.data_len = p.size;
	}
	/* Only the first waits for a slot: who holds some must not wait for more. */
	e = remote_call_start(t->r, t->req, t->n == 0, t->op, &m, &p.slot);
	if (e == 0) {
		t->parts[(t->first + t->n++) % PARTS] = p;
		t->asked += p.size;
	} else if (e != -EAGAIN) {
		t->error = e;
		t->over = true;
	}
	if (e < 0)
		t->max = t->n; /* with those that are */
}

/* The bytes of P that were transferred, or -errno. */
static ssize_t finish_part(struct transfer *t, const struct part *p)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	int e = remote_call_finish(t->r, t->req, p->slot, &a);
	size_t n;

	if (e < 0)
		return e;
	n = t->op == REMOTE_READ ? a.msg.data_len : a.msg.size;
	if (n > p->size)
		return remote_conn_fail(t->r, "it read or wrote more than was asked");
	if (t->op == REMOTE_READ && n > 0 && !t->over)
		memcpy(t->data + p->at, a.msg.data, n);
	return n;
}

/* Parts count in order: the first that is short or fails is the end. */
static void finish_first(struct transfer *t)
{
	struct part p = t->parts[t->first];
	ssize_t n;

	t->first = (t->first + 1) % PARTS;
	t->n--;
	n = finish_part(t, &p);
	if (t->over)
		return;
	if (n < 0)
		t->error = n;
	else
		t->done += n;
	t->over = n < 0 || (size_t)n < p.size;
}

static ssize_t run_transfer(struct transfer *t)
{
	const unsigned max = t->max;

	if (t->off > INT64_MAX - (off_t)t->size)
		return -EINVAL;
	while (t->n > 0 || (t->asked < t->size && !t->over)) {
		for (t->max = max; t->n < t->max && t->asked < t->size && !t->over;)
			start_part(t);
		if (t->n > 0)
			finish_first(t);
	}
	return t->done > 0 ? (ssize_t)t->done : t->error;
}

ssize_t remote_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	struct transfer t = {
	    .r = REMOTE_OF(file->node),
	    .req = req,
	    .op = REMOTE_READ,
	    .file = FILE_OF(file)->id,
	    .data = data,
	    .size = size,
	    .off = off,
	    .max = PARTS,
	};

	return FILE_OF(file)->fd >= 0 ? read_here(req, file, data, size, off) : run_transfer(&t);
}

ssize_t remote_write(struct bk_req *req, struct bk_file *file, const void *data, size_t size,
		     off_t off)
{
	struct transfer t = {
	    .r = REMOTE_OF(file->node),
	    .req = req,
	    .op = REMOTE_WRITE,
	    .file = FILE_OF(file)->id,
	    .data = (void *)data, /* only read */
	    .size = size,
	    .off = off,
	    .max = file->flags & O_APPEND ? 1 : PARTS, /* the order is the content */
	};

	return run_transfer(&t);
}

/* ---- The rest ---- */

/* What close(2) of one of several descriptors tells, the server's open file is told by ours. */
static int flush_here(struct bk_req *req, struct bk_file *file)
{
	int fd, e = remote_check_call(req, file->node);

	if (e < 0)
		return e;
	fd = fcntl(FILE_OF(file)->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 || close(fd) < 0 ? -errno : 0;
}

int remote_flush(struct bk_req *req, struct bk_file *file)
{
	struct remote_msg m = {.file = FILE_OF(file)->id};

	if (FILE_OF(file)->fd >= 0)
		return flush_here(req, file);
	return remote_call_plain(REMOTE_OF(file->node), req, REMOTE_FLUSH, &m);
}

int remote_fsync(struct bk_req *req, struct bk_file *file, bool datasync)
{
	struct remote_msg m = {.file = FILE_OF(file)->id, .flags = datasync ? REMOTE_DATASYNC : 0};

	if (FILE_OF(file)->fd >= 0)
		return fsync_here(req, file, datasync);
	return remote_call_plain(REMOTE_OF(file->node), req, REMOTE_FSYNC, &m);
}

off_t remote_lseek(struct bk_req *req, struct bk_file *file, off_t off, int whence)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote_msg m = {.file = FILE_OF(file)->id, .off = off, .whence = whence};
	int e;

	if (FILE_OF(file)->fd >= 0)
		return lseek_here(req, file, off, whence);
	e = remote_call_run(REMOTE_OF(file->node), req, REMOTE_LSEEK, &m, &a);
	return e < 0 ? e : a.msg.off;
}

int remote_fallocate(struct bk_req *req, struct bk_file *file, int mode, off_t off, off_t len)
{
	struct remote_msg m = {.file = FILE_OF(file)->id, .mode = mode, .off = off, .len = len};

	if (off < 0 || len < 0)
		return -EINVAL;
	return remote_call_plain(REMOTE_OF(file->node), req, REMOTE_FALLOCATE, &m);
}
