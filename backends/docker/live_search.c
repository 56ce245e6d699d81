/* Searches in the container: the caller's groups as they are there, and a connection kept. */
#include "live.h"

struct live_results {
	struct bk_results base;
	struct bk_results *inner;
	struct channel *channel; /* a reference */
};

static ssize_t results_read(struct bk_req *req, struct bk_results *results, void *data, size_t size)
{
	return bk_results_read(req, container_of(results, struct live_results, base)->inner, data,
			       size);
}

static void results_free(struct bk_results *results)
{
	struct live_results *l = container_of(results, struct live_results, base);

	bk_results_free(l->inner);
	channel_unref(l->channel);
	free(l);
}

static const struct bk_results_ops results_ops = {.read = results_read, .free = results_free};

/* What a walk through the route would not see is not searched either: of the root, the kernel's
 * directories are left out; they themselves, and a root that shows them, are walked. */
static int hide(struct docker *d, struct bk_node *dir, struct bk_search *s)
{
	char path[PATH_MAX];
	int r = node_path(d, dnode_of(dir), path);

	if (r < 0)
		return r;
	if (dir_is_kernels(path) || (path[1] == '\0' && !dir_is_pseudo(d, "/proc")))
		return -EOPNOTSUPP;
	s->hidden = path[1] == '\0' ? "proc/sys/dev" : NULL;
	return 0;
}

static int search_mapped(struct bk_req *req, struct channel *c, struct bk_node *dir,
			 const struct bk_search *s, struct bk_results **ret)
{
	_cleanup_(bk_node_unrefp) struct bk_node *remote = NULL;
	int r = live_resolve(req, docker_of(dir), c, dnode_of(dir), &remote);

	return r < 0 ? r : bk_search(req, remote, s, ret);
}

int live_search(struct bk_req *req, struct channel *c, struct bk_node *dir,
		const struct bk_search *what, struct bk_results **ret)
{
	struct docker *d = docker_of(dir);
	_cleanup_free_ gid_t *groups = calloc(what->n_groups + 1, sizeof(*groups));
	struct live_results *l = malloc(sizeof(*l));
	struct bk_search s = *what;
	int r = groups && l ? hide(d, dir, &s) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < s.n_groups; i++)
		groups[i] = idmap_gid(&d->idmap, what->groups[i]);
	s.groups = groups;
	if (r == 0)
		r = search_mapped(req, c, dir, &s, &l->inner);
	if (r < 0) {
		free(l);
		return r;
	}
	l->base.ops = &results_ops;
	l->channel = channel_ref(c);
	*ret = &l->base;
	return 0;
}
