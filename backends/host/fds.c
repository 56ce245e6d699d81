/*
 * The descriptors of nodes: a bounded cache, least recently used out first. A descriptor in use is
 * pinned; one whose file has lost its last name is kept, since nothing could open it again. Where a
 * node has none, that of its open file serves.
 */
#include "host.h"

#include <string.h>

/* ---- The list of the evictable; fds.lock is held ---- */

static void list_remove(struct host_fds *c, struct host_node *n)
{
	*(n->prev ? &n->prev->next : &c->newest) = n->next;
	*(n->next ? &n->next->prev : &c->oldest) = n->prev;
	n->prev = n->next = NULL;
}

static void list_add(struct host_fds *c, struct host_node *n)
{
	n->next = c->newest;
	*(c->newest ? &c->newest->prev : &c->oldest) = n;
	c->newest = n;
}

static bool evictable(const struct host_node *n)
{
	return n->fd >= 0 && n->pins == 0 && !n->kept;
}

static int evict_oldest_locked(struct host_fds *c)
{
	struct host_node *n = c->oldest;

	if (!n)
		return -1;
	list_remove(c, n);
	c->count--;
	return TAKE_FD(n->fd);
}

/* Each descriptor added pays for two, so that what pins have kept over the budget goes again. */
struct evicted {
	int fds[2];
};

static struct evicted trim_locked(struct host_fds *c)
{
	struct evicted e = {{-1, -1}};

	for (size_t i = 0; i < ARRAY_SIZE(e.fds) && c->count > c->budget; i++)
		e.fds[i] = evict_oldest_locked(c);
	return e;
}

static void close_evicted(struct evicted e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e.fds); i++)
		closep(&e.fds[i]);
}

bool host_fds_shrink(struct host *h)
{
	struct host_fds *c = &h->fds;
	bool any = false;
	unsigned todo;

	pthread_mutex_lock(&c->lock);
	todo = c->count / 2 + 1;
	while (todo-- > 0) {
		int fd = evict_oldest_locked(c);

		if (fd < 0)
			break;
		any = true;
		pthread_mutex_unlock(&c->lock);
		close(fd);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return any;
}

/* ---- Nodes ---- */

static void insert_locked(struct host_fds *c, struct host_node *n, int *fd)
{
	if (n->fd >= 0)
		return;
	n->fd = TAKE_FD(*fd);
	c->count++;
}

static void keep_locked(struct host *h, struct host_node *n)
{
	if (n->kept || (h->fds.kept >= h->fds.budget && n != h->root))
		return;
	n->kept = true;
	h->fds.kept++;
}

void host_fds_keep(struct host *h, struct host_node *n)
{
	pthread_mutex_lock(&h->fds.lock);
	keep_locked(h, n);
	pthread_mutex_unlock(&h->fds.lock);
}

void host_fds_give(struct host *h, struct host_node *n, int fd, bool keep)
{
	struct host_fds *c = &h->fds;
	struct evicted e;

	pthread_mutex_lock(&c->lock);
	if (evictable(n))
		list_remove(c, n);
	insert_locked(c, n, &fd);
	if (keep)
		keep_locked(h, n);
	if (evictable(n))
		list_add(c, n);
	e = trim_locked(c);
	pthread_mutex_unlock(&c->lock);
	closep(&fd);
	close_evicted(e);
}

bool host_fds_lend(struct host *h, struct host_node *n, int fd)
{
	bool lent;

	pthread_mutex_lock(&h->fds.lock);
	lent = n->fd < 0;
	if (lent) {
		n->fd = fd;
		n->lent = true;
		n->pins++;
	}
	pthread_mutex_unlock(&h->fds.lock);
	return lent;
}

void host_fds_unkeep(struct host *h, struct host_node *n)
{
	struct host_fds *c = &h->fds;

	pthread_mutex_lock(&c->lock);
	if (n->kept) {
		n->kept = false;
		c->kept--;
		if (evictable(n))
			list_add(c, n);
	}
	pthread_mutex_unlock(&c->lock);
}

void host_fds_drop(struct host *h, struct host_node *n)
{
	struct host_fds *c = &h->fds;
	_cleanup_close_ int fd = -1;

	pthread_mutex_lock(&c->lock);
	if (evictable(n))
		list_remove(c, n);
	fd = TAKE_FD(n->fd);
	c->count -= fd >= 0;
	c->kept -= n->kept;
	pthread_mutex_unlock(&c->lock);
	if (fd >= 0 && n->kept)
		closer_close(&h->closer, TAKE_FD(fd));
}

/* The entry NAME of DIR, if it is the file that ID says. */
static int open_verified(struct host *h, int dirfd, const char *name, const struct host_id *id)
{
	_cleanup_close_ int fd = host_openat(h, dirfd, name, O_PATH, 0);
	struct host_id now;
	struct stat st;
	int r;

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	r = host_fstat(fd, &st);
	if (r == 0)
		r = host_identify(h, fd, &st, &now);
	if (r < 0)
		return r;
	if (now.len != id->len || memcmp(now.bytes, id->bytes, id->len) != 0)
		return -ESTALE;
	return TAKE_FD(fd);
}

/* -EAGAIN: it was moved meanwhile. */
static int open_by_place(struct host *h, struct host_node *n, const struct host_id *id)
{
	_cleanup_(host_node_unrefp) struct host_node *dir = NULL;
	_cleanup_free_ char *name = NULL;
	_cleanup_pin_ struct host_pin pin = HOST_PIN_NONE;
	int r = host_node_place(h, n, &dir, &name);

	if (r == 0)
		r = host_pin(&dir->base, &pin);
	if (r < 0)
		return r;
	pthread_rwlock_rdlock(&h->moving);
	r = host_node_is_at(h, n, dir, name) ? open_verified(h, pin.fd, name, id) : -EAGAIN;
	pthread_rwlock_unlock(&h->moving);
	return r;
}

/* The identity at the head of the key never changes, but a rename may replace the key. */
static struct host_id id_of(struct host *h, const struct host_node *n)
{
	struct host_id id;

	pthread_mutex_lock(&h->lock);
	id.len = n->id_len;
	memcpy(id.bytes, n->key, id.len);
	pthread_mutex_unlock(&h->lock);
	return id;
}

/* Open the file of NODE anew: by its handle, or by its name from the directory it was found in. */
static int reopen(struct host *h, struct host_node *n)
{
	struct host_id id = id_of(h, n);
	int fd;

	if (host_node_has_handle(n))
		return host_open_handle(n->mount->fd, id.bytes, id.len, O_PATH);
	do
		fd = open_by_place(h, n, &id);
	while (fd == -EAGAIN);
	return fd;
}

static bool pin_cached(struct host *h, struct host_node *n, int *ret_fd)
{
	struct host_fds *c = &h->fds;
	bool cached;

	pthread_mutex_lock(&c->lock);
	cached = n->fd >= 0;
	if (cached) {
		if (evictable(n))
			list_remove(c, n);
		n->pins++;
		*ret_fd = n->fd;
	}
	pthread_mutex_unlock(&c->lock);
	return cached;
}

int host_open_evicted(struct host *h, struct host_node *n, int flags)
{
	struct host_id id;
	bool cached;
	int fd;

	pthread_mutex_lock(&h->fds.lock);
	cached = n->fd >= 0;
	pthread_mutex_unlock(&h->fds.lock);
	if (cached || !host_node_has_handle(n))
		return -EOPNOTSUPP;
	id = id_of(h, n);
	do
		fd = host_open_handle(n->mount->fd, id.bytes, id.len, flags);
	while (fd == -EMFILE && host_fds_shrink(h));
	return fd;
}

/* Pin FD (taken), or what N has by now. */
static int pin_new(struct host *h, struct host_node *n, int fd)
{
	struct evicted e;
	int pinned;

	pthread_mutex_lock(&h->fds.lock);
	if (evictable(n))
		list_remove(&h->fds, n);
	insert_locked(&h->fds, n, &fd);
	n->pins++;
	pinned = n->fd;
	e = trim_locked(&h->fds);
	pthread_mutex_unlock(&h->fds.lock);
	closep(&fd);
	close_evicted(e);
	return pinned;
}

int host_pin(struct bk_node *node, struct host_pin *ret)
{
	struct host *h = HOST_OF(node);
	struct host_node *n = NODE_OF(node);
	struct host_pin pin = {.node = n};
	int fd;

	if (!pin_cached(h, n, &pin.fd)) {
		do
			fd = reopen(h, n);
		while (fd == -EMFILE && host_fds_shrink(h));
		if (fd >= 0)
			pin.fd = pin_new(h, n, fd);
		/* Whoever took its last name meanwhile has it pinned. */
		else if (fd != -ESTALE || !pin_cached(h, n, &pin.fd))
			return fd;
	}
	*ret = pin;
	return 0;
}

/* Nobody uses N's lent descriptor any more: it is the caller's to close, or N's own where that
 * keeps one. */
static int give_back_locked(struct host_fds *c, struct host_node *n)
{
	n->lent = false;
	if (!n->kept)
		return TAKE_FD(n->fd);
	c->count++;
	return -1;
}

void host_unpin(struct host_pin *pin)
{
	_cleanup_close_ int lent = -1;
	struct host_node *n = pin->node;
	struct host_fds *c;
	struct evicted e;

	if (!n)
		return;
	c = &HOST_OF(&n->base)->fds;
	pthread_mutex_lock(&c->lock);
	if (--n->pins == 0 && n->lent)
		lent = give_back_locked(c, n);
	if (evictable(n))
		list_add(c, n);
	e = trim_locked(c);
	pthread_mutex_unlock(&c->lock);
	close_evicted(e);
	pin->node = NULL;
}
