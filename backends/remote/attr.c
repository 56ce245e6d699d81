/* Attributes, links' targets, extended attributes: what is no request of ours is refused here. */
#include "client.h"

#include "change.h"

#include <linux/limits.h>
#include <string.h>

/* Let M name FILE, which may be NULL, as what it is. */
static void set_file(struct remote_msg *m, struct bk_node *node, struct bk_file *file)
{
	if (!file)
		return;
	if (NODE_OF(node)->type == S_IFDIR)
		m->dir = FILE_OF(file)->id;
	else
		m->file = FILE_OF(file)->id;
}

static int run_for_stat(struct bk_req *req, struct bk_node *node, enum remote_op op,
			struct remote_msg *m, struct stat *ret_st)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote *r = REMOTE_OF(node);
	int e = remote_call_run(r, req, op, m, &a);

	if (e == 0)
		e = remote_node_check(r, node, &a.msg.st);
	if (e == 0)
		*ret_st = a.msg.st;
	return e;
}

/* What tells of NODE without asking, and changes it, or NULL; a reference. */
static struct remote_file *file_here(struct bk_node *node, struct bk_file *file)
{
	return REMOTE_OF(node)->conf.attrs_here ? remote_file_here(node, file) : NULL;
}

static int stat_here(struct bk_req *req, const struct remote_file *f, struct stat *ret_st)
{
	int e = remote_check_call(req, f->base.node);

	if (e < 0)
		return e;
	return fstat(f->fd, ret_st) < 0 ? -errno : 0;
}

int remote_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		   struct stat *ret_st)
{
	_cleanup_(remote_file_unrefp) struct remote_file *here = file_here(node, file);
	struct remote_msg m = {.node = NODE_OF(node)->id};

	if (here)
		return stat_here(req, here, ret_st);
	if (remote_told(node, ret_st))
		return remote_check_call(req, node);
	set_file(&m, node, file);
	return run_for_stat(req, node, REMOTE_GETATTR, &m, ret_st);
}

static bool is_time(const struct timespec *t)
{
	return t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

/* The part of A that its mask speaks of. */
static int clean_setattr(const struct bk_setattr *a, struct bk_setattr *ret)
{
	struct bk_setattr c = {.mask = a->mask, .uid = a->uid, .gid = a->gid};

	if (a->mask & BK_SET_MODE)
		c.mode = a->mode & 07777;
	if (a->mask & BK_SET_SIZE)
		c.size = a->size;
	if (a->mask & BK_SET_ATIME)
		c.atime = a->atime;
	if (a->mask & BK_SET_MTIME)
		c.mtime = a->mtime;
	*ret = c;
	return c.size > INT64_MAX || !is_time(&c.atime) || !is_time(&c.mtime) ? -EINVAL : 0;
}

#define SET_HERE (BK_SET_UID | BK_SET_GID | BK_SET_MODE | BK_SET_TIMES | BK_SET_KILL_SUIDGID)

/* Change A of F by its descriptor. 1: the server has to, who it is may matter for it. */
static int change_here(struct bk_req *req, const struct remote_file *f, const struct bk_setattr *a,
		       struct stat *ret_st)
{
	const mode_t bits = S_ISUID | S_ISGID;
	int e = stat_here(req, f, ret_st);

	if (e < 0)
		return e;
	if (!a->mask || a->mask & ~SET_HERE || (ret_st->st_mode | a->mode) & bits)
		return 1;
	e = bk_change_fd(f->fd, a);
	atomic_fetch_add(&REMOTE_OF(f->base.node)->files_epoch, 1);
	return e < 0 ? e : stat_here(req, f, ret_st);
}

int remote_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		   const struct bk_setattr *attr, struct stat *ret_st)
{
	_cleanup_(remote_file_unrefp) struct remote_file *here = NULL;
	struct remote_msg m = {.node = NODE_OF(node)->id};
	int e = clean_setattr(attr, &m.attr);

	if (e == 0)
		here = file_here(node, file);
	if (here)
		e = change_here(req, here, &m.attr, ret_st);
	if (e < 0 || (here && e == 0))
		return e;
	set_file(&m, node, file);
	return run_for_stat(req, node, REMOTE_SETATTR, &m, ret_st);
}

int remote_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote_msg m = {.node = NODE_OF(node)->id};
	int e = remote_call_run(REMOTE_OF(node), req, REMOTE_READLINK, &m, &a);
	size_t n;

	if (e < 0)
		return e;
	n = strlen(a.msg.text);
	memcpy(buf, a.msg.text, n);
	return n;
}

int remote_statfs(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote_msg m = {.node = NODE_OF(node)->id};
	int e = remote_call_run(REMOTE_OF(node), req, REMOTE_STATFS, &m, &a);

	if (e == 0)
		*ret = a.msg.vfs;
	return e;
}

/* ---- Extended attributes ---- */

/* A value or list of at most SIZE bytes, or, where SIZE is 0, its length. */
static ssize_t run_for_value(struct bk_req *req, struct bk_node *node, enum remote_op op,
			     struct remote_msg *m, void *value, size_t size)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote *r = REMOTE_OF(node);
	ssize_t e;

	m->size = size < XATTR_SIZE_MAX ? size : XATTR_SIZE_MAX;
	e = remote_call_run(r, req, op, m, &a);
	if (e < 0)
		return e;
	if (a.msg.data_len != (size ? a.msg.size : 0) || a.msg.data_len > size ||
	    a.msg.size > XATTR_SIZE_MAX)
		return remote_conn_fail(r, "an attribute's value has a wrong length");
	if (a.msg.data_len)
		memcpy(value, a.msg.data, a.msg.data_len);
	return a.msg.size;
}

ssize_t remote_getxattr(struct bk_req *req, struct bk_node *node, const char *name, void *value,
			size_t size)
{
	struct remote_msg m = {.node = NODE_OF(node)->id, .text = name};

	if (strlen(name) > XATTR_NAME_MAX)
		return -ERANGE;
	return run_for_value(req, node, REMOTE_GETXATTR, &m, value, size);
}

ssize_t remote_listxattr(struct bk_req *req, struct bk_node *node, char *list, size_t size)
{
	struct remote_msg m = {.node = NODE_OF(node)->id};
	ssize_t n = run_for_value(req, node, REMOTE_LISTXATTR, &m, list, size);

	if (n > 0 && size > 0 && list[n - 1] != '\0')
		return remote_conn_fail(REMOTE_OF(node), "a list of attributes does not end");
	return n;
}

int remote_setxattr(struct bk_req *req, struct bk_node *node, const char *name, const void *value,
		    size_t size, int flags)
{
	struct remote_msg m = {
	    .node = NODE_OF(node)->id,
	    .text = name,
	    .flags = flags,
	    .data = value,
	    .data_len = size,
	};

	if (strlen(name) > XATTR_NAME_MAX)
		return -ERANGE;
	if (size > XATTR_SIZE_MAX)
		return -E2BIG;
	return remote_call_plain(REMOTE_OF(node), req, REMOTE_SETXATTR, &m);
}

int remote_removexattr(struct bk_req *req, struct bk_node *node, const char *name)
{
	struct remote_msg m = {.node = NODE_OF(node)->id, .text = name};

	if (strlen(name) > XATTR_NAME_MAX)
		return -ERANGE;
	return remote_call_plain(REMOTE_OF(node), req, REMOTE_REMOVEXATTR, &m);
}
