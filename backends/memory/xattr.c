/*
 * Extended attributes of one node: a list, under the node's lock. Their bytes are charged to the
 * route. The kernel checks who may see and set which; `system.` (ACLs) is not served.
 */
#include "memory.h"

#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

struct mem_xattr {
	struct mem_xattr *next;
	size_t name_size; /* its NUL included */
	size_t value_size;
	char bytes[]; /* name, value */
};

static size_t charged(const struct mem_xattr *x)
{
	return sizeof(*x) + x->name_size + x->value_size;
}

static void free_xattr(struct mem *m, struct mem_xattr *x)
{
	mem_uncharge(m, charged(x));
	free(x);
}

void mem_xattrs_free(struct mem_node *n)
{
	while (n->xattrs) {
		struct mem_xattr *x = n->xattrs;

		n->xattrs = x->next;
		free_xattr(mem_of(n), x);
	}
}

/* The link to it; the link at the end where it is not there. */
static struct mem_xattr **find(struct mem_node *n, const char *name)
{
	struct mem_xattr **x = &n->xattrs;

	while (*x && strcmp((*x)->bytes, name) != 0)
		x = &(*x)->next;
	return x;
}

static int remove_locked(struct mem_node *n, const char *name)
{
	struct mem_xattr **at = find(n, name), *x = *at;

	if (!x)
		return -ENODATA;
	*at = x->next;
	free_xattr(mem_of(n), x);
	return 0;
}

void mem_capability_drop_locked(struct mem_node *n)
{
	static const char name[] = "security.capability";
	const struct mem_xattr *x = n->xattrs ? *find(n, name) : NULL;

	if (x && x->value_size > 0) /* an empty one gives nothing, and Linux leaves it */
		(void)remove_locked(n, name);
}

static int check_name(const char *name)
{
	static const char *const spaces[] = {"user.", "trusted.", "security."};

	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		if (strncmp(name, spaces[i], strlen(spaces[i])) == 0)
			return name[strlen(spaces[i])] ? 0 : -EINVAL;
	return -EOPNOTSUPP;
}

ssize_t mem_getxattr(struct bk_req *req, struct bk_node *node, const char *name, void *value,
		     size_t size)
{
	struct mem_node *n = mem_node_of(node);
	struct mem_xattr *x;
	ssize_t r = check_name(name);

	if (r < 0)
		return r;
	pthread_rwlock_rdlock(mem_lock(n));
	x = *find(n, name);
	r = x ? (ssize_t)x->value_size : -ENODATA;
	if (x && size > 0) {
		if (size < x->value_size)
			r = -ERANGE;
		else
			memcpy(value, x->bytes + x->name_size, x->value_size);
	}
	pthread_rwlock_unlock(mem_lock(n));
	return r;
}

static bool listed(struct bk_req *req, const struct mem_xattr *x)
{
	return !req || req->uid == 0 || strncmp(x->bytes, "trusted.", 8) != 0;
}

ssize_t mem_listxattr(struct bk_req *req, struct bk_node *node, char *list, size_t size)
{
	struct mem_node *n = mem_node_of(node);
	size_t total = 0;

	pthread_rwlock_rdlock(mem_lock(n));
	for (struct mem_xattr *x = n->xattrs; x; x = x->next) {
		if (!listed(req, x))
			continue;
		if (total + x->name_size <= size)
			memcpy(list + total, x->bytes, x->name_size);
		total += x->name_size;
	}
	pthread_rwlock_unlock(mem_lock(n));
	return size > 0 && total > size ? -ERANGE : (ssize_t)total;
}

static int new_xattr(struct mem *m, const char *name, const void *value, size_t size,
		     struct mem_xattr **ret)
{
	size_t name_size = strlen(name) + 1;
	struct mem_xattr *x = malloc(sizeof(*x) + name_size + size);
	int r;

	if (!x)
		return -ENOMEM;
	x->name_size = name_size;
	x->value_size = size;
	memcpy(x->bytes, name, name_size);
	if (size > 0)
		memcpy(x->bytes + name_size, value, size);
	r = mem_charge(m, charged(x));
	if (r < 0) {
		free(x);
		return r;
	}
	*ret = x;
	return 0;
}

/* Put NEW in. What it replaced, or NEW itself on failure, is left in *ret_old to be freed. */
static int set_locked(struct mem_node *n, struct mem_xattr *new, int flags,
		      struct mem_xattr **ret_old)
{
	struct mem_xattr **at = find(n, new->bytes), *old = *at;
	size_t names = new->name_size;

	*ret_old = new;
	if (old && flags & XATTR_CREATE)
		return -EEXIST;
	if (!old && flags & XATTR_REPLACE)
		return -ENODATA;
	for (struct mem_xattr *x = n->xattrs; x; x = x->next)
		names += x == old ? 0 : x->name_size;
	if (names > XATTR_LIST_MAX)
		return -ENOSPC;
	new->next = old ? old->next : NULL;
	*at = new;
	*ret_old = old;
	n->ctime = mem_now();
	return 0;
}

int mem_setxattr(struct bk_req *req, struct bk_node *node, const char *name, const void *value,
		 size_t size, int flags)
{
	struct mem_node *n = mem_node_of(node);
	struct mem_xattr *new, *old;
	int r = check_name(name);

	if (r < 0)
		return r;
	if (strlen(name) > XATTR_NAME_MAX)
		return -ERANGE;
	if (size > XATTR_SIZE_MAX)
		return -E2BIG;
	r = new_xattr(mem_of(n), name, value, size, &new);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(mem_lock(n));
	r = set_locked(n, new, flags, &old);
	pthread_rwlock_unlock(mem_lock(n));
	if (old)
		free_xattr(mem_of(n), old);
	return r;
}

int mem_removexattr(struct bk_req *req, struct bk_node *node, const char *name)
{
	struct mem_node *n = mem_node_of(node);
	int r = check_name(name);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(mem_lock(n));
	r = remove_locked(n, name);
	if (r == 0)
		n->ctime = mem_now();
	pthread_rwlock_unlock(mem_lock(n));
	return r;
}
