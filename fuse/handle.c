/* See handle.h. */
#include "handle.h"

#include "base/log.h"

#include <fcntl.h>
#include <string.h>

void handle_init(struct handle_table *t, unsigned max)
{
	*t = (struct handle_table){.max = max};
	pthread_mutex_init(&t->lock, NULL);
}

static void flush_and_release(struct bk_file *file, uint64_t timeout_ms)
{
	struct bk_req req;
	int r;

	if ((file->flags & O_ACCMODE) != O_RDONLY) {
		bk_req_init(&req, getuid(), getgid(), 0, timeout_ms);
		r = bk_flush(&req, file);
		if (r < 0)
			log_error("route %s: a file that was open at the end is lost: %s",
				  file->node->bk->route, strerror(-r));
		bk_req_done(&req);
	}
	bk_release(file);
}

void handle_done(struct handle_table *t, uint64_t timeout_ms)
{
	while (t->all) {
		struct handle *h = t->all;

		t->all = h->next;
		flush_and_release(h->file, timeout_ms);
		free(h);
	}
	pthread_mutex_destroy(&t->lock);
}

int handle_new(struct handle_table *t, struct bk_file *file, uint64_t number, struct handle **ret)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	*h = (struct handle){.file = file, .number = number, .table = t};
	atomic_init(&h->refs, 1);
	pthread_mutex_lock(&t->lock);
	if (t->n >= t->max) {
		pthread_mutex_unlock(&t->lock);
		free(h);
		return -ENFILE;
	}
	t->n++;
	h->next = t->all;
	if (h->next)
		h->next->prev = h;
	t->all = h;
	pthread_mutex_unlock(&t->lock);
	*ret = h;
	return 0;
}

ssize_t handle_list(struct handle_table *t, const struct bk *bk, uint64_t **ret)
{
	uint64_t *numbers;
	ssize_t n = 0;

	pthread_mutex_lock(&t->lock);
	numbers = calloc(t->n + 1, sizeof(*numbers));
	for (struct handle *h = t->all; h && numbers; h = h->next)
		if (h->number && h->file->node->bk == bk)
			numbers[n++] = h->number;
	pthread_mutex_unlock(&t->lock);
	if (!numbers)
		return -ENOMEM;
	*ret = numbers;
	return n;
}

unsigned handle_count(struct handle_table *t)
{
	unsigned n;

	pthread_mutex_lock(&t->lock);
	n = t->n;
	pthread_mutex_unlock(&t->lock);
	return n;
}

struct handle *handle_ref(struct handle *h)
{
	atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
	return h;
}

void handle_unref(struct handle *h)
{
	struct handle_table *t;

	if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) > 1)
		return;
	t = h->table;
	pthread_mutex_lock(&t->lock);
	t->n--;
	if (h->prev)
		h->prev->next = h->next;
	else
		t->all = h->next;
	if (h->next)
		h->next->prev = h->prev;
	pthread_mutex_unlock(&t->lock);
	bk_release(h->file);
	free(h);
}
