/*
 * Transactions: what is written to the open file gathers until the first read, which starts the
 * work and waits, parked, for the reply.
 */
#include "open.h"

#include <string.h>

#define MAX_REPLY (64u << 20)

/* Shared by the open file and whoever answers; freed when both have let go. */
struct control_reply {
	pthread_mutex_t lock; /* guards all below */
	unsigned refs;
	bool done;
	int error;
	struct buf text;
	struct bk_waiter *waiters;
};

/* ---- Replies ---- */

static struct control_reply *reply_new(void)
{
	struct control_reply *reply = calloc(1, sizeof(*reply));

	if (!reply)
		return NULL;
	pthread_mutex_init(&reply->lock, NULL);
	reply->refs = 2;
	reply->text = BUF_INIT(MAX_REPLY);
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

static ssize_t reply_read(struct control_reply *reply, void *data, size_t size, off_t off)
{
	ssize_t r;

	pthread_mutex_lock(&reply->lock);
	if (!reply->done)
		r = -EAGAIN;
	else if (reply->error < 0)
		r = reply->error;
	else
		r = control_text_read(&reply->text, data, size, off);
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
ssize_t transaction_read(struct control_file *f, void *data, size_t size, uid_t uid)
{
	struct control_reply *reply;
	ssize_t n;
	int r;

	pthread_mutex_lock(&f->lock);
	r = transaction_reply_locked(f, uid, &reply);
	n = r < 0 ? r : reply_read(reply, data, size, f->pos);
	if (n > 0)
		f->pos += n;
	pthread_mutex_unlock(&f->lock);
	return n;
}

void transaction_drop(struct control_file *f)
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
ssize_t transaction_write(struct control_file *f, const void *data, size_t size)
{
	int r;

	pthread_mutex_lock(&f->lock);
	transaction_drop(f);
	r = buf_add(&f->text, data, size);
	pthread_mutex_unlock(&f->lock);
	return r < 0 ? r : (ssize_t)size;
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
