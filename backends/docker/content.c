/*
 * A file's content between the container and its spool. A spool is what every open handle of a
 * node reads and writes; it is fetched when first needed, asked for again when it may be old, and
 * put back whole when it or the attributes have changed. While it is dirty it is the truth.
 */
#include "docker.h"

#include "../base/clock.h"
#include "../base/log.h"

#include <string.h>

/* How often a file is fetched that is replaced in the container while it is. */
#define FETCHES_MAX 3

static bool has_failed_locked(struct dnode *node)
{
	bool failed;

	pthread_mutex_lock(&node->spool->lock);
	failed = node->spool->state == SPOOL_FAILED;
	pthread_mutex_unlock(&node->spool->lock);
	return failed;
}

/* Whether what the spool holds has to be compared with the container. */
static bool is_old(struct docker *d, struct dnode *node)
{
	bool old = !node_is_gone(d, node);

	pthread_mutex_lock(&node->lock);
	old = old && !node->dirty && !atomic_load(&node->pending) &&
	      (!node->spool || node->seen_generation != generation(d) || has_failed_locked(node) ||
	       (clock_ms() - node->seen_ms >= FRESH_MS && !spool_is_filling(node->spool)));
	pthread_mutex_unlock(&node->lock);
	return old;
}

static void see_locked(struct docker *d, struct dnode *node, uint64_t gen,
		       const struct engine_stat *head)
{
	node->seen_generation = gen;
	node->seen_ms = clock_ms();
	node->seen_size = head->size;
	node->seen_mtime = head->mtime;
}

static bool is_same(struct dnode *node, const struct engine_stat *head)
{
	bool same;

	pthread_mutex_lock(&node->lock);
	same = node->spool && node->seen_size == head->size &&
	       node->seen_mtime.tv_sec == head->mtime.tv_sec &&
	       node->seen_mtime.tv_nsec == head->mtime.tv_nsec && !has_failed_locked(node);
	pthread_mutex_unlock(&node->lock);
	return same;
}

static int head_of(struct bk_req *req, struct docker *d, struct dnode *node, char path[PATH_MAX],
		   struct engine_stat *ret)
{
	struct err err = {""};
	int r = node_path(d, node, path);

	if (r == 0)
		r = head_path(req, d, path, ret, &err);
	if (r < 0)
		return r;
	free(TAKE(ret->link));
	return S_ISREG(ret->mode) ? 0 : -ESTALE;
}

int content_refresh(struct bk_req *req, struct docker *d, struct dnode *node)
{
	_cleanup_(spool_unrefp) struct spool *s = NULL;
	struct engine_stat head = {0};
	uint64_t gen = generation(d);
	char path[PATH_MAX];
	bool have;
	int r;

	if (!is_old(d, node))
		return 0;
	r = head_of(req, d, node, path, &head);
	pthread_mutex_lock(&node->lock);
	have = node->spool && !has_failed_locked(node);
	pthread_mutex_unlock(&node->lock);
	/* Removed beneath us: what was fetched is what an open file still has. */
	if ((r == -ENOENT || r == -ESTALE) && have)
		return 0;
	if (r < 0)
		return r;
	if (!is_same(node, &head)) {
		r = spool_new(d->mount->spool_dir, &d->budget, &s);
		if (r == 0)
			r = spool_fill(s, d->sb.engine, d->sb.ref, path);
		if (r < 0)
			return sandbox_fail(&d->sb, r, "temporary file in %s: %s",
					    d->mount->spool_dir, strerror(-r));
	}
	pthread_mutex_lock(&node->lock);
	if (s) {
		struct spool *old = node->spool;

		node->spool = s;
		s = old;
	}
	see_locked(d, node, gen, &head);
	pthread_mutex_unlock(&node->lock);
	return 0;
}

static struct spool *spool_of(struct dnode *node)
{
	struct spool *s;

	pthread_mutex_lock(&node->lock);
	s = node->spool ? spool_ref(node->spool) : NULL;
	pthread_mutex_unlock(&node->lock);
	return s;
}

static int refresh_alone(struct bk_req *req, struct docker *d, struct dnode *node)
{
	int r;

	if (!is_old(d, node))
		return 0;
	r = gate_enter(req, &node->gate);
	if (r < 0)
		return r;
	r = content_refresh(req, d, node);
	gate_leave(&node->gate);
	return r;
}

/* The content with the bytes up to END here, once REFRESH has made it that of now. */
static int get(struct bk_req *req, struct docker *d, struct dnode *node, uint64_t end,
	       int (*refresh)(struct bk_req *, struct docker *, struct dnode *), struct spool **ret)
{
	struct spool *s = NULL;
	int r = -EIO;

	for (int i = 0; i < FETCHES_MAX && r == -EIO; i++) {
		spool_unref(s);
		r = refresh(req, d, node);
		if (r < 0)
			return r;
		s = spool_of(node);
		if (!s)
			return -ENOENT; /* its name went, and nobody had it open */
		r = spool_wait(req, s, end, d->conf.timeout);
	}
	if (r < 0 && r != -EINTR)
		sandbox_fail(&d->sb, r, "reading a file of container %s: %s", sandbox_name(&d->sb),
			     *s->text.text ? s->text.text : strerror(-r));
	if (r < 0)
		spool_unref(s);
	else
		*ret = s;
	return r;
}

int content_get(struct bk_req *req, struct docker *d, struct dnode *node, uint64_t end,
		struct spool **ret)
{
	return get(req, d, node, end, refresh_alone, ret);
}

int content_whole(struct bk_req *req, struct docker *d, struct dnode *node)
{
	struct spool *s;
	int r = get(req, d, node, UINT64_MAX, content_refresh, &s);

	if (r == 0)
		spool_unref(s);
	return r;
}

void content_claim(struct docker *d, struct dnode *node)
{
	pthread_mutex_lock(&node->lock);
	if (node->claims++ == 0) {
		pthread_mutex_lock(&d->claimed_lock);
		DL_APPEND2(d->claimed, node, claimed_prev, claimed_next);
		pthread_mutex_unlock(&d->claimed_lock);
	}
	pthread_mutex_unlock(&node->lock);
}

void content_unclaim(struct docker *d, struct dnode *node)
{
	struct spool *s = NULL;
	bool lost = false;

	pthread_mutex_lock(&node->lock);
	if (--node->claims == 0) {
		pthread_mutex_lock(&d->claimed_lock);
		DL_DELETE2(d->claimed, node, claimed_prev, claimed_next);
		pthread_mutex_unlock(&d->claimed_lock);
		s = TAKE(node->spool);
		lost = atomic_exchange(&node->pending, false);
		node->dirty = false;
	}
	pthread_mutex_unlock(&node->lock);
	spool_unref(s);
	if (lost)
		node_gone(d, node);
}

int content_dirty(struct bk_req *req, struct docker *d, struct dnode *node)
{
	struct stat st;
	int r;

	if (content_local(node))
		return 0;
	r = stat_node(req, d, node, &st);
	if (r < 0)
		return r;
	pthread_mutex_lock(&node->lock);
	node->st = st;
	node->dirty = true;
	pthread_mutex_unlock(&node->lock);
	return 0;
}

int content_empty(struct docker *d, struct dnode *node)
{
	struct spool *s, *old;
	int r = spool_new(d->mount->spool_dir, &d->budget, &s);

	if (r < 0)
		return sandbox_fail(&d->sb, r, "temporary file in %s: %s", d->mount->spool_dir,
				    strerror(-r));
	pthread_mutex_lock(&node->lock);
	old = node->spool;
	node->spool = s;
	pthread_mutex_unlock(&node->lock);
	spool_unref(old);
	return 0;
}

/* ---- Back to the container ---- */

static int put(struct bk_req *req, struct docker *d, struct dnode *node, struct spool *s,
	       char path[PATH_MAX], struct stat *ret_st)
{
	struct engine_put_entry e = {.fd = s->fd};
	uint64_t deadline = req->deadline_ms;
	struct err err = {""};
	char *slash;
	int r = node_path(d, node, path);

	if (r < 0)
		return r;
	pthread_mutex_lock(&node->lock);
	e.st = node->st;
	pthread_mutex_unlock(&node->lock);
	e.st.st_size = spool_size(s);
	if (e.st.st_size == 0)
		e.fd = -1;
	slash = strrchr(path, '/');
	e.path = slash + 1;
	/* As long as bytes flow there is progress; the client ends it when they do not. */
	*slash = '\0';
	req->deadline_ms = 0;
	r = engine_archive_put(req, d->sb.engine, d->sb.ref, *path ? path : "/", &e, 1, &err);
	req->deadline_ms = deadline;
	bk_req_extend(req, d->conf.timeout);
	*slash = '/';
	*ret_st = e.st;
	if (r < 0 && r != -EINTR)
		sandbox_fail(&d->sb, r, "%s: not written: %s", path,
			     *err.text ? err.text : strerror(-r));
	return r;
}

int content_put(struct bk_req *req, struct docker *d, struct dnode *node)
{
	_cleanup_(spool_unrefp) struct spool *s = NULL;
	struct engine_stat head = {0};
	uint64_t gen = generation(d);
	char path[PATH_MAX];
	struct stat st;
	int r = content_whole(req, d, node);

	if (r < 0)
		return r;
	s = spool_of(node);
	r = put(req, d, node, s, path, &st);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	touched(d, path);
	r = head_of(req, d, node, path, &head);
	pthread_mutex_lock(&node->lock);
	node->dirty = false;
	atomic_store(&node->pending, false);
	if (r == 0)
		see_locked(d, node, gen, &head);
	else
		node->seen_ms = node->seen_generation = 0;
	pthread_mutex_unlock(&node->lock);
	/* Another's change between the two is for the next refresh to find. */
	if (r == 0 && head.size == (uint64_t)st.st_size && head.mtime.tv_sec == st.st_mtim.tv_sec) {
		st.st_mode = head.mode;
		node_set_owner(d, node, &st, NULL);
	}
	return 0;
}

int content_flush(struct bk_req *req, struct docker *d, struct dnode *node)
{
	int r = gate_enter(req, &node->gate);

	if (r < 0)
		return r;
	if (content_local(node) && !node_is_gone(d, node))
		r = content_put(req, d, node);
	gate_leave(&node->gate);
	return r;
}

/* References on all nodes whose content is claimed. */
static int take_claimed(struct docker *d, struct dnode ***ret, size_t *ret_n)
{
	struct dnode *n, **all;
	size_t count = 0, max;

	pthread_mutex_lock(&d->claimed_lock);
	DL_COUNT2(d->claimed, n, max, claimed_next);
	all = calloc(max + 1, sizeof(*all));
	DL_FOREACH2(d->claimed, n, claimed_next)
	if (all && bk_node_tryref(&n->base))
		all[count++] = n;
	pthread_mutex_unlock(&d->claimed_lock);
	*ret = all;
	*ret_n = count;
	return all ? 0 : -ENOMEM;
}

int content_flush_all(struct bk_req *req, struct docker *d)
{
	_cleanup_free_ struct dnode **all = NULL;
	size_t n;
	int r = take_claimed(d, &all, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = content_flush(req, d, all[i]);
		/* What cannot be put fails its own close, too. */
		if (r < 0 && r != -EINTR && r != -ETIMEDOUT)
			r = 0;
	}
	while (n > 0)
		bk_node_unref(&all[--n]->base);
	return r;
}

bool content_only_here(struct docker *d, struct dnode *node)
{
	bool spooled;

	if (content_local(node))
		return true;
	pthread_mutex_lock(&node->lock);
	spooled = node->spool != NULL;
	pthread_mutex_unlock(&node->lock);
	return spooled && node_is_gone(d, node);
}

int content_keep(struct bk_req *req, struct docker *d, struct dnode *node)
{
	unsigned claims;
	struct stat st;
	int r;

	pthread_mutex_lock(&node->lock);
	claims = node->claims;
	pthread_mutex_unlock(&node->lock);
	if (claims == 0 || content_local(node))
		return 0;
	r = stat_node(req, d, node, &st);
	if (r == 0)
		r = content_whole(req, d, node);
	if (r < 0)
		return r;
	pthread_mutex_lock(&node->lock);
	node->st = st;
	pthread_mutex_unlock(&node->lock);
	return 0;
}
