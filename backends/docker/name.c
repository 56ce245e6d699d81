/*
 * Names: what makes one goes through the archive API where that can do it, what moves or removes
 * one through the guest. Afterwards the table of nodes is made to agree.
 */
#include "docker.h"

#include "../base/link.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>

bool name_is_utf8(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;

	while (*p) {
		int more = *p < 0x80   ? 0
			   : *p < 0xc2 ? -1
			   : *p < 0xe0 ? 1
			   : *p < 0xf0 ? 2
			   : *p < 0xf5 ? 3
				       : -1;
		/* Overlong forms, surrogates and what is past U+10FFFF. */
		unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
		unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;

		if (more < 0 || (more > 0 && (p[1] < low || p[1] > high)))
			return false;
		for (int i = 2; i <= more; i++)
			if ((p[i] & 0xc0) != 0x80)
				return false;
		p += 1 + more;
	}
	return true;
}

/* A file of such a name could be written and never be read. */
static int check_new_name(struct docker *d, const char *name)
{
	return name_is_utf8(name) ? 0
				  : sandbox_fail(&d->sb, -EILSEQ,
						 "a name that is not UTF-8: the Engine's archives "
						 "cannot hold it");
}

int make_prepare(struct bk_req *req, struct docker *d, struct dnode *dir, const char *name,
		 char path[PATH_MAX], struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *have = NULL;
	struct engine_stat head = {0};
	struct err err = {""};
	struct dnode *node;
	struct stat up;
	int r = check_new_name(d, name);

	if (r == 0)
		r = child_path(d, dir, name, path);
	if (r == 0)
		r = sandbox_before_change(req, &d->sb);
	if (r == 0)
		r = sandbox_reach(&d->sb, path, true);
	if (r == 0)
		r = stat_node(req, d, dir, &up);
	if (r < 0)
		return r;
	node = node_find(d, dir, name);
	have = node ? &node->base : NULL;
	if (node && content_local(node))
		return -EEXIST;
	r = head_path(req, d, path, &head, &err);
	free(head.link);
	if (r != -ENOENT)
		return r < 0 ? r : -EEXIST;
	*ret_st = (struct stat){
	    .st_uid = req->uid,
	    .st_gid = up.st_mode & S_ISGID ? up.st_gid : req->gid,
	    .st_nlink = 1,
	    .st_blksize = 4096,
	};
	/* A directory hands setgid on. */
	ret_st->st_mode = up.st_mode & S_ISGID;
	clock_gettime(CLOCK_REALTIME, &ret_st->st_mtim);
	ret_st->st_mtim.tv_nsec = 0;
	return 0;
}

/* The Engine refuses a link whose target, by its text, leads above the directory that is put to. */
static bool needs_root(const char *link)
{
	return link && link[0] != '/' && link_classify(link, strlen(link), 0) == LINK_OUTSIDE;
}

/* PUT one entry at PATH. */
static int put_entry(struct bk_req *req, struct docker *d, char *path, const struct stat *st,
		     const char *link)
{
	struct engine_put_entry e = {.st = *st, .link = link, .fd = -1};
	char *slash = needs_root(link) ? path : strrchr(path, '/');
	struct err err = {""};
	int r;

	e.path = slash + 1;
	*slash = '\0';
	r = engine_archive_put(req, d->sb.engine, d->sb.ref, *path ? path : "/", &e, 1, &err);
	*slash = '/';
	touched(d, path);
	if (r < 0 && r != -EINTR)
		sandbox_fail(&d->sb, r, "%s: not made: %s", path,
			     *err.text ? err.text : strerror(-r));
	return r;
}

/* The node of what was just made at PATH as ST. */
static int made(struct bk_req *req, struct docker *d, struct dnode *dir, const char *name,
		const char *path, const struct stat *st, const char *link,
		struct bk_node **ret_node, struct stat *ret_st)
{
	struct dnode *node;
	int r;

	touched(d, path);
	r = node_get(d, dir, name, st->st_mode & S_IFMT, &node);
	if (r < 0)
		return r;
	node_set_owner(d, node, st, link);
	r = stat_node(req, d, node, ret_st);
	if (r < 0)
		bk_node_unref(&node->base);
	else
		*ret_node = &node->base;
	return r;
}

int docker_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	struct docker *d = docker_of(dir);
	char path[PATH_MAX];
	struct stat st;
	int r = make_prepare(req, d, dnode_of(dir), name, path, &st);

	if (r < 0)
		return r;
	st.st_mode |= S_IFDIR | mode;
	r = put_entry(req, d, path, &st, NULL);
	return r < 0 ? r : made(req, d, dnode_of(dir), name, path, &st, NULL, ret_node, ret_st);
}

int docker_symlink(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
		   struct bk_node **ret_node, struct stat *ret_st)
{
	struct docker *d = docker_of(dir);
	char path[PATH_MAX];
	struct stat st;
	int r = make_prepare(req, d, dnode_of(dir), name, path, &st);

	if (r < 0)
		return r;
	st.st_mode = S_IFLNK | 0777;
	r = put_entry(req, d, path, &st, target);
	st.st_size = strlen(target);
	return r < 0 ? r : made(req, d, dnode_of(dir), name, path, &st, target, ret_node, ret_st);
}

/* FIFOs, sockets and devices: archives do not carry all of them. */
static int guest_mknod(struct bk_req *req, struct docker *d, const char *path,
		       const struct stat *st, dev_t rdev)
{
	char mode[16], dev[24], uid[16], gid[16];
	int r;

	snprintf(mode, sizeof(mode), "%o", st->st_mode);
	snprintf(dev, sizeof(dev), "%llu", (unsigned long long)rdev);
	snprintf(uid, sizeof(uid), "%u", st->st_uid);
	snprintf(gid, sizeof(gid), "%u", st->st_gid);
	r = sandbox_fs(req, &d->sb, (const char *[]){"mknod", mode, dev, path, NULL});
	if (r == 0 && (st->st_uid != 0 || st->st_gid != 0))
		r = sandbox_fs(req, &d->sb, (const char *[]){"chown", uid, gid, path, NULL});
	return r;
}

int docker_mknod(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	struct docker *d = docker_of(dir);
	char path[PATH_MAX];
	struct stat st;
	int r = make_prepare(req, d, dnode_of(dir), name, path, &st);

	if (r < 0)
		return r;
	st.st_mode = mode;
	st.st_rdev = S_ISCHR(mode) || S_ISBLK(mode) ? rdev : 0;
	r = S_ISREG(mode) ? put_entry(req, d, path, &st, NULL)
			  : guest_mknod(req, d, path, &st, rdev);
	if (r < 0)
		return r;
	if (!S_ISREG(mode)) /* its time is the container's */
		st.st_mtim.tv_sec = 0;
	return made(req, d, dnode_of(dir), name, path, &st, NULL, ret_node, ret_st);
}

int docker_link(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
		struct bk_node **ret_node, struct stat *ret_st)
{
	struct docker *d = docker_of(dir);
	char from[PATH_MAX], to[PATH_MAX];
	struct dnode *place;
	struct stat st;
	int r = make_prepare(req, d, dnode_of(dir), name, to, &st);

	if (r == 0)
		r = content_flush(req, d, dnode_of(node));
	if (r == 0)
		r = node_path(d, dnode_of(node), from);
	if (r == 0)
		r = sandbox_fs(req, &d->sb, (const char *[]){"link", from, to, NULL});
	if (r < 0)
		return r;
	touched(d, to);
	touched(d, from);
	r = node_get(d, dnode_of(dir), name, dnode_of(node)->type, &place);
	if (r < 0)
		return r;
	r = stat_node(req, d, place, ret_st);
	if (r < 0)
		bk_node_unref(&place->base);
	else
		*ret_node = &place->base;
	return r;
}

/* ---- Removing and moving ---- */

/* NODE's name goes: whoever has it open keeps its content. 1: it was only here, and is gone. */
static int before_removal(struct bk_req *req, struct docker *d, struct dnode *node)
{
	int r = gate_enter(req, &node->gate);

	if (r < 0)
		return r;
	if (atomic_load(&node->pending)) {
		node_gone(d, node);
		r = 1;
	} else {
		r = content_keep(req, d, node);
	}
	gate_leave(&node->gate);
	return r;
}

int docker_unlink(struct bk_req *req, struct bk_node *dir, const char *name)
{
	struct docker *d = docker_of(dir);
	_cleanup_(bk_node_unrefp) struct bk_node *ref = NULL;
	struct dnode *node = node_find(d, dnode_of(dir), name);
	char path[PATH_MAX];
	int r = child_path(d, dnode_of(dir), name, path);

	ref = node ? &node->base : NULL;
	if (r == 0)
		r = sandbox_reach(&d->sb, path, true);
	if (r == 0 && node && node->type == S_IFREG)
		r = before_removal(req, d, node);
	if (r != 0)
		return r < 0 ? r : 0;
	r = sandbox_fs(req, &d->sb, (const char *[]){"unlink", path, NULL});
	touched(d, path);
	if (r == 0 && node)
		node_gone(d, node);
	return r;
}

int docker_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	struct docker *d = docker_of(dir);
	_cleanup_(bk_node_unrefp) struct bk_node *ref = NULL, *busy = NULL;
	struct dnode *node = node_find(d, dnode_of(dir), name), *pending[1];
	char path[PATH_MAX];
	int r = child_path(d, dnode_of(dir), name, path);

	ref = node ? &node->base : NULL;
	if (r == 0)
		r = sandbox_reach(&d->sb, path, true);
	if (r < 0)
		return r;
	if (node && node_pending(d, node, pending, 1) > 0) {
		busy = &pending[0]->base;
		return -ENOTEMPTY;
	}
	r = sandbox_fs(req, &d->sb, (const char *[]){"rmdir", path, NULL});
	touched(d, path);
	if (r == 0 && node)
		node_gone(d, node);
	return r == -EEXIST ? -ENOTEMPTY : r;
}

/* What is at the new place: 0, or why it cannot be replaced. */
static int before_replacing(struct bk_req *req, struct docker *d, struct dnode *node,
			    unsigned flags)
{
	if (node->type != S_IFREG)
		return 0;
	if (atomic_load(&node->pending) && flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (flags & RENAME_EXCHANGE)
		return content_flush(req, d, node);
	return before_removal(req, d, node);
}

int docker_rename(struct bk_req *req, struct bk_node *dir, const char *name,
		  struct bk_node *new_dir, const char *new_name, unsigned flags)
{
	struct docker *d = docker_of(dir);
	_cleanup_(bk_node_unrefp) struct bk_node *from_ref = NULL, *to_ref = NULL;
	struct dnode *from = node_find(d, dnode_of(dir), name);
	struct dnode *to = node_find(d, dnode_of(new_dir), new_name);
	char old_path[PATH_MAX], new_path[PATH_MAX], text[16];
	int r = child_path(d, dnode_of(dir), name, old_path);

	from_ref = from ? &from->base : NULL;
	to_ref = to ? &to->base : NULL;
	if (from && from == to)
		return flags & RENAME_NOREPLACE ? -EEXIST : 0;
	if (r == 0)
		r = check_new_name(d, new_name);
	if (r == 0)
		r = child_path(d, dnode_of(new_dir), new_name, new_path);
	if (r == 0)
		r = sandbox_reach(&d->sb, old_path, true);
	if (r == 0)
		r = sandbox_reach(&d->sb, new_path, true);
	/* The guest can only move what is there. */
	if (r == 0 && from && from->type == S_IFREG)
		r = content_flush(req, d, from);
	if (r == 0 && to)
		r = before_replacing(req, d, to, flags);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%u", flags);
	r = sandbox_fs(req, &d->sb, (const char *[]){"rename", text, old_path, new_path, NULL});
	touched(d, old_path);
	touched(d, new_path);
	if (r == 0)
		node_moved(d, dnode_of(dir), name, dnode_of(new_dir), new_name,
			   flags & RENAME_EXCHANGE);
	return r;
}
