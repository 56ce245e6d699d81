/* Attributes, links and extended attributes over the guest. */
#include "live.h"

#include "../base/link.h"

#include <string.h>

/* The open file of C that FILE is, or NULL. */
static struct bk_file *inner_of(struct channel *c, struct bk_file *file)
{
	struct bk_file *inner = file ? atomic_load(&dfile_of(file)->inner) : NULL;

	return inner && dfile_of(file)->channel == c ? inner : NULL;
}

/* The remote node of NODE: that of FILE, which has it whatever became of the name. */
static int resolve_open(struct bk_req *req, struct docker *d, struct channel *c,
			struct bk_node *node, struct bk_file *inner, struct bk_node **ret)
{
	if (!inner)
		return live_resolve(req, d, c, dnode_of(node), ret);
	*ret = bk_node_ref(inner->node);
	return 0;
}

int live_getattr(struct bk_req *req, struct channel *c, struct bk_node *node, struct bk_file *file,
		 struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	struct bk_file *inner = inner_of(c, file);
	int r = resolve_open(req, docker_of(node), c, node, inner, &remote);

	if (r == 0)
		r = bk_getattr(req, remote, inner, ret_st);
	if (r == 0)
		live_stat(dnode_of(node), ret_st);
	return r;
}

int live_setattr(struct bk_req *req, struct channel *c, struct bk_node *node, struct bk_file *file,
		 const struct bk_setattr *attr, struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	struct bk_file *inner = inner_of(c, file);
	int r = resolve_open(req, docker_of(node), c, node, inner, &remote);

	if (r == 0)
		r = bk_setattr(req, remote, inner, attr, ret_st);
	if (r == 0)
		live_stat(dnode_of(node), ret_st);
	return r;
}

int live_statfs(struct bk_req *req, struct channel *c, struct bk_node *node, struct statvfs *ret)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	int r = live_resolve(req, docker_of(node), c, dnode_of(node), &remote);

	return r < 0 ? r : bk_statfs(req, remote, ret);
}

/* ---- Links ---- */

int live_readlink(struct bk_req *req, struct channel *c, struct bk_node *node, char *buf)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	struct docker *d = docker_of(node);
	char path[PATH_MAX], target[PATH_MAX + 1];
	int r = node_path(d, dnode_of(node), path);

	if (r == 0)
		r = live_resolve(req, d, c, dnode_of(node), &remote);
	if (r == 0)
		r = bk_readlink(req, remote, target);
	if (r < 0)
		return r;
	target[r] = '\0';
	if (strlen(target) >= PATH_MAX)
		return -ENAMETOOLONG;
	return link_show(req, d, c, path, target, buf);
}

static int walk_to(struct bk_req *req, struct channel *c, const char *path, struct bk_node **ret,
		   struct stat *ret_st)
{
	struct bk_node *at = bk_root(channel_bk(c));
	size_t pos = 0, n, len = strlen(path);
	const char *p;
	int r = bk_getattr(req, at, NULL, ret_st);

	while (r == 0 && (n = link_next(path, len, &pos, &p)) > 0) {
		struct bk_node *next = NULL;
		char name[NAME_MAX + 1];

		if (n > NAME_MAX)
			r = -ENAMETOOLONG;
		else if (!S_ISDIR(ret_st->st_mode))
			r = -ENOTDIR;
		else {
			snprintf(name, sizeof(name), "%.*s", (int)n, p);
			r = bk_lookup(req, at, name, &next, ret_st);
		}
		bk_node_unref(at);
		at = next;
	}
	if (r < 0)
		bk_node_unref(at);
	else
		*ret = at;
	return r;
}

int live_look(struct bk_req *req, struct docker *d, struct channel *c, const char *path,
	      mode_t *ret_type, char **ret_link)
{
	_cleanup_(bk_node_unrefp) struct bk_node *at = NULL;
	char target[PATH_MAX + 1];
	struct stat st;
	int r = walk_to(req, c, path, &at, &st);

	if (r == 0 && S_ISLNK(st.st_mode)) {
		r = bk_readlink(req, at, target);
		if (r >= 0)
			*ret_link = strndup(target, r);
		r = r < 0 ? r : *ret_link ? 0 : -ENOMEM;
	}
	if (r == 0)
		*ret_type = st.st_mode & S_IFMT;
	return r;
}

/* ---- Extended attributes ---- */

/*
 * The kernel asks for this one by itself, at the first write to a file and at each change of its
 * owner. That there is none holds as long as attributes do, and until something may have changed.
 */
#define CAPABILITY "security.capability"

void live_know_no_capability(struct docker *d, struct dnode *node, uint64_t gen)
{
	pthread_mutex_lock(&d->nodes.lock);
	node->no_capability = (struct known){clock_ms() + d->bk.attr_ttl_ms, gen};
	pthread_mutex_unlock(&d->nodes.lock);
}

static bool has_no_capability(struct docker *d, struct dnode *node)
{
	bool none;

	pthread_mutex_lock(&d->nodes.lock);
	none = known_holds(d, &node->no_capability);
	pthread_mutex_unlock(&d->nodes.lock);
	return none;
}

static void forget_no_capability(struct docker *d, struct dnode *node)
{
	pthread_mutex_lock(&d->nodes.lock);
	node->no_capability.until_ms = 0;
	pthread_mutex_unlock(&d->nodes.lock);
}

ssize_t live_getxattr(struct bk_req *req, struct channel *c, struct bk_node *node, const char *name,
		      void *value, size_t size)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	bool capability = strcmp(name, CAPABILITY) == 0;
	struct docker *d = docker_of(node);
	uint64_t gen = generation(d);
	ssize_t r;

	if (capability && has_no_capability(d, dnode_of(node)))
		return -ENODATA;
	r = live_resolve(req, d, c, dnode_of(node), &remote);
	if (r == 0)
		r = bk_getxattr(req, remote, name, value, size);
	if (r == -ENODATA && capability)
		live_know_no_capability(d, dnode_of(node), gen);
	return r;
}

ssize_t live_listxattr(struct bk_req *req, struct channel *c, struct bk_node *node, char *list,
		       size_t size)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	int r = live_resolve(req, docker_of(node), c, dnode_of(node), &remote);

	return r < 0 ? r : bk_listxattr(req, remote, list, size);
}

int live_setxattr(struct bk_req *req, struct channel *c, struct bk_node *node, const char *name,
		  const void *value, size_t size, int flags)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	int r = live_resolve(req, docker_of(node), c, dnode_of(node), &remote);

	if (r == 0)
		r = bk_setxattr(req, remote, name, value, size, flags);
	forget_no_capability(docker_of(node), dnode_of(node));
	return r;
}

int live_removexattr(struct bk_req *req, struct channel *c, struct bk_node *node, const char *name)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	int r = live_resolve(req, docker_of(node), c, dnode_of(node), &remote);

	return r < 0 ? r : bk_removexattr(req, remote, name);
}
