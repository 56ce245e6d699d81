/* Names over the guest. Afterwards the table of nodes is made to agree. */
#include "live.h"

#include <linux/fs.h>

/*
 * The result of CALL, which finds or makes NAME in `in`, the remote node of DIR, and tells of it in
 * `remote` and *RET_ST; what it told of is DIR's node then.
 */
#define ADOPTED(req, c, dir, name, ret_node, ret_st, call)                                         \
	({                                                                                         \
		_cleanup_(bk_node_unrefp) struct bk_node *in = NULL;                               \
		struct docker *d_ = docker_of(dir);                                                \
		struct bk_node *remote;                                                            \
		int r_ = live_resolve(req, d_, c, dnode_of(dir), &in);                             \
		if (r_ == 0)                                                                       \
			r_ = (call);                                                               \
		r_ < 0 ? r_ : live_adopt(d_, c, dnode_of(dir), name, remote, ret_st, ret_node);    \
	})

/*
 * Who has just made a directory makes files in it next, and for each the kernel asks first whether
 * the name is there. That it is not is known for a moment, as long as what was read ahead is, and
 * while no child is forgotten.
 */
#define WHOLE_MS 100

static void know_whole(struct docker *d, struct dnode *dir, uint64_t gen, uint64_t made_ms)
{
	pthread_mutex_lock(&d->nodes.lock);
	dir->whole = (struct known){dir->children ? 0 : made_ms + WHOLE_MS, gen};
	pthread_mutex_unlock(&d->nodes.lock);
}

static bool is_missing(struct docker *d, struct dnode *dir, const char *name)
{
	bool missing;

	pthread_mutex_lock(&d->nodes.lock);
	missing = known_holds(d, &dir->whole) && !node_find_locked(dir, name);
	pthread_mutex_unlock(&d->nodes.lock);
	return missing;
}

int live_lookup(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name,
		struct bk_node **ret_node, struct stat *ret_st)
{
	if (is_missing(docker_of(dir), dnode_of(dir), name))
		return -ENOENT;
	return ADOPTED(req, c, dir, name, ret_node, ret_st,
		       bk_lookup(req, in, name, &remote, ret_st));
}

int live_mknod(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name,
	       mode_t mode, dev_t rdev, struct bk_node **ret_node, struct stat *ret_st)
{
	return ADOPTED(req, c, dir, name, ret_node, ret_st,
		       bk_mknod(req, in, name, mode, rdev, &remote, ret_st));
}

int live_mkdir(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name,
	       mode_t mode, struct bk_node **ret_node, struct stat *ret_st)
{
	const uint64_t gen = generation(docker_of(dir)), now = clock_ms();
	int r = ADOPTED(req, c, dir, name, ret_node, ret_st,
			bk_mkdir(req, in, name, mode, &remote, ret_st));

	if (r == 0)
		know_whole(docker_of(dir), dnode_of(*ret_node), gen, now);
	return r;
}

int live_symlink(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name,
		 const char *target, struct bk_node **ret_node, struct stat *ret_st)
{
	return ADOPTED(req, c, dir, name, ret_node, ret_st,
		       bk_symlink(req, in, name, target, &remote, ret_st));
}

int live_link(struct bk_req *req, struct channel *c, struct bk_node *node, struct bk_node *dir,
	      const char *name, struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *file = NULL;
	int r = live_resolve(req, docker_of(dir), c, dnode_of(node), &file);

	return r < 0 ? r
		     : ADOPTED(req, c, dir, name, ret_node, ret_st,
			       bk_link(req, file, in, name, &remote, ret_st));
}

/* Nobody has the name NAME any more. */
static void name_gone(struct docker *d, struct dnode *dir, const char *name)
{
	struct dnode *n;

	pthread_mutex_lock(&d->nodes.lock);
	n = node_find_locked(dir, name);
	if (n)
		node_gone_locked(d, n);
	pthread_mutex_unlock(&d->nodes.lock);
}

static int remove_name(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name,
		       int (*remove)(struct bk_req *, struct bk_node *, const char *))
{
	_cleanup_(bk_node_unrefp) struct bk_node *in = NULL;
	struct docker *d = docker_of(dir);
	int r = live_resolve(req, d, c, dnode_of(dir), &in);

	if (r == 0)
		r = remove(req, in, name);
	if (r == 0)
		name_gone(d, dnode_of(dir), name);
	return r;
}

int live_unlink(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name)
{
	return remove_name(req, c, dir, name, bk_unlink);
}

int live_rmdir(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name)
{
	return remove_name(req, c, dir, name, bk_rmdir);
}

int live_rename(struct bk_req *req, struct channel *c, struct bk_node *dir, const char *name,
		struct bk_node *new_dir, const char *new_name, unsigned flags)
{
	_cleanup_(bk_node_unrefp) struct bk_node *from = NULL, *to = NULL;
	struct docker *d = docker_of(dir);
	int r = live_resolve(req, d, c, dnode_of(dir), &from);

	if (r == 0)
		r = live_resolve(req, d, c, dnode_of(new_dir), &to);
	if (r == 0)
		r = bk_rename(req, from, name, to, new_name, flags);
	if (r == 0)
		node_moved(d, dnode_of(dir), name, dnode_of(new_dir), new_name,
			   flags & RENAME_EXCHANGE);
	return r;
}
