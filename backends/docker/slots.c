/*
 * The table of operations. A node is a place here, and what an operation wants of the engine it
 * asks for by path: so each holds the gate of names while it runs, together with others, and what
 * makes, moves or removes a name holds it alone. Otherwise a file could be fetched from, or put at,
 * a path that has become another file's meanwhile.
 */
#include "docker.h"

static int hold(struct bk_req *req, struct docker *d,
		int (*enter)(struct bk_req *req, struct gate *g))
{
	int r;

	while ((r = enter(req, &d->names)) == -ETIMEDOUT && docker_progresses(d))
		bk_req_extend(req, d->conf.timeout);
	return r;
}

/* The value of CALL, made while the gate of NODE's backend is held, or why it cannot be. */
#define HOLDING(enter, req, node, call)                                                            \
	({                                                                                         \
		struct docker *d_ = docker_of(node);                                               \
		ssize_t r_ = hold(req, d_, enter);                                                 \
		if (r_ == 0) {                                                                     \
			r_ = (call);                                                               \
			gate_leave(&d_->names);                                                    \
		}                                                                                  \
		r_;                                                                                \
	})
#define SHARED(req, node, call) HOLDING(gate_share, req, node, call)
#define ALONE(req, node, call) HOLDING(gate_enter, req, node, call)

static int lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		  struct bk_node **ret_node, struct stat *ret_st)
{
	return SHARED(req, dir, docker_lookup(req, dir, name, ret_node, ret_st));
}

static int mknod_(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		  dev_t rdev, struct bk_node **ret_node, struct stat *ret_st)
{
	return ALONE(req, dir, docker_mknod(req, dir, name, mode, rdev, ret_node, ret_st));
}

static int mkdir_(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		  struct bk_node **ret_node, struct stat *ret_st)
{
	return ALONE(req, dir, docker_mkdir(req, dir, name, mode, ret_node, ret_st));
}

static int symlink_(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
		    struct bk_node **ret_node, struct stat *ret_st)
{
	return ALONE(req, dir, docker_symlink(req, dir, name, target, ret_node, ret_st));
}

static int link_(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	return ALONE(req, dir, docker_link(req, node, dir, name, ret_node, ret_st));
}

static int unlink_(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return ALONE(req, dir, docker_unlink(req, dir, name));
}

static int rmdir_(struct bk_req *req, struct bk_node *dir, const char *name)
{
	return ALONE(req, dir, docker_rmdir(req, dir, name));
}

static int rename_(struct bk_req *req, struct bk_node *dir, const char *name,
		   struct bk_node *new_dir, const char *new_name, unsigned flags)
{
	return ALONE(req, dir, docker_rename(req, dir, name, new_dir, new_name, flags));
}

static int getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		   struct stat *ret_st)
{
	return SHARED(req, node, docker_getattr(req, node, file, ret_st));
}

static int setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		   const struct bk_setattr *attr, struct stat *ret_st)
{
	return SHARED(req, node, docker_setattr(req, node, file, attr, ret_st));
}

static int readlink_(struct bk_req *req, struct bk_node *node, char *buf)
{
	return SHARED(req, node, docker_readlink(req, node, buf));
}

static int open_(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	return SHARED(req, node, docker_open(req, node, flags, ret));
}

static int create(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, int flags,
		  struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	return ALONE(req, dir,
		     docker_create(req, dir, name, mode, flags, ret_node, ret_file, ret_st));
}

static ssize_t read_(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	return SHARED(req, file->node, docker_read(req, file, data, size, off));
}

static ssize_t write_(struct bk_req *req, struct bk_file *file, const void *data, size_t size,
		      off_t off)
{
	return SHARED(req, file->node, docker_write(req, file, data, size, off));
}

static int flush(struct bk_req *req, struct bk_file *file)
{
	return SHARED(req, file->node, docker_flush(req, file));
}

static int fsync_(struct bk_req *req, struct bk_file *file, bool datasync)
{
	return SHARED(req, file->node, docker_fsync(req, file, datasync));
}

/* Without a limit: everyone who is in the gate has one. */
static void release(struct bk_file *file)
{
	struct docker *d = docker_of(file->node);

	gate_share(NULL, &d->names);
	docker_release(file);
	gate_leave(&d->names);
}

static int readdir_(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
		    void *ctx)
{
	return SHARED(req, file->node, docker_readdir(req, file, cookie, fill, ctx));
}

#define OPS(name)                                                                                  \
	.type = name, .prepare = docker_prepare, .destroy = docker_destroy, .root = docker_root,   \
	.node_free = docker_node_free, .lookup = lookup, .mknod = mknod_, .mkdir = mkdir_,         \
	.symlink = symlink_, .link = link_, .unlink = unlink_, .rmdir = rmdir_, .rename = rename_, \
	.getattr = getattr, .setattr = setattr, .readlink = readlink_, .open = open_,              \
	.create = create, .read = read_, .write = write_, .flush = flush, .fsync = fsync_,         \
	.release = release, .opendir = docker_opendir, .readdir = readdir_,                        \
	.statfs = docker_statfs, .sandbox = &docker_sandbox_ops

const struct bk_ops docker_ops = {OPS("docker")};
const struct bk_ops container_ops = {OPS("container")};
