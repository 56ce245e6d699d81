/*
 * Rename: all of its rules are decided before anything changes, in the order in which Linux
 * decides them. What needs memory (a new entry) comes before what cannot fail.
 */
#include "memory.h"

struct move {
	struct mem_node *dir, *new_dir;
	const char *new_name;
	struct mem_entry *from, *to; /* `to` is NULL where the new name is free */
	struct mem_node *node, *replaced;
	unsigned flags;
};

/* Whether A is N or above it. */
static bool is_above(const struct mem_node *a, const struct mem_node *n)
{
	while (n && n != a)
		n = n->dir->parent;
	return n == a;
}

static int check(const struct move *m)
{
	bool exchange = m->flags & RENAME_EXCHANGE;
	const struct mem_node *n = m->node, *old = m->replaced;

	if (m->flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (!n || m->new_dir->nlink == 0)
		return -ENOENT;
	if (old && m->flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (!old && exchange)
		return -ENOENT;
	if (mem_is_dir(n) && is_above(n, m->new_dir))
		return -EINVAL;
	if (old && mem_is_dir(old) && is_above(old, m->dir))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (!old || exchange || n == old)
		return 0;
	if (mem_is_dir(n) && !mem_is_dir(old))
		return -ENOTDIR;
	if (!mem_is_dir(n) && mem_is_dir(old))
		return -EISDIR;
	return mem_is_dir(old) && old->dir->n_entries > 0 ? -ENOTEMPTY : 0;
}

/* N moves from DIR to NEW_DIR. */
static void moved(struct mem_node *n, struct mem_node *dir, struct mem_node *new_dir,
		  struct timespec now)
{
	int links = mem_is_dir(n) ? 1 : 0;

	if (mem_is_dir(n))
		n->dir->parent = new_dir;
	mem_node_changed(n, 0, false, now);
	mem_node_changed(dir, -links, true, now);
	mem_node_changed(new_dir, links, true, now);
}

static void exchange(struct move *m)
{
	struct timespec now = mem_now();

	mem_entry_swap(m->from, mem_entry_swap(m->to, m->node));
	moved(m->node, m->dir, m->new_dir, now);
	moved(m->replaced, m->new_dir, m->dir, now);
}

/* *ret_old gets the reference of what was replaced. */
static int move(struct move *m, struct mem_node **ret_old)
{
	struct timespec now = mem_now();

	if (!m->replaced) {
		int r = mem_dir_add(m->new_dir->dir, m->new_name, m->node);

		if (r < 0)
			return r;
	} else {
		*ret_old = mem_entry_swap(m->to, m->node);
		mem_node_unlinked(m->new_dir, m->replaced, now);
	}
	(void)mem_dir_remove(m->dir->dir, m->from); /* its reference is the new entry's */
	moved(m->node, m->dir, m->new_dir, now);
	return 0;
}

static int rename_locked(struct move *m, struct mem_node **ret_old)
{
	int r = check(m);

	if (r < 0 || m->node == m->replaced) /* two names of one file: nothing to do */
		return r;
	if (m->flags & RENAME_EXCHANGE) {
		exchange(m);
		return 0;
	}
	return move(m, ret_old);
}

int mem_rename(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_node *new_dir,
	       const char *new_name, unsigned flags)
{
	struct mem_node *d = mem_node_of(dir), *nd = mem_node_of(new_dir), *old = NULL;
	struct move m = {.dir = d, .new_dir = nd, .new_name = new_name, .flags = flags};
	int r;

	pthread_rwlock_wrlock(&mem_of(d)->tree);
	m.from = mem_dir_find(d->dir, name);
	m.to = mem_dir_find(nd->dir, new_name);
	m.node = m.from ? mem_entry_node(m.from) : NULL;
	m.replaced = m.to ? mem_entry_node(m.to) : NULL;
	r = rename_locked(&m, &old);
	pthread_rwlock_unlock(&mem_of(d)->tree);
	if (old)
		bk_node_unref(&old->node);
	return r;
}
