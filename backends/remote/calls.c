/*
 * The requests, one function each: a call of the contract, and what it gave made into an answer.
 * Ids have been resolved and numbers checked when these run.
 */
#include "server.h"

#include <fcntl.h>
#include <limits.h>

/* What a call that found or made a node answers. */
static int answer_node(struct server_call *c, int r, struct bk_node *node)
{
	return r < 0 ? r : serve_node_id(c->s, node, &c->out.node);
}

static int answer_file(struct server_call *c, struct bk_file *file)
{
	return serve_file_id(c->s, &(struct server_file){.kind = SERVER_FILE, .file = file},
			     &c->out.file);
}

static struct bk_file *open_file(struct server_call *c)
{
	return c->file ? c->file->file : NULL;
}

/* ---- The first ---- */

static int call_hello(struct server_call *c)
{
	struct bk *bk = c->s->bk;
	struct bk_node *root = bk_root(bk);
	int r;

	c->out.magic = REMOTE_MAGIC;
	c->out.version = REMOTE_VERSION;
	c->out.flags = bk->ops->flush ? REMOTE_HAS_FLUSH : 0;
	if (c->s->passes_fds)
		c->out.flags |= REMOTE_CAN_PASS_FDS | (c->s->conf.exec ? REMOTE_CAN_EXEC : 0);
	if (c->s->searches)
		c->out.flags |= REMOTE_CAN_SEARCH;
	c->out.inflight = c->s->inflight;
	r = bk_getattr(&c->req, root, NULL, &c->out.st);
	if (r < 0)
		bk_node_unref(root);
	return answer_node(c, r, root);
}

/* ---- Names ---- */

/* What a change of a name in DIR answers: its attributes after it, where they are to be had. */
static int tell_dir(struct server_call *c, struct bk_node *dir, int r)
{
	if (r == 0 && bk_getattr(&c->req, dir, NULL, &c->out.dir_st) < 0)
		c->out.dir_st.st_mode = 0;
	return r;
}

static int call_lookup(struct server_call *c)
{
	struct bk_node *node = NULL;
	int r = bk_lookup(&c->req, c->node, c->in.name, &node, &c->out.st);

	return answer_node(c, r, node);
}

static int call_mknod(struct server_call *c)
{
	struct bk_node *node = NULL;
	int r = bk_mknod(&c->req, c->node, c->in.name, c->in.mode, c->in.rdev, &node, &c->out.st);

	return answer_node(c, tell_dir(c, c->node, r), node);
}

static int call_mkdir(struct server_call *c)
{
	struct bk_node *node = NULL;
	int r = bk_mkdir(&c->req, c->node, c->in.name, c->in.mode, &node, &c->out.st);

	return answer_node(c, tell_dir(c, c->node, r), node);
}

static int call_symlink(struct server_call *c)
{
	struct bk_node *node = NULL;
	int r = bk_symlink(&c->req, c->node, c->in.name, c->in.text, &node, &c->out.st);

	return answer_node(c, tell_dir(c, c->node, r), node);
}

static int call_link(struct server_call *c)
{
	struct bk_node *node = NULL;
	int r = bk_link(&c->req, c->node, c->node2, c->in.name, &node, &c->out.st);

	return answer_node(c, tell_dir(c, c->node2, r), node);
}

static int call_unlink(struct server_call *c)
{
	return tell_dir(c, c->node, bk_unlink(&c->req, c->node, c->in.name));
}

static int call_rmdir(struct server_call *c)
{
	return tell_dir(c, c->node, bk_rmdir(&c->req, c->node, c->in.name));
}

static int call_rename(struct server_call *c)
{
	return bk_rename(&c->req, c->node, c->in.name, c->node2, c->in.name2, c->in.flags);
}

/* ---- Attributes ---- */

static int call_getattr(struct server_call *c)
{
	return bk_getattr(&c->req, c->node, open_file(c), &c->out.st);
}

static int call_setattr(struct server_call *c)
{
	return bk_setattr(&c->req, c->node, open_file(c), &c->in.attr, &c->out.st);
}

static int call_readlink(struct server_call *c)
{
	char *buf = (char *)c->data;
	int r = bk_readlink(&c->req, c->node, buf);

	if (r < 0)
		return r;
	if (r >= PATH_MAX)
		return -ENAMETOOLONG;
	buf[r] = '\0';
	c->out.text = buf;
	return 0;
}

static int call_statfs(struct server_call *c)
{
	return bk_statfs(&c->req, c->node, &c->out.vfs);
}

static int answer_sized(struct server_call *c, ssize_t r)
{
	if (r < 0)
		return r;
	c->out.size = r;
	if (c->in.size > 0) {
		c->out.data = c->data;
		c->out.data_len = r;
	}
	return 0;
}

static uint32_t xattr_room(const struct server_call *c)
{
	return c->in.size < REMOTE_MAX_DATA ? c->in.size : REMOTE_MAX_DATA;
}

static int call_getxattr(struct server_call *c)
{
	return answer_sized(c, bk_getxattr(&c->req, c->node, c->in.text, c->data, xattr_room(c)));
}

static int call_listxattr(struct server_call *c)
{
	return answer_sized(c, bk_listxattr(&c->req, c->node, (char *)c->data, xattr_room(c)));
}

static int call_setxattr(struct server_call *c)
{
	return bk_setxattr(&c->req, c->node, c->in.text, c->in.data, c->in.data_len, c->in.flags);
}

static int call_removexattr(struct server_call *c)
{
	return bk_removexattr(&c->req, c->node, c->in.text);
}

/* ---- Files ---- */

/* What FILE's answer has beside it: a duplicate, since the client may release FILE as soon as it
 * has an id. Without room for one it goes without. */
static void answer_fd(struct server_call *c, struct bk_file *file)
{
	int fd = c->s->passes_fds ? bk_backing_fd(file) : -1;

	if (fd >= 0)
		c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (c->fd >= 0)
		c->out.flags |= REMOTE_HAS_FD;
}

static int call_open(struct server_call *c)
{
	struct bk_file *file;
	int r = bk_open(&c->req, c->node, c->in.flags, &file);

	if (r < 0)
		return r;
	answer_fd(c, file);
	return answer_file(c, file);
}

static int call_create(struct server_call *c)
{
	struct bk_node *node;
	struct bk_file *file;
	int r = bk_create(&c->req, c->node, c->in.name, c->in.mode, c->in.flags, &node, &file,
			  &c->out.st);

	if (tell_dir(c, c->node, r) < 0)
		return r;
	answer_fd(c, file);
	r = serve_node_id(c->s, node, &c->out.node);
	if (r < 0) {
		bk_release(file);
		return r;
	}
	r = answer_file(c, file);
	if (r < 0)
		(void)serve_forget(c->s, &(struct remote_forget){c->out.node, 1});
	return r;
}

static int call_read(struct server_call *c)
{
	size_t size = c->in.size < REMOTE_MAX_DATA ? c->in.size : REMOTE_MAX_DATA;
	ssize_t n = bk_read(&c->req, open_file(c), c->data, size, c->in.off);

	if (n < 0)
		return n;
	c->out.data = c->data;
	c->out.data_len = n;
	return 0;
}

static int call_write(struct server_call *c)
{
	ssize_t n = bk_write(&c->req, open_file(c), c->in.data, c->in.data_len, c->in.off);

	if (n < 0)
		return n;
	c->out.size = n;
	return 0;
}

static int call_flush(struct server_call *c)
{
	return bk_flush(&c->req, open_file(c));
}

static int call_fsync(struct server_call *c)
{
	return bk_fsync(&c->req, open_file(c), c->in.flags & REMOTE_DATASYNC);
}

static int call_lseek(struct server_call *c)
{
	off_t r = bk_lseek(&c->req, open_file(c), c->in.off, c->in.whence);

	if (r < 0)
		return r;
	c->out.off = r;
	return 0;
}

static int call_fallocate(struct server_call *c)
{
	return bk_fallocate(&c->req, open_file(c), c->in.mode, c->in.off, c->in.len);
}

/* ---- Directories ---- */

struct listing_answer {
	struct server_call *c;
	struct bk_node *dir;
	size_t len, room;
	bool with_nodes;
	bool full;
};

/* Look the entry up, or leave it without a node: it may have gone, or be one of the dots. */
static void add_node(struct server_call *c, struct bk_node *dir, struct remote_entry *e)
{
	struct bk_node *node;

	if (bk_lookup(&c->req, dir, e->name, &node, &e->st) == 0)
		(void)serve_node_id(c->s, node, &e->node);
}

static bool add_entry(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct listing_answer *l = ctx;
	struct remote_entry e = {.next = next, .ino = ino, .type = type, .name = name};
	size_t n;

	/* Asked first, since a node that was told of must reach the client. */
	l->full = l->room - l->len < REMOTE_ENTRY_MAX;
	if (l->full)
		return false;
	if (l->with_nodes)
		add_node(l->c, l->dir, &e);
	n = remote_put_entry(l->c->data + l->len, l->room - l->len, &e);
	l->len += n;
	l->full = n == 0;
	return n > 0;
}

static int list(struct server_call *c, struct bk_file *file, uint64_t cookie)
{
	struct listing_answer l = {
	    .c = c,
	    .dir = file->node,
	    .room = c->in.size < REMOTE_MAX_DATA ? c->in.size : REMOTE_MAX_DATA,
	    .with_nodes = c->in.flags & REMOTE_WITH_NODES,
	};
	int r;

	if (l.room < REMOTE_ENTRY_MAX)
		return -EINVAL;
	c->req.listing = true;
	r = bk_readdir(&c->req, file, cookie, add_entry, &l);
	if (r < 0 && l.len == 0)
		return r;
	c->out.data = c->data;
	c->out.data_len = l.len;
	c->out.flags = r == 0 && !l.full ? REMOTE_LAST : 0;
	return 0;
}

static int call_readdir(struct server_call *c)
{
	return list(c, open_file(c), c->in.cookie);
}

struct fitting {
	size_t room;
	bool fits;
};

static bool fit_entry(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct fitting *f = ctx;

	f->fits = f->room >= REMOTE_ENTRY_MAX;
	if (f->fits)
		f->room -= REMOTE_ENTRY_MAX;
	return f->fits;
}

/* Whether the answer has room for the whole listing. Nothing of it is looked up for that. */
static bool is_small(struct server_call *c, struct bk_file *file)
{
	struct fitting f = {.room = c->in.size, .fits = true};

	return f.room > 0 && bk_readdir(&c->req, file, 0, fit_entry, &f) == 0 && f.fits;
}

static void forget_listed(struct server_call *c)
{
	struct remote_entry e;
	size_t pos = 0;

	while (remote_get_entry(c->out.data, c->out.data_len, &pos, &e) > 0)
		if (e.node)
			(void)serve_forget(c->s, &(struct remote_forget){e.node, 1});
}

static int call_opendir(struct server_call *c)
{
	struct bk_file *file;
	int r = bk_opendir(&c->req, c->node, &file);

	if (r < 0)
		return r;
	/* Who asks for the listing itself is told what is wrong with it. */
	if (is_small(c, file))
		(void)list(c, file, 0);
	r = serve_file_id(c->s, &(struct server_file){.kind = SERVER_DIR, .file = file},
			  &c->out.dir);
	if (r < 0)
		forget_listed(c);
	return r;
}

static int call_fsyncdir(struct server_call *c)
{
	return bk_fsyncdir(&c->req, open_file(c), c->in.flags & REMOTE_DATASYNC);
}

static int (*const calls[REMOTE_N_OPS])(struct server_call *) = {
    [REMOTE_HELLO] = call_hello,
    [REMOTE_LOOKUP] = call_lookup,
    [REMOTE_MKNOD] = call_mknod,
    [REMOTE_MKDIR] = call_mkdir,
    [REMOTE_SYMLINK] = call_symlink,
    [REMOTE_LINK] = call_link,
    [REMOTE_UNLINK] = call_unlink,
    [REMOTE_RMDIR] = call_rmdir,
    [REMOTE_RENAME] = call_rename,
    [REMOTE_GETATTR] = call_getattr,
    [REMOTE_SETATTR] = call_setattr,
    [REMOTE_READLINK] = call_readlink,
    [REMOTE_STATFS] = call_statfs,
    [REMOTE_GETXATTR] = call_getxattr,
    [REMOTE_LISTXATTR] = call_listxattr,
    [REMOTE_SETXATTR] = call_setxattr,
    [REMOTE_REMOVEXATTR] = call_removexattr,
    [REMOTE_OPEN] = call_open,
    [REMOTE_CREATE] = call_create,
    [REMOTE_READ] = call_read,
    [REMOTE_WRITE] = call_write,
    [REMOTE_FLUSH] = call_flush,
    [REMOTE_FSYNC] = call_fsync,
    [REMOTE_LSEEK] = call_lseek,
    [REMOTE_FALLOCATE] = call_fallocate,
    [REMOTE_OPENDIR] = call_opendir,
    [REMOTE_READDIR] = call_readdir,
    [REMOTE_FSYNCDIR] = call_fsyncdir,
    [REMOTE_EXEC] = serve_exec,
    [REMOTE_SEARCH] = serve_search,
    [REMOTE_RESULTS] = serve_results,
};

int serve_run(struct server_call *c)
{
	return calls[c->head.op](c);
}
