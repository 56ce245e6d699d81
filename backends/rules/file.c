/* Open files and directories: the rules are asked at open, the rest is the other backend's. */
#include "ruled.h"

int ruled_file(struct bk_node *node, struct bk_file *inner, struct bk_file **ret)
{
	struct ruled_file *f = malloc(sizeof(*f));

	if (!f) {
		bk_release(inner);
		return -ENOMEM;
	}
	*f = (struct ruled_file){
	    .file = {.node = bk_node_ref(node),
		     .flags = inner->flags,
		     .direct_io = inner->direct_io,
		     .no_flush = inner->no_flush},
	    .inner = inner,
	};
	*ret = &f->file;
	return 0;
}

int ruled_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	struct bk_file *file;
	int r = ruled_node_of(node)->verdict.errno_;

	if (r == -EROFS && !bk_writes(flags))
		r = 0;
	if (r == 0)
		r = bk_open(req, inner_of(node), flags, &file);
	return r < 0 ? r : ruled_file(node, file, ret);
}

ssize_t ruled_read(struct bk_req *req, struct bk_file *file, void *data, size_t size, off_t off)
{
	return bk_read(req, inner_file(file), data, size, off);
}

ssize_t ruled_write(struct bk_req *req, struct bk_file *file, const void *data, size_t size,
		    off_t off)
{
	return bk_write(req, inner_file(file), data, size, off);
}

int ruled_flush(struct bk_req *req, struct bk_file *file)
{
	return bk_flush(req, inner_file(file));
}

int ruled_fsync(struct bk_req *req, struct bk_file *file, bool datasync)
{
	return bk_fsync(req, inner_file(file), datasync);
}

void ruled_release(struct bk_file *file)
{
	bk_release(inner_file(file));
	bk_node_unref(file->node);
	free(container_of(file, struct ruled_file, file));
}

off_t ruled_lseek(struct bk_req *req, struct bk_file *file, off_t off, int whence)
{
	return bk_lseek(req, inner_file(file), off, whence);
}

int ruled_fallocate(struct bk_req *req, struct bk_file *file, int mode, off_t off, off_t len)
{
	return bk_fallocate(req, inner_file(file), mode, off, len);
}

int ruled_backing_fd(struct bk_file *file)
{
	return bk_backing_fd(inner_file(file));
}

/* ---- Directories ---- */

int ruled_opendir(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	struct bk_file *file;
	int r = ruled_node_of(node)->verdict.errno_ == -EACCES ? -EACCES : 0;

	if (r == 0)
		r = bk_opendir(req, inner_of(node), &file);
	return r < 0 ? r : ruled_file(node, file, ret);
}

int ruled_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
		  void *ctx)
{
	return bk_readdir(req, inner_file(file), cookie, fill, ctx);
}

int ruled_fsyncdir(struct bk_req *req, struct bk_file *file, bool datasync)
{
	return bk_fsyncdir(req, inner_file(file), datasync);
}
