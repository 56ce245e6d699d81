/*
 * What the engine tells of a path. A HEAD tells mode, size and mtime at little cost, but not the
 * owner, the device or a link's target as stored: those come from an index, or from the first
 * header of a GET that is closed at once, and are kept for a generation while what a HEAD tells is
 * the same.
 *
 * Times are whole seconds, as archives have them: an index and a HEAD have to tell the same.
 */
#include "docker.h"

#include "../base/clock.h"

#include <string.h>

/* How often the engine is asked for a file that is replaced in the container meanwhile. */
#define ASKS_MAX 4

void owner_done(struct owner *o)
{
	free(TAKE(o->link));
	o->generation = 0;
}

static int owner_copy(struct owner *to, const struct owner *from)
{
	char *link = from->link ? strdup(from->link) : NULL;

	if (from->link && !link)
		return -ENOMEM;
	*to = *from;
	to->link = link;
	return 0;
}

static bool owner_fits(const struct owner *o, uint64_t gen, const struct engine_stat *head)
{
	return o->generation == gen && o->mode == head->mode && o->mtime == head->mtime.tv_sec &&
	       (S_ISDIR(head->mode) || o->size == head->size);
}

void owner_stat(struct stat *st, const struct owner *o)
{
	*st = (struct stat){
	    .st_mode = o->mode,
	    .st_nlink = 1,
	    .st_uid = o->uid,
	    .st_gid = o->gid,
	    .st_rdev = o->rdev,
	    .st_size = S_ISDIR(o->mode) ? 4096 : (off_t)o->size,
	    .st_blksize = 4096,
	    .st_blocks = (o->size + 511) / 512,
	    .st_atim.tv_sec = o->mtime,
	    .st_mtim.tv_sec = o->mtime,
	    .st_ctim.tv_sec = o->mtime,
	};
}

/* ---- Where an owner can come from ---- */

static int from_entry(const struct index *ix, const struct index_entry *e, struct owner *ret)
{
	*ret = (struct owner){
	    .generation = ix->generation,
	    .mode = e->mode,
	    .size = e->size,
	    .mtime = e->mtime,
	    .uid = e->uid,
	    .gid = e->gid,
	    .rdev = e->rdev,
	};
	if (!S_ISLNK(e->mode))
		return 0;
	ret->link = strdup(ix->names + e->link);
	return ret->link ? 0 : -ENOMEM;
}

/* How old an index may be that answers for NODE. Of a file that is open, the kernel cuts reads at
 * the size that it is told. */
static uint64_t max_age(const struct index *ix, struct dnode *node)
{
	bool is_open = false;

	if (node) {
		pthread_mutex_lock(&node->lock);
		is_open = node->claims > 0;
		pthread_mutex_unlock(&node->lock);
	}
	return is_open && ix->fresh_ms > FRESH_MS ? FRESH_MS : ix->fresh_ms;
}

/* An index's entry; FRESH: one that holds without asking the engine. */
static int from_index(struct docker *d, const char *path, struct dnode *node, bool fresh,
		      struct owner *ret)
{
	_cleanup_(index_unrefp) struct index *ix = NULL;
	struct index_entry e;
	uint32_t at;

	if (index_find(&d->indexes, path, &ix, &at, &e) < 0 || e.flags & INDEX_TOUCHED)
		return -ENOENT;
	if (ix->generation != generation(d) ||
	    (fresh && clock_ms() - ix->end_ms >= max_age(ix, node)))
		return -ENOENT;
	return from_entry(ix, &e, ret);
}

static bool from_node(struct docker *d, struct dnode *node, const struct engine_stat *head,
		      struct owner *ret)
{
	bool fits;

	if (!node)
		return false;
	pthread_mutex_lock(&d->nodes.lock);
	fits = owner_fits(&node->owner, generation(d), head) && owner_copy(ret, &node->owner) == 0;
	pthread_mutex_unlock(&d->nodes.lock);
	return fits;
}

void node_keep_owner(struct docker *d, struct dnode *node, const struct owner *o)
{
	struct owner copy;

	if (!node || owner_copy(&copy, o) < 0)
		return;
	pthread_mutex_lock(&d->nodes.lock);
	owner_done(&node->owner);
	node->owner = copy;
	pthread_mutex_unlock(&d->nodes.lock);
}

void node_forget_owner(struct docker *d, struct dnode *node)
{
	pthread_mutex_lock(&d->nodes.lock);
	owner_done(&node->owner);
	pthread_mutex_unlock(&d->nodes.lock);
}

void node_set_owner(struct docker *d, struct dnode *node, const struct stat *st, const char *link)
{
	struct owner o = {
	    .generation = generation(d),
	    .mode = st->st_mode,
	    .size = st->st_size,
	    .mtime = st->st_mtim.tv_sec,
	    .uid = st->st_uid,
	    .gid = st->st_gid,
	    .rdev = st->st_rdev,
	    .link = (char *)link,
	};

	node_keep_owner(d, node, &o);
}

/* What a HEAD told within the last second, where nothing was changed since. */
static bool from_last_head(struct docker *d, struct dnode *node, uint64_t gen, struct owner *ret)
{
	bool fresh;

	if (!node)
		return false;
	pthread_mutex_lock(&d->nodes.lock);
	fresh = node->owner.generation == gen && node->owner.seen_ms &&
		node->owner.changes == atomic_load(&d->changes) &&
		clock_ms() - node->owner.seen_ms < FRESH_MS && owner_copy(ret, &node->owner) == 0;
	pthread_mutex_unlock(&d->nodes.lock);
	return fresh;
}

/* The first header of a GET. */
static int from_archive(struct bk_req *req, struct docker *d, const char *path, uint64_t gen,
			struct owner *ret)
{
	_cleanup_(engine_tar_closep) struct engine_tar *tar = NULL;
	struct engine_tar_entry t;
	struct err err = {""};
	int r = engine_archive_get(req, d->sb.engine, d->sb.ref, path, &tar, &err);

	if (r == 0)
		r = engine_tar_next(req, tar, &t);
	if (r == 0)
		return -EIO;
	if (r < 0)
		return r;
	*ret = (struct owner){
	    .generation = gen,
	    .mode = t.st.st_mode,
	    .size = t.link ? strlen(t.link) : (size_t)t.st.st_size,
	    .mtime = t.st.st_mtim.tv_sec,
	    .uid = t.st.st_uid,
	    .gid = t.st.st_gid,
	    .rdev = t.st.st_rdev,
	};
	if (!S_ISLNK(t.st.st_mode))
		return 0;
	ret->link = strdup(t.link ? t.link : "");
	return ret->link ? 0 : -ENOMEM;
}

/* -EAGAIN: the archive is not of what HEAD told of, which was replaced or removed since. */
static int find_owner(struct bk_req *req, struct docker *d, const char *path, struct dnode *node,
		      uint64_t gen, const struct engine_stat *head, struct owner *ret)
{
	int r;

	if (from_node(d, node, head, ret))
		return 0;
	if (from_index(d, path, node, false, ret) == 0) {
		if (owner_fits(ret, gen, head))
			return 0;
		owner_done(ret);
	}
	/* Archives leave sockets out; nobody can say whose one is. */
	if (S_ISSOCK(head->mode)) {
		*ret = (struct owner){.generation = gen};
		return 0;
	}
	if (!name_is_utf8(path))
		return sandbox_fail(
		    &d->sb, -EILSEQ,
		    "%s: its name is not UTF-8: the Engine's archives cannot hold it", path);
	r = from_archive(req, d, path, gen, ret);
	return r == -EIO || r == -ENOENT ? -EAGAIN : r;
}

/* ---- Stat ---- */

int head_path(struct bk_req *req, struct docker *d, const char *path, struct engine_stat *ret,
	      struct err *err)
{
	for (;;) {
		int r = engine_archive_stat(req, d->sb.engine, d->sb.ref, path, ret, err);

		if (r != -ETIMEDOUT || !docker_progresses(d))
			return r;
		bk_req_extend(req, d->conf.timeout);
	}
}

/* The Engine tells where a link leads, and so fails of one that leads nowhere (a loop, a name below
 * a file). A listing of its directory tells of the link itself. */
static int from_listing(struct bk_req *req, struct docker *d, const char *path, struct owner *ret)
{
	_cleanup_(index_unrefp) struct index *ix = NULL;
	struct index_entry e;
	int r = list_name(req, d, path, &ix, &e);

	if (r == 0 && !S_ISLNK(e.mode))
		r = -ENOENT;
	return r < 0 ? r : from_entry(ix, &e, ret);
}

/* What the engine says of PATH now. -EAGAIN as find_owner. */
static int ask(struct bk_req *req, struct docker *d, const char *path, struct dnode *node,
	       struct owner *ret)
{
	struct engine_stat head = {0};
	struct err err = {""};
	/* Before the engine is asked: a command that ends meanwhile makes the answer an old one. */
	uint64_t gen = generation(d), changes = atomic_load(&d->changes), asked_ms = clock_ms();
	int r = head_path(req, d, path, &head, &err);

	if (r == -ENOENT) {
		int alive = sandbox_check_alive(req, &d->sb, path);

		return alive < 0 ? alive : r;
	}
	if (r == -EIO && from_listing(req, d, path, ret) == 0)
		return 0;
	if (r < 0 && r != -EINTR)
		sandbox_fail(&d->sb, r, "%s: %s", path, *err.text ? err.text : strerror(-r));
	if (r < 0)
		return r;
	atomic_store(&d->sb.alive_ms, clock_ms());
	free(TAKE(head.link));
	r = find_owner(req, d, path, node, gen, &head, ret);
	if (r < 0)
		return r;
	ret->mode = head.mode;
	ret->size = head.size;
	ret->mtime = head.mtime.tv_sec;
	ret->seen_ms = asked_ms;
	ret->changes = changes;
	return 0;
}

static int find(struct bk_req *req, struct docker *d, const char *path, struct dnode *node,
		struct owner *ret)
{
	int r;

	if (from_last_head(d, node, generation(d), ret))
		return 0;
	r = from_index(d, path, node, true, ret);
	if (r < 0)
		r = -EAGAIN;
	for (int i = 0; i < ASKS_MAX && r == -EAGAIN; i++)
		r = ask(req, d, path, node, ret);
	if (r == -EAGAIN)
		return sandbox_fail(&d->sb, -EIO, "%s: its archive cannot be read", path);
	if (r == 0)
		node_keep_owner(d, node, ret);
	return r;
}

int stat_path(struct bk_req *req, struct docker *d, const char *path, struct dnode *node,
	      struct stat *ret, struct owner *ret_owner)
{
	struct owner o = {.generation = 0};
	int r = sandbox_reach(&d->sb, path, false);

	if (r == 0)
		r = find(req, d, path, node, &o);
	if (r < 0)
		return r;
	owner_stat(ret, &o);
	if (ret_owner)
		*ret_owner = o;
	else
		owner_done(&o);
	return 0;
}
