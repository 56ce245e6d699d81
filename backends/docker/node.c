/*
 * The table of nodes: a tree of places, each known to its parent by name. Nodes are weak in it and
 * hold their parents. A rename moves a node with all that is below it.
 *
 * Inode numbers are hashes of (parent's number, name), so that a listing can tell them without
 * keeping anything. Where a file has moved, an override keeps its number at the new place and
 * gives the old place another; overrides are bounded, the oldest go first.
 */
#include "live.h"

#include <string.h>

#define OVERRIDES_MAX 65536
#define ROOT_INO 1

struct place_key {
	uint64_t parent, name;
};

struct ino_override {
	struct place_key key;
	uint64_t ino;
	UT_hash_handle hh;
};

/* ---- Numbers ---- */

static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

static uint64_t hash_name(const char *name)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3ULL;
	return mix(h);
}

static uint64_t ino_locked(struct nodes *t, uint64_t parent, const char *name)
{
	struct place_key key = {parent, hash_name(name)};
	struct ino_override *o;
	uint64_t ino;

	HASH_FIND(hh, t->overrides, &key, sizeof(key), o);
	if (o)
		return o->ino;
	ino = mix(key.parent * 0x9e3779b97f4a7c15ULL + key.name);
	return ino > ROOT_INO ? ino : ino + 2;
}

static void override_locked(struct nodes *t, uint64_t parent, const char *name, uint64_t ino)
{
	struct place_key key = {parent, hash_name(name)};
	struct ino_override *o;

	HASH_FIND(hh, t->overrides, &key, sizeof(key), o);
	if (o)
		HASH_DEL(t->overrides, o);
	else if (HASH_COUNT(t->overrides) >= OVERRIDES_MAX) {
		o = t->overrides; /* the head is the oldest */
		HASH_DEL(t->overrides, o);
	} else {
		o = malloc(sizeof(*o));
	}
	if (!o)
		return;
	o->key = key;
	o->ino = ino;
	HASH_ADD(hh, t->overrides, key, sizeof(o->key), o);
	if (!o->hh.tbl)
		free(o);
}

static uint64_t fresh_ino_locked(struct nodes *t)
{
	return mix(++t->fresh_inos * 0xd6e8feb86659fd93ULL + 0x5bd1e995) | 2;
}

uint64_t child_ino(struct docker *d, struct dnode *dir, const char *name)
{
	uint64_t ino;

	pthread_mutex_lock(&d->nodes.lock);
	ino = ino_locked(&d->nodes, dir->ino, name);
	pthread_mutex_unlock(&d->nodes.lock);
	return ino;
}

/* ---- Nodes ---- */

struct dnode *node_new(struct docker *d, mode_t type)
{
	struct dnode *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	bk_node_init(&n->base, &d->bk);
	n->type = type;
	gate_init(&n->gate);
	pthread_mutex_init(&n->lock, NULL);
	return n;
}

static void link_locked(struct dnode *parent, struct dnode *n)
{
	HASH_ADD_KEYPTR(hh, parent->children, n->name, strlen(n->name), n);
	n->linked = n->hh.tbl != NULL; /* no memory: it is found by nobody, and works */
}

void node_unlink_locked(struct dnode *n)
{
	if (n->linked) {
		HASH_DELETE(hh, n->parent->children, n);
		n->parent->whole.until_ms = 0;
	}
	n->linked = false;
}

struct dnode *node_find_locked(struct dnode *dir, const char *name)
{
	struct dnode *n;

	HASH_FIND(hh, dir->children, name, strlen(name), n);
	return n;
}

int nodes_init(struct docker *d)
{
	pthread_mutex_init(&d->nodes.lock, NULL);
	d->nodes.root = node_new(d, S_IFDIR);
	if (!d->nodes.root)
		return -ENOMEM;
	d->nodes.root->ino = d->bk.root_ino = ROOT_INO;
	return 0;
}

void nodes_done(struct docker *d)
{
	struct ino_override *o, *next;

	if (d->nodes.root)
		bk_node_unref(&d->nodes.root->base);
	HASH_ITER (hh, d->nodes.overrides, o, next) {
		HASH_DEL(d->nodes.overrides, o);
		free(o);
	}
	pthread_mutex_destroy(&d->nodes.lock);
}

void docker_node_free(struct bk_node *base)
{
	struct docker *d = docker_of(base);
	struct dnode *n = dnode_of(base), *parent;

	struct live_ref had;

	pthread_mutex_lock(&d->nodes.lock);
	node_unlink_locked(n);
	had = live_take_locked(d, n);
	parent = n->parent;
	pthread_mutex_unlock(&d->nodes.lock);
	live_drop(had);
	spool_unref(n->spool);
	owner_done(&n->owner);
	gate_done(&n->gate);
	pthread_mutex_destroy(&n->lock);
	free(n->name);
	free(n);
	if (parent)
		bk_node_unref(&parent->base);
}

struct dnode *node_find(struct docker *d, struct dnode *dir, const char *name)
{
	struct dnode *n;

	pthread_mutex_lock(&d->nodes.lock);
	n = node_find_locked(dir, name);
	if (n && !bk_node_tryref(&n->base))
		n = NULL;
	pthread_mutex_unlock(&d->nodes.lock);
	return n;
}

int node_get(struct docker *d, struct dnode *dir, const char *name, mode_t type, struct dnode **ret)
{
	struct dnode *n, *made = node_new(d, type);
	char *copy = strdup(name);

	if (!made || !copy) {
		free(copy);
		if (made)
			bk_node_unref(&made->base);
		return -ENOMEM;
	}
	pthread_mutex_lock(&d->nodes.lock);
	n = node_find_locked(dir, name);
	if (n && n->type == type && bk_node_tryref(&n->base)) {
		*ret = n;
	} else {
		if (n) {
			/* Its last reference just went, or something else has taken the name. */
			node_unlink_locked(n);
			if (n->type != type) {
				n->gone = true;
				override_locked(&d->nodes, dir->ino, name,
						fresh_ino_locked(&d->nodes));
			}
		}
		made->name = TAKE(copy);
		made->parent = dnode_of(bk_node_ref(&dir->base));
		made->ino = ino_locked(&d->nodes, dir->ino, name);
		link_locked(dir, made);
		*ret = TAKE(made);
	}
	pthread_mutex_unlock(&d->nodes.lock);
	free(copy);
	if (made)
		bk_node_unref(&made->base);
	return 0;
}

/* ---- Paths ---- */

/* Writes "/a/b" backwards into the end of BUF. */
static int path_locked(struct dnode *node, char buf[PATH_MAX], char **ret_start)
{
	char *p = buf + PATH_MAX - 1;

	*p = '\0';
	for (; node->parent; node = node->parent) {
		size_t n = strlen(node->name);

		if (node->gone)
			return -ENOENT;
		if ((size_t)(p - buf) < n + 2)
			return -ENAMETOOLONG;
		p -= n;
		memcpy(p, node->name, n);
		*--p = '/';
	}
	if (!*p)
		*--p = '/';
	*ret_start = p;
	return 0;
}

int node_path(struct docker *d, struct dnode *node, char path[PATH_MAX])
{
	char *start;
	int r;

	pthread_mutex_lock(&d->nodes.lock);
	r = path_locked(node, path, &start);
	pthread_mutex_unlock(&d->nodes.lock);
	if (r == 0)
		memmove(path, start, strlen(start) + 1);
	return r;
}

int child_path(struct docker *d, struct dnode *dir, const char *name, char path[PATH_MAX])
{
	int r = node_path(d, dir, path);
	size_t n, m = strlen(name);

	if (r < 0)
		return r;
	n = strlen(path);
	if (n == 1)
		n = 0;
	if (n + 1 + m >= PATH_MAX)
		return -ENAMETOOLONG;
	path[n] = '/';
	memcpy(path + n + 1, name, m + 1);
	return 0;
}

/* ---- Moves ---- */

bool node_is_gone(struct docker *d, const struct dnode *node)
{
	bool gone;

	pthread_mutex_lock(&d->nodes.lock);
	gone = node->gone;
	pthread_mutex_unlock(&d->nodes.lock);
	return gone;
}

void node_gone_locked(struct docker *d, struct dnode *n)
{
	if (n->gone || !n->parent)
		return;
	node_unlink_locked(n);
	n->gone = true;
	override_locked(&d->nodes, n->parent->ino, n->name, fresh_ino_locked(&d->nodes));
}

void node_gone(struct docker *d, struct dnode *n)
{
	pthread_mutex_lock(&d->nodes.lock);
	node_gone_locked(d, n);
	pthread_mutex_unlock(&d->nodes.lock);
}

/* Put N at NAME (taken) in DIR; returns its old parent, to be dereferenced. */
struct dnode *node_place_locked(struct dnode *n, struct dnode *dir, char *name)
{
	struct dnode *old = n->parent;

	free(n->name);
	n->name = name;
	n->parent = dnode_of(bk_node_ref(&dir->base));
	link_locked(dir, n);
	return old;
}

void node_moved(struct docker *d, struct dnode *dir, const char *name, struct dnode *new_dir,
		const char *new_name, bool exchange)
{
	char *to_name = strdup(new_name), *from_name = strdup(name);
	struct dnode *from, *to, *drop[2] = {NULL, NULL};
	uint64_t from_ino, to_ino;

	pthread_mutex_lock(&d->nodes.lock);
	from_ino = ino_locked(&d->nodes, dir->ino, name);
	to_ino = ino_locked(&d->nodes, new_dir->ino, new_name);
	new_dir->whole.until_ms = 0;
	from = node_find_locked(dir, name);
	to = node_find_locked(new_dir, new_name);
	if (from == to) /* it stays where it is */
		from = to = NULL;
	if (to && !exchange)
		node_gone_locked(d, to);
	if (from)
		node_unlink_locked(from);
	if (to && exchange)
		node_unlink_locked(to);
	override_locked(&d->nodes, new_dir->ino, new_name, from_ino);
	override_locked(&d->nodes, dir->ino, name, exchange ? to_ino : fresh_ino_locked(&d->nodes));
	if (from && to_name)
		drop[0] = node_place_locked(from, new_dir, TAKE(to_name));
	if (to && exchange && from_name)
		drop[1] = node_place_locked(to, dir, TAKE(from_name));
	pthread_mutex_unlock(&d->nodes.lock);
	free(to_name);
	free(from_name);
	for (int i = 0; i < 2; i++)
		if (drop[i])
			bk_node_unref(&drop[i]->base);
}

size_t node_pending(struct docker *d, struct dnode *dir, struct dnode **ret, size_t max)
{
	struct dnode *n, *next;
	size_t count = 0;

	pthread_mutex_lock(&d->nodes.lock);
	HASH_ITER (hh, dir->children, n, next) {
		if (count == max)
			break;
		if (atomic_load(&n->pending) && bk_node_tryref(&n->base))
			ret[count++] = n;
	}
	pthread_mutex_unlock(&d->nodes.lock);
	return count;
}
