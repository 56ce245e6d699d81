/*
 * The table of operations: each goes over the guest where there is a connection, else by archives.
 *
 * There a node is a place, and what an operation wants of the engine it asks for by path: so each
 * holds the gate of names while it runs, together with others, and what makes, moves or removes a
 * name holds it alone. Otherwise a file could be fetched from, or put at, a path that has become
 * another file's meanwhile.
 */
#include "live.h"

#include <fcntl.h>

/* ---- One operation's turn ---- */

struct turn {
	struct bk_req *req;
	struct docker *d;
	int (*enter)(struct bk_req *req, struct gate *g); /* the gate of names */
	bool repeats; /* it changes nothing: asked again where the connection ends in it */
	struct channel *channel; /* over it; NULL: by archives, with the gate held */
	bool running;
	ssize_t r;
};

static int hold(struct turn *t)
{
	int r;

	while ((r = t->enter(t->req, &t->d->names)) == -ETIMEDOUT && docker_progresses(t->d))
		bk_req_extend(t->req, t->d->conf.timeout);
	return r;
}

/* What the operation has to run by is set; or its result is. */
static bool begin(struct turn *t)
{
	for (;;) {
		t->r = transport_get(t->req, t->d, &t->channel);
		if (t->r < 0)
			return false;
		if (t->channel)
			return true;
		t->r = hold(t);
		if (t->r < 0)
			return false;
		if (!transport_is_live(t->d))
			return true;
		gate_leave(&t->d->names); /* it came while we waited */
	}
}

/* Whether the operation has to run (again). */
static bool turn(struct turn *t)
{
	bool again = false;

	if (t->running)
		idmap_req(&t->d->idmap, t->req);
	if (t->running && t->channel) {
		again = t->repeats && t->r == -EIO && channel_is_over(t->channel);
		channel_unref(TAKE(t->channel));
		t->repeats = false;
	} else if (t->running) {
		gate_leave(&t->d->names);
	}
	if (t->running && !again)
		return false;
	t->running = begin(t);
	if (t->running)
		idmap_req(&t->d->idmap, t->req);
	return t->running;
}

/* What is no file's errno, but an engine's that does not answer or a container's that does not run:
 * the text of it is the sandbox's `error`. */
static ssize_t of_file(ssize_t r)
{
	switch (-r) {
	case EALREADY:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENOTCONN:
	case EPIPE:
	case EPROTO:
		return -EIO;
	default:
		return r;
	}
}

/* The value of LIVE with the connection `c`, or of ARCHIVE. */
#define BY(enter_gate, repeat, req_, node, live, archive)                                          \
	({                                                                                         \
		struct turn t_ = {.req = (req_),                                                   \
				  .d = docker_of(node),                                            \
				  .enter = (enter_gate),                                           \
				  .repeats = (repeat)};                                            \
		while (turn(&t_)) {                                                                \
			_unused_ struct channel *c = t_.channel;                                   \
			t_.r = c ? (live) : (archive);                                             \
		}                                                                                  \
		of_file(t_.r);                                                                     \
	})
#define LOOK(req, node, live, archive) BY(gate_share, true, req, node, live, archive)
#define CHANGE(req, node, live, archive) BY(gate_share, false, req, node, live, archive)
#define RENAME(req, node, live, archive) BY(gate_enter, false, req, node, live, archive)

/* The value of ARCHIVE, for a file that is served so although there may be a channel. */
#define HELD(req_, node, archive)                                                                  \
	({                                                                                         \
		struct turn h_ = {.req = (req_), .d = docker_of(node), .enter = gate_share};       \
		h_.r = hold(&h_);                                                                  \
		if (h_.r == 0) {                                                                   \
			h_.r = (archive);                                                          \
			gate_leave(&h_.d->names);                                                  \
		}                                                                                  \
		h_.r;                                                                              \
	})

/* The result R of an operation that told of ST, which becomes what the mount shows. */
static int shown(struct bk_node *node, int r, struct stat *st)
{
	if (r == 0)
		idmap_stat(&docker_of(node)->idmap, st);
	return r;
}

/* ---- Names ---- */

static int lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		  struct bk_node **ret_node, struct stat *ret_st)
{
	return shown(dir,
		     LOOK(req, dir, live_lookup(req, c, dir, name, ret_node, ret_st),
			  docker_lookup(req, dir, name, ret_node, ret_st)),
		     ret_st);
}

static int mknod_(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		  dev_t rdev, struct bk_node **ret_node, struct stat *ret_st)
{
	return shown(dir,
		     RENAME(req, dir, live_mknod(req, c, dir, name, mode, rdev, ret_node, ret_st),
			    docker_mknod(req, dir, name, mode, rdev, ret_node, ret_st)),
		     ret_st);
}

static int mkdir_(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		  struct bk_node **ret_node, struct stat *ret_st)
{
	return shown(dir,
		     RENAME(req, dir, live_mkdir(req, c, dir, name, mode, ret_node, ret_st),
			    docker_mkdir(req, dir, name, mode, ret_node, ret_st)),
		     ret_st);
}

static int symlink_(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
		    struct bk_node **ret_node, struct stat *ret_st)
{
	return shown(dir,
		     RENAME(req, dir, live_symlink(req, c, dir, name, target, ret_node, ret_st),
			    docker_symlink(req, dir, name, target, ret_node, ret_st)),
		     ret_st);
}

static int link_(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	return shown(dir,
		     RENAME(req, dir, live_link(req, c, node, dir, name, ret_node, ret_st),
			    docker_link(req, node, dir, name, ret_node, ret_st)),
		     ret_st);
}

static int unlink_(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return RENAME(req, dir, live_unlink(req, c, dir, name), docker_unlink(req, dir, name));
}

static int rmdir_(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return RENAME(req, dir, live_rmdir(req, c, dir, name), docker_rmdir(req, dir, name));
}

static int rename_(struct bk_req *req, struct bk_node *dir, const char *name,
		   struct bk_node *new_dir, const char *new_name, unsigned flags)
{
	return RENAME(req, dir, live_rename(req, c, dir, name, new_dir, new_name, flags),
		      docker_rename(req, dir, name, new_dir, new_name, flags));
}

/* ---- Attributes ---- */

/* Of an open file that archives serve still: what is left of it is not with the guest. */
static bool is_ours(struct bk_node *node, struct bk_file *file)
{
	return !(file && file_is_live(file)) && content_only_here(docker_of(node), dnode_of(node));
}

static int getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		   struct stat *ret_st)
{
	return shown(node,
		     LOOK(req, node,
			  is_ours(node, file)
			      ? HELD(req, node, docker_getattr(req, node, file, ret_st))
			      : live_getattr(req, c, node, file, ret_st),
			  docker_getattr(req, node, file, ret_st)),
		     ret_st);
}

static int setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		   const struct bk_setattr *attr, struct stat *ret_st)
{
	const struct idmap *m = &docker_of(node)->idmap;
	struct bk_setattr a = *attr;

	a.uid = idmap_uid(m, a.uid);
	a.gid = idmap_gid(m, a.gid);
	return shown(node,
		     CHANGE(req, node,
			    is_ours(node, file)
				? HELD(req, node, docker_setattr(req, node, file, &a, ret_st))
				: live_setattr(req, c, node, file, &a, ret_st),
			    docker_setattr(req, node, file, &a, ret_st)),
		     ret_st);
}

static int readlink_(struct bk_req *req, struct bk_node *node, char *buf)
{
	return LOOK(req, node, live_readlink(req, c, node, buf), docker_readlink(req, node, buf));
}

static int statfs_(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	return LOOK(req, node, live_statfs(req, c, node, ret), docker_statfs(req, node, ret));
}

static ssize_t getxattr_(struct bk_req *req, struct bk_node *node, const char *name, void *value,
			 size_t size)
{
	return LOOK(req, node, live_getxattr(req, c, node, name, value, size), -EOPNOTSUPP);
}

static ssize_t listxattr_(struct bk_req *req, struct bk_node *node, char *list, size_t size)
{
	return LOOK(req, node, live_listxattr(req, c, node, list, size), -EOPNOTSUPP);
}

static int setxattr_(struct bk_req *req, struct bk_node *node, const char *name, const void *value,
		     size_t size, int flags)
{
	return CHANGE(req, node, live_setxattr(req, c, node, name, value, size, flags),
		      -EOPNOTSUPP);
}

static int removexattr_(struct bk_req *req, struct bk_node *node, const char *name)
{
	return CHANGE(req, node, live_removexattr(req, c, node, name), -EOPNOTSUPP);
}

/* ---- Files: one that is live stays with its connection ---- */

static int open_(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	bool repeat = !(flags & O_TRUNC);

	return BY(gate_share, repeat, req, node, live_open(req, c, node, flags, ret),
		  docker_open(req, node, flags, ret));
}

static int create(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, int flags,
		  struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	return shown(dir,
		     RENAME(req, dir,
			    live_create(req, c, dir, name, mode, flags, ret_node, ret_file, ret_st),
			    docker_create(req, dir, name, mode, flags, ret_node, ret_file, ret_st)),
		     ret_st);
}

/* F was opened over archives: of the guest from now on, if there is one and it can be. */
static int upgrade(struct bk_req *req, struct bk_file *f)
{
	return file_is_live(f) ? 0 : LOOK(req, f->node, live_upgrade(req, c, f), 0);
}

/* The value of LIVE with the open file `inner`, or of ARCHIVE. */
#define FILE_BY(req, f, live, archive)                                                             \
	({                                                                                         \
		ssize_t r_ = upgrade(req, f);                                                      \
		if (r_ == 0 && file_is_live(f)) {                                                  \
			struct bk_file *inner = dfile_of(f)->inner;                                \
			r_ = (live);                                                               \
		} else if (r_ == 0) {                                                              \
			r_ = HELD(req, (f)->node, archive);                                        \
		}                                                                                  \
		of_file(r_);                                                                       \
	})

static ssize_t read_(struct bk_req *req, struct bk_file *f, void *data, size_t size, off_t off)
{
	return FILE_BY(req, f, bk_read(req, inner, data, size, off),
		       docker_read(req, f, data, size, off));
}

static ssize_t write_(struct bk_req *req, struct bk_file *f, const void *data, size_t size,
		      off_t off)
{
	return FILE_BY(req, f, bk_write(req, inner, data, size, off),
		       docker_write(req, f, data, size, off));
}

static int flush(struct bk_req *req, struct bk_file *f)
{
	if ((f->flags & O_ACCMODE) == O_RDONLY && !(f->flags & O_TRUNC))
		return 0;
	return FILE_BY(req, f, bk_flush(req, inner), docker_flush(req, f));
}

static int fsync_(struct bk_req *req, struct bk_file *f, bool datasync)
{
	return FILE_BY(req, f, bk_fsync(req, inner, datasync), docker_fsync(req, f, datasync));
}

static off_t lseek_(struct bk_req *req, struct bk_file *f, off_t off, int whence)
{
	return FILE_BY(req, f, bk_lseek(req, inner, off, whence),
		       bk_seek_all_data(req, f, off, whence));
}

static int fallocate_(struct bk_req *req, struct bk_file *f, int mode, off_t off, off_t len)
{
	return FILE_BY(req, f, bk_fallocate(req, inner, mode, off, len), -EOPNOTSUPP);
}

static int backing_fd(struct bk_file *f)
{
	return file_is_live(f) ? bk_backing_fd(dfile_of(f)->inner) : -EOPNOTSUPP;
}

/* Without a limit: everyone who is in the gate has one. */
static void release(struct bk_file *f)
{
	struct docker *d = docker_of(f->node);

	if (file_is_live(f)) {
		live_release(f);
		return;
	}
	gate_share(NULL, &d->names);
	docker_release(f);
	gate_leave(&d->names);
}

/* ---- Directories ---- */

static bool lists_as_empty(struct bk_node *node)
{
	char path[PATH_MAX];

	return node_path(docker_of(node), dnode_of(node), path) == 0 &&
	       dir_is_pseudo(docker_of(node), path);
}

static int opendir_(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	if (lists_as_empty(node))
		return docker_opendir(req, node, ret);
	return LOOK(req, node, live_opendir(req, c, node, ret), docker_opendir(req, node, ret));
}

static int readdir_(struct bk_req *req, struct bk_file *f, uint64_t cookie, bk_fill_fn fill,
		    void *ctx)
{
	if (file_is_live(f))
		return live_readdir(req, f, cookie, fill, ctx);
	return FILE_BY(req, f, bk_readdir(req, inner, cookie, fill, ctx),
		       docker_readdir(req, f, cookie, fill, ctx));
}

static int search(struct bk_req *req, struct bk_node *dir, const struct bk_search *what,
		  struct bk_results **ret)
{
	return LOOK(req, dir, live_search(req, c, dir, what, ret), -EOPNOTSUPP);
}

static int fsyncdir_(struct bk_req *req, struct bk_file *f, bool datasync)
{
	return file_is_live(f) ? bk_fsyncdir(req, dfile_of(f)->inner, datasync) : 0;
}

#define OPS(name)                                                                                  \
	.type = name, .prepare = docker_prepare, .destroy = docker_destroy, .root = docker_root,   \
	.node_free = docker_node_free, .lookup = lookup, .mknod = mknod_, .mkdir = mkdir_,         \
	.symlink = symlink_, .link = link_, .unlink = unlink_, .rmdir = rmdir_, .rename = rename_, \
	.getattr = getattr, .setattr = setattr, .readlink = readlink_, .statfs = statfs_,          \
	.getxattr = getxattr_, .listxattr = listxattr_, .setxattr = setxattr_,                     \
	.removexattr = removexattr_, .open = open_, .create = create, .read = read_,               \
	.write = write_, .flush = flush, .fsync = fsync_, .release = release, .lseek = lseek_,     \
	.fallocate = fallocate_, .backing_fd = backing_fd, .opendir = opendir_,                    \
	.readdir = readdir_, .fsyncdir = fsyncdir_, .search = search,                              \
	.sandbox = &docker_sandbox_ops

const struct bk_ops docker_ops = {OPS("docker")};
const struct bk_ops container_ops = {OPS("container")};
