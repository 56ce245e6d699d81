/*
 * Names. What is refused is refused before the other backend is asked; a directory is moved only to
 * where the same rules hold below it, so that nothing in it gets another verdict.
 */
#include "ruled.h"

#include <string.h>

int ruled_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		 struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_verdict_ struct verdict v = {0};
	struct ruled *g = ruled_of(dir);
	struct bk_node *inner;
	int r = verdict_of(g, dir, name, &v);

	if (r == 0)
		r = bk_lookup(req, inner_of(dir), name, &inner, ret_st);
	return r < 0 ? r : ruled_node(g, inner, ret_st, &v, ret_node);
}

/* ---- Making ---- */

/* 0 with what is said of NAME, which may be made, removed, replaced; or why it may not. */
static int may_change(struct bk_node *dir, const char *name, struct verdict *ret)
{
	int r = verdict_of(ruled_of(dir), dir, name, ret);

	return r < 0 ? r : ret->errno_;
}

int ruled_mknod(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, dev_t rdev,
		struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_verdict_ struct verdict v = {0};
	struct bk_node *inner;
	int r = may_change(dir, name, &v);

	if (r == 0)
		r = bk_mknod(req, inner_of(dir), name, mode, rdev, &inner, ret_st);
	return r < 0 ? r : ruled_node(ruled_of(dir), inner, ret_st, &v, ret_node);
}

int ruled_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_verdict_ struct verdict v = {0};
	struct bk_node *inner;
	int r = may_change(dir, name, &v);

	if (r == 0)
		r = bk_mkdir(req, inner_of(dir), name, mode, &inner, ret_st);
	return r < 0 ? r : ruled_node(ruled_of(dir), inner, ret_st, &v, ret_node);
}

int ruled_symlink(struct bk_req *req, struct bk_node *dir, const char *name, const char *target,
		  struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_verdict_ struct verdict v = {0};
	struct bk_node *inner;
	int r = may_change(dir, name, &v);

	if (r == 0)
		r = bk_symlink(req, inner_of(dir), name, target, &inner, ret_st);
	return r < 0 ? r : ruled_node(ruled_of(dir), inner, ret_st, &v, ret_node);
}

int ruled_link(struct bk_req *req, struct bk_node *node, struct bk_node *dir, const char *name,
	       struct bk_node **ret_node, struct stat *ret_st)
{
	_cleanup_verdict_ struct verdict v = {0};
	struct bk_node *inner;
	int r = ruled_node_of(node)->verdict.errno_;

	if (r == 0)
		r = may_change(dir, name, &v);
	if (r == 0)
		r = bk_link(req, inner_of(node), inner_of(dir), name, &inner, ret_st);
	return r < 0 ? r : ruled_node(ruled_of(dir), inner, ret_st, &v, ret_node);
}

int ruled_create(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode, int flags,
		 struct bk_node **ret_node, struct bk_file **ret_file, struct stat *ret_st)
{
	_cleanup_(bk_node_unrefp) struct bk_node *node = NULL;
	_cleanup_verdict_ struct verdict v = {0};
	struct bk_file *file;
	struct bk_node *inner;
	int r = may_change(dir, name, &v);

	if (r == 0)
		r = bk_create(req, inner_of(dir), name, mode, flags, &inner, &file, ret_st);
	if (r < 0)
		return r;
	r = ruled_node(ruled_of(dir), inner, ret_st, &v, &node);
	if (r < 0) {
		bk_release(file);
		return r;
	}
	r = ruled_file(node, file, ret_file);
	if (r == 0)
		*ret_node = TAKE(node);
	return r;
}

/* ---- Removing and moving ---- */

int ruled_unlink(struct bk_req *req, struct bk_node *dir, const char *name)
{
	_cleanup_verdict_ struct verdict v = {0};
	int r = may_change(dir, name, &v);

	return r < 0 ? r : bk_unlink(req, inner_of(dir), name);
}

int ruled_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	_cleanup_verdict_ struct verdict v = {0};
	int r = may_change(dir, name, &v);

	return r < 0 ? r : bk_rmdir(req, inner_of(dir), name);
}

/* -EXDEV for a directory, at which mv(1) copies: what it may. */
static int not_directory(struct bk_req *req, struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;
	int r = bk_lookup(req, inner_of(dir), name, &node, &st);

	if (r < 0)
		return r;
	bk_node_unref(node);
	return S_ISDIR(st.st_mode) ? -EXDEV : 0;
}

static int move(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_node *new_dir,
		const char *new_name, unsigned flags, bool same)
{
	int r = same ? 0 : not_directory(req, dir, name);

	if (r == 0 && !same && flags & RENAME_EXCHANGE)
		r = not_directory(req, new_dir, new_name);
	return r < 0 ? r : bk_rename(req, inner_of(dir), name, inner_of(new_dir), new_name, flags);
}

int ruled_rename(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_node *new_dir,
		 const char *new_name, unsigned flags)
{
	_cleanup_verdict_ struct verdict from = {0}, to = {0};
	struct ruled *g = ruled_of(dir);
	int r = may_change(dir, name, &from);

	if (r == 0)
		r = may_change(new_dir, new_name, &to);
	if (r < 0)
		return r;
	/* What is looked at must be what is moved. */
	pthread_mutex_lock(&g->moving);
	r = move(req, dir, name, new_dir, new_name, flags, verdict_same(&from, &to));
	pthread_mutex_unlock(&g->moving);
	return r;
}

/* ---- Reading by name ---- */

int ruled_peek(struct bk_req *req, struct bk_node *dir, const char *name, struct bk_file **ret,
	       struct stat *ret_st)
{
	_cleanup_verdict_ struct verdict v = {0};
	struct bk_file *file;
	int r = verdict_of(ruled_of(dir), dir, name, &v);

	if (r == 0 && v.errno_ == -EACCES)
		r = -EACCES;
	if (r == 0)
		r = bk_peek(req, inner_of(dir), name, &file, ret_st);
	return r < 0 ? r : ruled_file(dir, file, ret);
}
