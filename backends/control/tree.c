/*
 * The shape of the control tree: nodes are added, removed and given away while it is served.
 */
#include "tree.h"

#include <string.h>

/* ---- Nodes ---- */

static void object_free(struct control_node *n)
{
	if (n->ops && n->ops->object_free)
		n->ops->object_free(n->object);
	if (n->dir_ops && n->dir_ops->object_free)
		n->dir_ops->object_free(n->object);
	if (n->tree_ops && n->tree_ops->object_free)
		n->tree_ops->object_free(n->object);
}

/* The node alone: its object is the caller's. */
static void discard(struct control_node *n)
{
	free(n->name);
	free(n->target);
	free(n);
}

void control_node_free(struct bk_node *node)
{
	struct control_node *n = control_node_of(node);

	object_free(n);
	discard(n);
}

struct control_node *control_node_new(struct control *c, const char *name, enum control_kind kind)
{
	struct control_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	bk_node_init(&n->node, &c->bk);
	n->kind = kind;
	n->name = strdup(name);
	if (!n->name) {
		discard(n);
		return NULL;
	}
	return n;
}

/* ---- Looking ---- */

static struct control_node *find_locked(const struct control_node *dir, const char *name)
{
	struct control_node *n;

	for (n = dir->children; n && strcmp(n->name, name) != 0; n = n->next)
		;
	return n;
}

struct control_node *control_child(struct control_node *dir, const char *name)
{
	struct control *c = control_of(dir->node.bk);
	struct control_node *n;

	pthread_rwlock_rdlock(&c->lock);
	n = find_locked(dir, name);
	if (n)
		bk_node_ref(&n->node);
	pthread_rwlock_unlock(&c->lock);
	return n;
}

/* ---- Adding ---- */

/* Numbers only grow, and children are in their order: listings count on it. */
static int attach_locked(struct control *c, struct control_node *parent, struct control_node *n)
{
	struct control_node **end;

	if (parent->removed)
		return -ENOENT;
	if (find_locked(parent, n->name))
		return -EEXIST;
	for (end = &parent->children; *end; end = &(*end)->next)
		;
	*end = n;
	n->number = ++c->last_number;
	n->parent = parent;
	if (!n->owned) {
		n->owned = parent->owned;
		n->uid = parent->uid;
		n->gid = parent->gid;
	}
	return 0;
}

/* Takes N, but not its object where it fails. */
static int attach(struct control *c, struct control_dir *dir, struct control_node *n)
{
	int r;

	pthread_rwlock_wrlock(&c->lock);
	r = attach_locked(c, dir ? (struct control_node *)dir : c->root, n);
	pthread_rwlock_unlock(&c->lock);
	if (r < 0)
		discard(n);
	return r;
}

int control_add_dir(struct bk *control, struct control_dir *parent, const char *name,
		    const struct control_dir_conf *conf, struct control_dir **ret)
{
	struct control *c = control_of(control);
	struct control_node *n = control_node_new(c, name, CONTROL_DIR);
	int r;

	if (!n)
		return -ENOMEM;
	n->dir_ops = conf->ops;
	n->object = conf->object;
	n->open = conf->open;
	n->owned = conf->owned;
	n->uid = conf->uid;
	n->gid = conf->gid;
	r = attach(c, parent, n);
	if (r == 0)
		*ret = (struct control_dir *)n;
	return r;
}

int control_add_file(struct bk *control, struct control_dir *parent, const char *name,
		     const struct control_file_ops *ops, void *object)
{
	struct control *c = control_of(control);
	struct control_node *n = control_node_new(c, name, CONTROL_FILE);

	if (!n)
		return -ENOMEM;
	n->ops = ops;
	n->object = object;
	return attach(c, parent, n);
}

int control_add_tree(struct bk *control, struct control_dir *parent, const char *name,
		     const struct control_tree_ops *ops, void *object)
{
	struct control *c = control_of(control);
	struct control_node *n = control_node_new(c, name, CONTROL_TREE);

	if (!n)
		return -ENOMEM;
	n->tree_ops = ops;
	n->object = object;
	return attach(c, parent, n);
}

int control_add_link(struct bk *control, struct control_dir *parent, const char *name,
		     const char *target)
{
	struct control *c = control_of(control);
	struct control_node *n = control_node_new(c, name, CONTROL_LINK);

	if (!n)
		return -ENOMEM;
	n->target = strdup(target);
	if (!n->target) {
		discard(n);
		return -ENOMEM;
	}
	return attach(c, parent, n);
}

/* ---- Removing ---- */

static void detach_locked(struct control_node *n)
{
	struct control_node **at = &n->parent->children;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->parent = n->next = NULL;
	n->removed = true;
}

void control_clear(struct control_node *n)
{
	struct control *c = control_of(n->node.bk);

	for (;;) {
		struct control_node *child;

		pthread_rwlock_wrlock(&c->lock);
		n->removed = true;
		child = n->children;
		if (child)
			detach_locked(child);
		pthread_rwlock_unlock(&c->lock);
		if (!child)
			return;
		control_clear(child);
		bk_node_unref(&child->node);
	}
}

void control_remove(struct bk *control, struct control_dir *dir)
{
	struct control *c = control_of(control);
	struct control_node *n = (struct control_node *)dir;

	pthread_rwlock_wrlock(&c->lock);
	detach_locked(n);
	pthread_rwlock_unlock(&c->lock);
	control_clear(n);
	bk_node_unref(&n->node);
}

/* ---- Owners ---- */

static void chown_locked(struct control_node *n, uid_t uid, gid_t gid)
{
	n->owned = true;
	n->uid = uid;
	n->gid = gid;
	for (struct control_node *c = n->children; c; c = c->next)
		chown_locked(c, uid, gid);
}

void control_chown(struct bk *control, struct control_dir *dir, uid_t uid, gid_t gid)
{
	struct control *c = control_of(control);

	pthread_rwlock_wrlock(&c->lock);
	chown_locked((struct control_node *)dir, uid, gid);
	pthread_rwlock_unlock(&c->lock);
}
