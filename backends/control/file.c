/*
 * Open control files. A snapshot is taken at open; a live file is read as it grows; a transaction
 * gathers what is written until the first read, which starts it and waits, parked, for the reply.
 */
#include "tree.h"

#include <fcntl.h>
#include <string.h>

#define MAX_TEXT (64u << 20)   /* of a snapshot or a reply */
#define MAX_REQUEST (4u << 20) /* of a transaction */
#define MAX_COMMAND 4096u

/* Shared by the open file and whoever answers; freed when both have let go. */
struct control_reply {
	pthread_mutex_t lock; /* guards all below */
	unsigned refs;
	bool done;
	int error;
	struct buf text;
	struct bk_waiter *waiters;
};

struct control_file {
	struct bk_file file;
	pthread_mutex_t lock; /* guards all below */
	struct buf text;      /* the snapshot, or a transaction's request */
	struct control_reply *reply;
	uint64_t pos; /* in the reply */
};

static struct control_file *control_file_of(struct bk_file *file)
{
	return container_of(file, struct control_file, file);
}

/* ---- Replies ---- */

static struct control_reply *reply_new(void)
{
	struct control_reply *reply = calloc(1, sizeof(*reply));

	if (!reply)
		return NULL;
	pthread_mutex_init(&reply->lock, NULL);
	reply->refs = 2;
	reply->text = BUF_INIT(MAX_TEXT);
	return reply;
}

static void reply_unref(struct control_reply *reply)
{
	bool last;

	pthread_mutex_lock(&reply->lock);
	last = --reply->refs == 0;
	pthread_mutex_unlock(&reply->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&reply->lock);
	buf_done(&reply->text);
	free(reply);
}

static void waiter_unlink(struct bk_waiter **list, struct bk_waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		*list = w->next;
	if (w->next)
		w->next->prev = w->prev;
}

void control_reply_done(struct control_reply *reply, int error, struct buf *text)
{
	struct bk_waiter *w;

	pthread_mutex_lock(&reply->lock);
	reply->done = true;
	reply->error = error;
	if (error == 0) {
		reply->text = *text;
		*text = BUF_INIT(text->cap);
	}
	while ((w = reply->waiters)) {
		waiter_unlink(&reply->waiters, w);
		w->wake(w);
	}
	pthread_mutex_unlock(&reply->lock);
	reply_unref(reply);
}

static ssize_t read_text(const struct buf *text, void *data, size_t size, off_t off)
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

static ssize_t reply_read(struct control_reply *reply, void *data, size_t size, off_t off)
{
	ssize_t r;

	pthread_mutex_lock(&reply->lock);
	if (!reply->done)
		r = -EAGAIN;
	else if (reply->error < 0)
		r = reply->error;
	else
		r = read_text(&reply->text, data, size, off);
	pthread_mutex_unlock(&reply->lock);
	return r;
}

/* ---- Transactions ---- */

/* The reply of the transaction, which is started where it was not. */
static int transaction_reply_locked(struct control_file *f, uid_t uid, struct control_reply **ret)
{
	const struct control_node *n = control_node_of(f->file.node);
	struct control_reply *reply = f->reply;
	int r;

	if (!reply) {
		reply = reply_new();
		if (!reply)
			return -ENOMEM;
		r = n->ops->transact(n->object, uid, f->text.data ? f->text.data : "", f->text.len,
				     reply);
		if (r < 0) {
			reply_unref(reply);
			reply_unref(reply);
			return r;
		}
		f->reply = reply;
		buf_done(&f->text);
	}
	*ret = reply;
	return 0;
}

/* Offsets mean nothing in a transaction: the writes have moved the file's position, and reads go on
 * where the last one ended. */
static ssize_t transaction_read(struct bk_req *req, struct control_file *f, void *data, size_t size)
{
	struct control_reply *reply;
	ssize_t n;
	int r;

	pthread_mutex_lock(&f->lock);
	r = transaction_reply_locked(f, req->uid, &reply);
	n = r < 0 ? r : reply_read(reply, data, size, f->pos);
	if (n > 0)
		f->pos += n;
	pthread_mutex_unlock(&f->lock);
	return n;
}

static void drop_reply(struct control_file *f)
{
	const struct control_node *n = control_node_of(f->file.node);
	bool done;

	if (!f->reply)
		return;
	pthread_mutex_lock(&f->reply->lock);
	done = f->reply->done;
	pthread_mutex_unlock(&f->reply->lock);
	if (!done)
		n->ops->cancel(n->object, f->reply);
	reply_unref(TAKE(f->reply));
	f->pos = 0;
}

/* A write after the reply was asked for begins the next request. */
static ssize_t transaction_write(struct control_file *f, const void *data, size_t size)
{
	int r;

	pthread_mutex_lock(&f->lock);
	drop_reply(f);
	r = buf_add(&f->text, data, size);
	pthread_mutex_unlock(&f->lock);
	return r < 0 ? r : (ssize_t)size;
}

/* ---- The slots ---- */

ssize_t control_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	struct control_file *f = control_file_of(file);
	const struct control_node *n = control_node_of(file->node);
	int r = control_allowed(control_of(file->node->bk), req);

	if (r < 0)
		return r;
	if (n->ops->transact)
		return transaction_read(req, f, data, size);
	if (n->ops->live_read)
		return n->ops->live_read(n->object, off, data, size);
	return read_text(&f->text, data, size, off);
}

static ssize_t run_command(const struct control_node *n, const char *data, size_t size)
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
	r = n->ops->command(n->object, text);
	return r < 0 ? r : (ssize_t)size;
}

ssize_t control_write(struct bk_req *req, struct bk_file *file, const void *data, size_t size,
		      off_t off)
{
	const struct control_node *n = control_node_of(file->node);
	int r = control_allowed(control_of(file->node->bk), req);

	if (r < 0)
		return r;
	if (n->ops->transact)
		return transaction_write(control_file_of(file), data, size);
	return n->ops->command ? run_command(n, data, size) : -EACCES;
}

void control_wait(struct bk_file *file, struct bk_waiter *w, bool remove)
{
	struct control_reply *reply = control_file_of(file)->reply;

	pthread_mutex_lock(&reply->lock);
	if (remove) {
		/* A waiter that was woken is in no list any more. */
		for (struct bk_waiter *i = reply->waiters; i; i = i->next)
			if (i == w) {
				waiter_unlink(&reply->waiters, w);
				break;
			}
	} else if (reply->done) {
		w->wake(w);
	} else {
		w->prev = NULL;
		w->next = reply->waiters;
		if (w->next)
			w->next->prev = w;
		reply->waiters = w;
	}
	pthread_mutex_unlock(&reply->lock);
}

/* Whether the caller may open for what FLAGS say; the kernel has checked modes only where it
 * enforces them, and not for root. */
static int check_access(const struct control_file_ops *ops, int flags)
{
	int mode = flags & O_ACCMODE;
	bool reads = mode != O_WRONLY, writes = mode != O_RDONLY;

	if (reads && !ops->show && !ops->live_read && !ops->transact)
		return -EACCES;
	if (writes && !ops->command && !ops->transact)
		return -EACCES;
	return 0;
}

int control_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	const struct control_node *n = control_node_of(node);
	struct control_file *f;
	int r = control_allowed(control_of(node->bk), req);

	if (r == 0)
		r = check_access(n->ops, flags);
	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->text = BUF_INIT(n->ops->transact ? MAX_REQUEST : MAX_TEXT);
	if (n->ops->show)
		r = n->ops->show(n->object, &f->text);
	if (r < 0) {
		buf_done(&f->text);
		free(f);
		return r;
	}
	pthread_mutex_init(&f->lock, NULL);
	f->file = (struct bk_file){.node = bk_node_ref(node), .flags = flags};
	*ret = &f->file;
	return 0;
}

void control_release(struct bk_file *file)
{
	struct control_file *f = control_file_of(file);

	/* An open directory is a bare bk_file of the wrappers'. */
	if (control_node_of(file->node)->kind == CONTROL_DIR) {
		bk_node_unref(file->node);
		free(file);
		return;
	}
	drop_reply(f);
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
