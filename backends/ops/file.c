/* Opening files for the operations. */
#include "internal.h"

#include <fcntl.h>

int ops_open(struct ops *o, struct ops_req *req, struct bk_node *node, const struct stat *st,
	     struct bk_file **ret)
{
	int r;

	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	/* A FIFO would wait, and a device is not the caller's to open by way of the daemon. */
	if (!S_ISREG(st->st_mode))
		return -ENXIO;
	r = ops_may(o, st, R_OK);
	return r < 0 ? r : bk_open(&req->req, node, O_RDONLY, ret);
}
