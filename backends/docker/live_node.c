/* Which remote node a node of the route stands for. */
#include "live.h"

#include <string.h>

#define DEPTH_MAX (PATH_MAX / 2)
/* What a file system may tell to be best for it, and what is told instead of more. */
#define BLKSIZE_MAX (16 << 20)
#define BLKSIZE 4096

/* ---- What a node has of a connection; nodes.lock is held ---- */

struct live_ref live_take_locked(struct docker *d, struct dnode *node)
{
	const struct live_ref had = {node->channel, node->remote};

	if (!node->remote)
		return had;
	if (node->by_remote)
		HASH_DELETE(hh_remote, d->nodes.by_remote, node);
	DL_DELETE2(d->nodes.live, node, live_prev, live_next);
	node->by_remote = false;
	node->channel = NULL;
	node->remote = NULL;
	return had;
}

void live_drop(struct live_ref ref)
{
	bk_node_unref(ref.remote);
	channel_unref(ref.channel);
}

static struct dnode *find_remote_locked(struct docker *d, const struct bk_node *remote)
{
	struct dnode *n;

	HASH_FIND(hh_remote, d->nodes.by_remote, &remote, sizeof(remote), n);
	return n && bk_node_tryref(&n->base) ? n : NULL;
}

/* REMOTE is taken. What NODE had is the caller's to drop. */
static struct live_ref give_locked(struct docker *d, struct dnode *node, struct channel *c,
				   struct bk_node *remote, uint64_t remote_ino)
{
	struct live_ref had = live_take_locked(d, node);
	struct dnode *other;

	node->channel = channel_ref(c);
	node->remote = remote;
	node->remote_ino = remote_ino;
	/* What is open of it is of the layer of before. */
	if (node->start && node->start != channel_start(c) && S_ISREG(node->type))
		atomic_fetch_add(&node->base.era, 1);
	node->start = channel_start(c);
	DL_APPEND2(d->nodes.live, node, live_prev, live_next);
	if (S_ISLNK(node->type))
		return had;
	HASH_FIND(hh_remote, d->nodes.by_remote, &remote, sizeof(remote), other);
	if (other && atomic_load(&other->base.refs) > 0)
		return had; /* the same file, known by another place before the connection */
	if (other) {
		HASH_DELETE(hh_remote, d->nodes.by_remote, other);
		other->by_remote = false;
	}
	HASH_ADD(hh_remote, d->nodes.by_remote, remote, sizeof(node->remote), node);
	node->by_remote = node->hh_remote.tbl != NULL;
	return had;
}

void live_forget(struct docker *d, struct channel *c)
{
	struct dnode *n, *next;
	struct live_ref *old;
	size_t count = 0, total = 0;

	pthread_mutex_lock(&d->nodes.lock);
	DL_COUNT2(d->nodes.live, n, total, live_next);
	old = calloc(total ? total : 1, sizeof(*old));
	/* Without memory they go with their nodes. */
	DL_FOREACH_SAFE2(d->nodes.live, n, next, live_next)
	{
		if (old && n->channel != c)
			old[count++] = live_take_locked(d, n);
	}
	pthread_mutex_unlock(&d->nodes.lock);
	while (count > 0)
		live_drop(old[--count]);
	free(old);
}

bool live_leave(struct docker *d, struct dnode *node)
{
	struct live_ref had;

	pthread_mutex_lock(&d->nodes.lock);
	had = live_take_locked(d, node);
	if (had.remote && S_ISREG(node->type))
		atomic_fetch_add(&node->base.era, 1);
	pthread_mutex_unlock(&d->nodes.lock);
	live_drop(had);
	return had.remote != NULL;
}

/* ---- From a place to the remote node ---- */

/* A step of the way down: a node without a remote one, below one that has it. */
struct step {
	struct dnode *node; /* a reference */
	char *name;
};

static void steps_done(struct step *steps, size_t n)
{
	while (n-- > 0) {
		bk_node_unref(&steps[n].node->base);
		free(steps[n].name);
	}
	free(steps);
}

static int push_step_locked(struct step **steps, size_t *n, struct dnode *node)
{
	struct step *grown = *steps;

	if (*n == DEPTH_MAX)
		return -ENAMETOOLONG;
	if ((*n & (*n - 1)) == 0)
		grown = realloc(*steps, (*n ? *n * 2 : 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*steps = grown;
	grown[*n].name = strdup(node->name);
	if (!grown[*n].name)
		return -ENOMEM;
	grown[*n].node = dnode_of(bk_node_ref(&node->base));
	++*n;
	return 0;
}

/* The nodes from NODE up to one that C knows, and that one's remote node. */
static int way_up(struct docker *d, struct channel *c, struct dnode *node, struct step **ret,
		  size_t *ret_n, struct bk_node **ret_from)
{
	struct step *steps = NULL;
	size_t n = 0;
	int r = 0;

	*ret_from = NULL;
	pthread_mutex_lock(&d->nodes.lock);
	for (; r == 0 && node->channel != c && node->parent; node = node->parent)
		r = node->gone ? -ESTALE : push_step_locked(&steps, &n, node);
	if (r == 0 && node->channel == c)
		*ret_from = bk_node_ref(node->remote);
	pthread_mutex_unlock(&d->nodes.lock);
	if (r == 0 && !*ret_from)
		*ret_from = bk_root(channel_bk(c));
	if (r < 0) {
		steps_done(steps, n);
		return r;
	}
	*ret = steps;
	*ret_n = n;
	return 0;
}

/*
 * Whether C's file with the number INO, which is at NODE's place, can be NODE's. Over a start of
 * the container the place alone decides: so whoever has the file of before open is told (era), also
 * where its layer has gone and another file has come.
 */
static bool is_same_locked(const struct dnode *node, const struct channel *c, mode_t type,
			   uint64_t ino)
{
	return node->type == type &&
	       (!node->remote_ino || node->remote_ino == ino || node->start != channel_start(c));
}

static int take_step(struct bk_req *req, struct docker *d, struct channel *c, const struct step *s,
		     struct bk_node **at)
{
	struct live_ref had = {NULL, NULL};
	struct bk_node *remote;
	struct stat st;
	int r = bk_lookup(req, *at, s->name, &remote, &st);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? -ESTALE : r;
	pthread_mutex_lock(&d->nodes.lock);
	if (!is_same_locked(s->node, c, st.st_mode & S_IFMT, st.st_ino))
		r = -ESTALE;
	else if (s->node->channel != c)
		had = give_locked(d, s->node, c, bk_node_ref(remote), st.st_ino);
	pthread_mutex_unlock(&d->nodes.lock);
	live_drop(had);
	bk_node_unref(*at);
	*at = remote;
	return r;
}

int live_resolve(struct bk_req *req, struct docker *d, struct channel *c, struct dnode *node,
		 struct bk_node **ret)
{
	struct bk_node *at = NULL;
	struct step *steps;
	size_t n;
	int r = way_up(d, c, node, &steps, &n, &at);

	if (r < 0)
		return r;
	for (size_t i = n; i > 0 && r == 0; i--)
		r = take_step(req, d, c, &steps[i - 1], &at);
	steps_done(steps, n);
	if (r < 0)
		bk_node_unref(at);
	else
		*ret = at;
	return r;
}

/* ---- From a remote node to the node ---- */

static bool is_above_locked(const struct dnode *node, const struct dnode *dir)
{
	for (; dir; dir = dir->parent)
		if (dir == node)
			return true;
	return false;
}

/* N, which has a reference, is NAME (taken) in DIR now. Returns what is to be unreferenced. */
static struct dnode *move_locked(struct docker *d, struct dnode *n, struct dnode *dir, char *name)
{
	struct dnode *there = node_find_locked(dir, name);

	if (there == n) {
		free(name);
		return NULL;
	}
	if (there)
		node_gone_locked(d, there);
	node_unlink_locked(n);
	n->gone = false;
	return node_place_locked(n, dir, name);
}

/* What is at NAME in DIR, with a reference, where it can be REMOTE's; else it has lost the name. */
static struct dnode *claim_place_locked(struct docker *d, struct channel *c, struct dnode *dir,
					const char *name, const struct bk_node *remote,
					const struct stat *st)
{
	struct dnode *n = node_find_locked(dir, name);

	if (!n)
		return NULL;
	if ((n->channel != c || n->remote == remote) &&
	    is_same_locked(n, c, st->st_mode & S_IFMT, st->st_ino) && bk_node_tryref(&n->base))
		return n;
	node_gone_locked(d, n);
	return NULL;
}

struct adoption {
	struct dnode *node; /* a reference */
	struct dnode *spare, *parent;
	struct live_ref had;
};

/* NAME and REMOTE are taken. */
static int adopt_locked(struct docker *d, struct channel *c, struct dnode *dir, char *name,
			struct bk_node *remote, const struct stat *st, struct adoption *a)
{
	struct dnode *n = S_ISLNK(st->st_mode) ? NULL : find_remote_locked(d, remote);

	a->node = n;
	a->had.remote = remote;
	if (n && is_above_locked(n, dir)) {
		free(name);
		return -EIO;
	}
	if (n) {
		a->parent = move_locked(d, n, dir, name);
		return 0;
	}
	n = claim_place_locked(d, c, dir, name, remote, st);
	if (!n) {
		n = TAKE(a->spare);
		n->ino = st->st_ino;
		a->parent = node_place_locked(n, dir, TAKE(name));
	}
	free(name);
	a->node = n;
	a->had = give_locked(d, n, c, remote, st->st_ino);
	return 0;
}

/* The node of REMOTE where it is at NAME in DIR already, with a reference. */
static struct dnode *known(struct docker *d, struct channel *c, struct dnode *dir, const char *name,
			   const struct bk_node *remote)
{
	struct dnode *n;

	pthread_mutex_lock(&d->nodes.lock);
	n = node_find_locked(dir, name);
	if (n && (n->channel != c || n->remote != remote || !(n->by_remote || S_ISLNK(n->type)) ||
		  !bk_node_tryref(&n->base)))
		n = NULL;
	pthread_mutex_unlock(&d->nodes.lock);
	return n;
}

/* As live_adopt, of a file that was not at that place. */
static int adopt_new(struct docker *d, struct channel *c, struct dnode *dir, const char *name,
		     struct bk_node *remote, const struct stat *st, struct dnode **ret)
{
	struct adoption a = {.spare = node_new(d, st->st_mode & S_IFMT)};
	char *copy = strdup(name);
	int r;

	if (!a.spare || !copy) {
		free(copy);
		bk_node_unref(a.spare ? &a.spare->base : NULL);
		bk_node_unref(remote);
		return -ENOMEM;
	}
	pthread_mutex_lock(&d->nodes.lock);
	r = adopt_locked(d, c, dir, copy, remote, st, &a);
	pthread_mutex_unlock(&d->nodes.lock);
	live_drop(a.had);
	bk_node_unref(a.parent ? &a.parent->base : NULL);
	bk_node_unref(a.spare ? &a.spare->base : NULL);
	if (r < 0) {
		bk_node_unref(&a.node->base);
		return sandbox_fail(&d->sb, r, "the guest says that a directory is in itself");
	}
	*ret = a.node;
	return 0;
}

int live_adopt(struct docker *d, struct channel *c, struct dnode *dir, const char *name,
	       struct bk_node *remote, struct stat *st, struct bk_node **ret)
{
	struct dnode *n = known(d, c, dir, name, remote);
	int r = 0;

	if (n)
		bk_node_unref(remote);
	else
		r = adopt_new(d, c, dir, name, remote, st, &n);
	if (r < 0)
		return r;
	live_stat(n, st);
	*ret = &n->base;
	return 0;
}

void live_stat(struct dnode *node, struct stat *st)
{
	st->st_ino = node->ino;
	st->st_dev = 0;
	/* Programs allocate a buffer of that size for each file that they open. */
	if (st->st_blksize < 1 || st->st_blksize > BLKSIZE_MAX)
		st->st_blksize = BLKSIZE;
}
