/* Extended attributes. An answer of EOPNOTSUPP is one file's; ENOSYS would turn them off for the
 * whole mount. */
#include "call.h"
#include "reply.h"

#include <linux/limits.h>
#include <string.h>

static size_t bounded(size_t size)
{
	return size < XATTR_SIZE_MAX ? size : XATTR_SIZE_MAX;
}

/*
 * What `ls -l` asks of every file, unless it learns that there is none on the device: where the file
 * has none, that is what it hears. Other programs take both answers for the same.
 */
static ssize_t tell_missing(const char *name, ssize_t r)
{
	static const char *const asked[] = {"security.selinux", "system.posix_acl_access"};

	for (size_t i = 0; r == -ENODATA && i < ARRAY_SIZE(asked); i++)
		if (strcmp(name, asked[i]) == 0)
			return -EOPNOTSUPP;
	return r;
}

static void run_get(struct call *c)
{
	char *value = call_scratch(XATTR_SIZE_MAX);
	ssize_t r = -ENOMEM;

	if (value)
		r = bk_getxattr(&c->req, c->node, c->name2, value, c->size);
	reply_xattr(c, tell_missing(c->name2, r), value, c->size);
}

void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct call c = {.name2 = name, .size = bounded(size)};

	if (call_begin(&c, req, ino))
		call_go(&c, run_get);
}

static void run_list(struct call *c)
{
	char *list = call_scratch(XATTR_SIZE_MAX);
	ssize_t r = -ENOMEM;

	if (list)
		r = bk_listxattr(&c->req, c->node, list, c->size);
	reply_xattr(c, r, list, c->size);
}

void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct call c = {.size = bounded(size)};

	if (call_begin(&c, req, ino))
		call_go(&c, run_list);
}

static void run_set(struct call *c)
{
	int r = bk_setxattr(&c->req, c->node, c->name2, c->data, c->size, c->flags);

	reply_err(c, r);
}

void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
	       int flags)
{
	struct call c = {.name2 = name, .data = value, .size = size, .flags = flags};

	if (call_begin(&c, req, ino))
		call_go(&c, run_set);
}

static void run_remove(struct call *c)
{
	reply_err(c, bk_removexattr(&c->req, c->node, c->name2));
}

void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct call c = {.name2 = name};

	if (call_begin(&c, req, ino))
		call_go(&c, run_remove);
}
