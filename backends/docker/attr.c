/*
 * Attributes of nodes: what the container has, with what was not written back yet.
 */
#include "live.h"

bool content_local(struct dnode *node)
{
	bool local;

	pthread_mutex_lock(&node->lock);
	local = node->dirty || atomic_load(&node->pending);
	pthread_mutex_unlock(&node->lock);
	return local;
}

/* Its content is on the way, and the engine answers nothing about the container meanwhile. */
static bool is_filling_locked(struct docker *d, struct dnode *node)
{
	return node->spool && node->seen_generation == generation(d) &&
	       spool_is_filling(node->spool);
}

/* What is not in the container, or no longer, or on the way from it: 0 where *ret was set. */
static int stat_local(struct docker *d, struct dnode *node, struct stat *ret)
{
	bool gone = node_is_gone(d, node), local;

	pthread_mutex_lock(&node->lock);
	local = node->dirty || atomic_load(&node->pending);
	local = local || (gone && node->spool);
	if (local) {
		*ret = node->st;
		ret->st_nlink = !gone;
		if (node->spool)
			ret->st_size = spool_size(node->spool);
		ret->st_blocks = (ret->st_size + 511) / 512;
		if (!ret->st_mode)
			ret->st_mode = node->type;
	}
	if (!local && is_filling_locked(d, node)) {
		pthread_mutex_lock(&node->spool->lock);
		local = node->spool->has_size;
		if (local) {
			const struct stat *h = &node->spool->head;
			const struct owner o = {.mode = h->st_mode,
						.size = h->st_size,
						.mtime = h->st_mtim.tv_sec,
						.uid = h->st_uid,
						.gid = h->st_gid};

			owner_stat(ret, &o);
		}
		pthread_mutex_unlock(&node->spool->lock);
	}
	pthread_mutex_unlock(&node->lock);
	return local ? 0 : -ENOENT;
}

int stat_node(struct bk_req *req, struct docker *d, struct dnode *node, struct stat *ret)
{
	char path[PATH_MAX];
	int r;

	if (node->type == S_IFREG && stat_local(d, node, ret) == 0) {
		ret->st_ino = node->ino;
		return 0;
	}
	r = node_path(d, node, path);
	if (r == 0)
		r = stat_path(req, d, path, node, ret, NULL);
	if (r == 0 && (ret->st_mode & S_IFMT) != node->type)
		r = -ESTALE;
	if (r == 0)
		ret->st_ino = node->ino;
	return r;
}

void touched(struct docker *d, const char *path)
{
	atomic_fetch_add(&d->changes, 1);
	index_touch(&d->indexes, path);
}

/* ---- The slots ---- */

int docker_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file, struct stat *ret)
{
	return stat_node(req, docker_of(node), dnode_of(node), ret);
}

int docker_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		  struct bk_node **ret_node, struct stat *ret_st)
{
	struct docker *d = docker_of(dir);
	_cleanup_(bk_node_unrefp) struct bk_node *have = NULL;
	struct owner o;
	struct dnode *node = node_find(d, dnode_of(dir), name);
	char path[PATH_MAX];
	int r;

	if (node) {
		have = &node->base;
		(void)live_leave(d, node);
		if (node->type == S_IFREG && stat_local(d, node, ret_st) == 0) {
			ret_st->st_ino = node->ino;
			*ret_node = TAKE(have);
			return 0;
		}
	}
	r = child_path(d, dnode_of(dir), name, path);
	if (r < 0)
		return r;
	r = stat_path(req, d, path, node, ret_st, &o);
	if (r < 0)
		return r;
	if (!node || node->type != (ret_st->st_mode & S_IFMT)) {
		r = node_get(d, dnode_of(dir), name, ret_st->st_mode & S_IFMT, &node);
		if (r == 0) {
			node_keep_owner(d, node, &o);
			bk_node_unref(TAKE(have));
			have = &node->base;
		}
	}
	owner_done(&o);
	if (r < 0)
		return r;
	ret_st->st_ino = node->ino;
	*ret_node = TAKE(have);
	return 0;
}
