/*
 * Open control files. A snapshot is taken at open; a live file is read as it grows; a file that is
 * stored gathers what is written until it is closed; a command is carried out with its write.
 */
#include "open.h"

#include <fcntl.h>
#include <string.h>

#define MAX_TEXT (64u << 20)   /* of a snapshot */
#define MAX_WRITTEN (4u << 20) /* of a transaction's request, or a file that is stored */
#define MAX_COMMAND 4096u

ssize_t control_text_read(const struct buf *text, void *data, size_t size, off_t off)
{
	size_t n;

	if ((uint64_t)off >= text->len)
		return 0;
	n = text->len - off;
	if (n > size)
		n = size;
	memcpy(data, text->data + off, n);
	return n;
}

/* ---- Gathering ---- */

static int resize(struct buf *text, size_t size)
{
	int r = 0;

	if (size > text->len) {
		r = buf_reserve(text, size - text->len);
		if (r == 0)
			memset(text->data + text->len, 0, size - text->len);
	}
	if (r == 0)
		text->len = size;
	return r;
}

static int gather_locked(struct control_file *f, const void *data, size_t size, uint64_t off)
{
	int r = 0;

	if (f->file.flags & O_APPEND)
		off = f->text.len;
	if (off > MAX_WRITTEN || size > MAX_WRITTEN - off)
		return -EFBIG;
	if (off + size > f->text.len)
		r = resize(&f->text, off + size);
	if (r < 0)
		return r;
	memcpy(f->text.data + off, data, size);
	f->written = true;
	f->emptied = false;
	return 0;
}

static ssize_t gather(struct control_file *f, const void *data, size_t size, off_t off)
{
	int r;

	pthread_mutex_lock(&f->lock);
	r = gather_locked(f, data, size, off);
	pthread_mutex_unlock(&f->lock);
	return r < 0 ? r : (ssize_t)size;
}

static int store(struct control_node *n, const struct bk_req *req, struct buf *text)
{
	int r = buf_reserve(text, 1);

	if (r < 0)
		return r;
	text->data[text->len] = '\0';
	return n->ops->store(n->object, req, text->data, text->len);
}

int control_flush(struct bk_req *req, struct bk_file *file)
{
	struct control_file *f = control_file_of(file);
	int r = 0;

	pthread_mutex_lock(&f->lock);
	if (f->written)
		r = store(control_node_of(file->node), req, &f->text);
	f->written = false;
	pthread_mutex_unlock(&f->lock);
	return r;
}

/* A shell closes a copy of what it has opened before it writes: that it is empty counts at the end
 * only.
 */
static void store_emptied(struct control_file *f)
{
	struct bk_req req;

	if (!f->emptied)
		return;
	bk_req_init(&req, f->uid, 0, 0, 0);
	(void)store(control_node_of(f->file.node), &req, &f->text);
	bk_req_done(&req);
}

static int truncate_open(struct control_file *f, uint64_t size)
{
	int r;

	if (size > MAX_WRITTEN)
		return -EFBIG;
	pthread_mutex_lock(&f->lock);
	r = resize(&f->text, size);
	if (r == 0 && size > 0)
		f->written = true;
	if (r == 0)
		f->emptied = size == 0;
	pthread_mutex_unlock(&f->lock);
	return r;
}

int control_truncate(struct bk_req *req, struct control_node *n, struct bk_file *file,
		     uint64_t size)
{
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_WRITTEN + 1);
	int r = 0;

	/* To what is not gathered it means nothing, but `>` does it. */
	if (n->kind != CONTROL_FILE || !n->ops->store)
		return 0;
	if (file)
		return truncate_open(control_file_of(file), size);
	if (size > MAX_WRITTEN)
		return -EFBIG;
	if (size > 0 && n->ops->show)
		r = n->ops->show(n->object, &text);
	if (r == 0)
		r = resize(&text, size);
	return r < 0 ? r : store(n, req, &text);
}

/* ---- The slots ---- */

ssize_t control_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	struct control_file *f = control_file_of(file);
	const struct control_node *n = control_node_of(file->node);
	ssize_t r = control_allowed(n, req);

	if (r < 0)
		return r;
	if (n->ops->transact)
		return transaction_read(f, data, size, req->uid);
	if (n->ops->live_read)
		return n->ops->live_read(n->object, off, data, size);
	pthread_mutex_lock(&f->lock);
	r = control_text_read(&f->text, data, size, off);
	pthread_mutex_unlock(&f->lock);
	return r;
}

static ssize_t run_command(const struct control_node *n, const struct bk_req *req, const char *data,
			   size_t size)
{
	char text[MAX_COMMAND];
	size_t len = size;
	int r;

	while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == ' '))
		len--;
	if (len >= sizeof(text))
		return -E2BIG;
	if (len == 0 || memchr(data, '\0', len))
		return -EINVAL;
	memcpy(text, data, len);
	text[len] = '\0';
	r = n->ops->command(n->object, req, text);
	return r < 0 ? r : (ssize_t)size;
}

ssize_t control_write(struct bk_req *req, struct bk_file *file, const void *data, size_t size,
		      off_t off)
{
	const struct control_node *n = control_node_of(file->node);
	int r = control_allowed(n, req);

	if (r < 0)
		return r;
	if (n->ops->transact)
		return transaction_write(control_file_of(file), data, size);
	if (n->ops->store)
		return gather(control_file_of(file), data, size, off);
	return n->ops->command ? run_command(n, req, data, size) : -EACCES;
}

/* Whether the caller may open for what FLAGS say; the kernel has checked modes only where it
 * enforces them, and not for root. */
static int check_access(const struct control_file_ops *ops, int flags)
{
	int mode = flags & O_ACCMODE;
	bool reads = mode != O_WRONLY, writes = mode != O_RDONLY;

	if (reads && !ops->show && !ops->live_read && !ops->transact)
		return -EACCES;
	if (writes && !ops->command && !ops->store && (!ops->transact || ops->read_only))
		return -EACCES;
	return 0;
}

int control_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	const struct control_node *n = control_node_of(node);
	struct control_file *f;
	int r = control_allowed(n, req);

	if (r == 0)
		r = check_access(n->ops, flags);
	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->text = BUF_INIT(n->ops->transact ? MAX_WRITTEN : MAX_TEXT);
	f->emptied = n->ops->store && flags & O_TRUNC;
	if (n->ops->show && !f->emptied)
		r = n->ops->show(n->object, &f->text);
	if (r < 0) {
		buf_done(&f->text);
		free(f);
		return r;
	}
	pthread_mutex_init(&f->lock, NULL);
	f->uid = req->uid;
	f->file = (struct bk_file){.node = bk_node_ref(node), .flags = flags};
	if (n->ops->opened)
		n->ops->opened(n->object);
	*ret = &f->file;
	return 0;
}

void control_release(struct bk_file *file)
{
	struct control_file *f = control_file_of(file);
	const struct control_node *n = control_node_of(file->node);

	/* An open directory is a bare bk_file of the wrappers'. */
	if (n->kind == CONTROL_DIR) {
		bk_node_unref(file->node);
		free(file);
		return;
	}
	if (n->ops->closed)
		n->ops->closed(n->object);
	store_emptied(f);
	transaction_drop(f);
	pthread_mutex_destroy(&f->lock);
	buf_done(&f->text);
	bk_node_unref(file->node);
	free(f);
}

uint64_t control_size(const struct control_node *n)
{
	struct buf text = BUF_INIT(MAX_TEXT);
	uint64_t size = 0;

	if (n->ops->live_size)
		return n->ops->live_size(n->object);
	if (n->ops->show && n->ops->show(n->object, &text) == 0)
		size = text.len;
	buf_done(&text);
	return size;
}
