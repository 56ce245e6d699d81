/* Names: each is one request, whose answer, where there is one, is a node. */
#include "client.h"

/* Run a request of DIR's whose answer is a node and its attributes. What was made is what is at its
 * name now, of whatever type: another may have been quick. */
static int run_for_node(struct bk_req *req, struct bk_node *dir, enum remote_op op,
			struct remote_msg *m, struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote *r = REMOTE_OF(dir);
	uint64_t begun = remote_told_begin(dir);
	int e = remote_call_run(r, req, op, m, &a);

	if (e == 0)
		e = remote_told_end(dir, &a.msg.dir_st, begun);
	if (e == 0)
		e = remote_node_for(r, a.msg.node, &a.msg.st, 0, ret_node);
	if (e == 0)
		*ret_st = a.msg.st;
	return e;
}

int remote_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		  struct bk_node **ret_node, struct stat *ret_st)
{
	struct remote_msg m = {.node = NODE_OF(dir)->id, .name = name};

	if (remote_ahead(dir, name, ret_node, ret_st) == 0)
		return 0;
	return run_for_node(req, dir, REMOTE_LOOKUP, &m, ret_node, ret_st);
}

int remote_mknod(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	struct remote_msg m = {.node = NODE_OF(dir)->id, .name = name, .mode = mode, .rdev = rdev};

	return run_for_node(req, dir, REMOTE_MKNOD, &m, ret_node, ret_st);
}

int remote_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	struct remote_msg m = {.node = NODE_OF(dir)->id, .name = name, .mode = mode};

	return run_for_node(req, dir, REMOTE_MKDIR, &m, ret_node, ret_st);
}

int remote_symlink(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
		   struct bk_node **ret_node, struct stat *ret_st)
{
	struct remote_msg m = {.node = NODE_OF(dir)->id, .name = name, .text = target};

	return run_for_node(req, dir, REMOTE_SYMLINK, &m, ret_node, ret_st);
}

int remote_link(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
		struct bk_node **ret_node, struct stat *ret_st)
{
	struct remote_msg m = {.node = NODE_OF(node)->id, .node2 = NODE_OF(dir)->id, .name = name};

	return run_for_node(req, dir, REMOTE_LINK, &m, ret_node, ret_st);
}

static int remove_name(struct bk_req *req, struct bk_node *dir, enum remote_op op,
		       struct remote_msg *m)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	uint64_t begun = remote_told_begin(dir);
	int e = remote_call_run(REMOTE_OF(dir), req, op, m, &a);

	return e < 0 ? e : remote_told_end(dir, &a.msg.dir_st, begun);
}

int remote_unlink(struct bk_req *req, struct bk_node *dir, const char *name)
{
	struct remote_msg m = {.node = NODE_OF(dir)->id, .name = name};

	return remove_name(req, dir, REMOTE_UNLINK, &m);
}

int remote_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	struct remote_msg m = {.node = NODE_OF(dir)->id, .name = name};

	return remove_name(req, dir, REMOTE_RMDIR, &m);
}

int remote_rename(struct bk_req *req, struct bk_node *dir, const char *name,
		  struct bk_node *new_dir, const char *new_name, unsigned flags)
{
	struct remote_msg m = {
	    .node = NODE_OF(dir)->id,
	    .name = name,
	    .node2 = NODE_OF(new_dir)->id,
	    .name2 = new_name,
	    .flags = flags,
	};

	return remote_call_plain(REMOTE_OF(dir), req, REMOTE_RENAME, &m);
}
