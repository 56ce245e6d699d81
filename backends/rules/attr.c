/* Attributes: whoever may see the name may see them, but for what is content. */
#include "ruled.h"

#include <string.h>

static int verdict(struct bk_node *node)
{
	return ruled_node_of(node)->verdict.errno_;
}

int ruled_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		  struct stat *ret_st)
{
	return bk_getattr(req, inner_of(node), inner_file(file), ret_st);
}

int ruled_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
		  const struct bk_setattr *attr, struct stat *ret_st)
{
	int r = verdict(node);

	return r < 0 ? r : bk_setattr(req, inner_of(node), inner_file(file), attr, ret_st);
}

int ruled_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	return verdict(node) == -EACCES ? -EACCES : bk_readlink(req, inner_of(node), buf);
}

int ruled_statfs(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	return bk_statfs(req, inner_of(node), ret);
}

/* ls -l and the kernel ask for those that are permissions and labels; what users keep there is
 * content. */
static bool is_content(const char *name)
{
	return strncmp(name, "system.", 7) != 0 && strncmp(name, "security.", 9) != 0;
}

ssize_t ruled_getxattr(struct bk_req *req, struct bk_node *node, const char *name, void *value,
		       size_t size)
{
	if (verdict(node) == -EACCES && is_content(name))
		return -EACCES;
	return bk_getxattr(req, inner_of(node), name, value, size);
}

ssize_t ruled_listxattr(struct bk_req *req, struct bk_node *node, char *list, size_t size)
{
	return bk_listxattr(req, inner_of(node), list, size);
}

int ruled_setxattr(struct bk_req *req, struct bk_node *node, const char *name, const void *value,
		   size_t size, int flags)
{
	int r = verdict(node);

	return r < 0 ? r : bk_setxattr(req, inner_of(node), name, value, size, flags);
}

int ruled_removexattr(struct bk_req *req, struct bk_node *node, const char *name)
{
	int r = verdict(node);

	return r < 0 ? r : bk_removexattr(req, inner_of(node), name);
}
