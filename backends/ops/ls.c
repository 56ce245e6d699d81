/* ls: the entries of a directory, directories first, or one file. */
#include "internal.h"

#include <dirent.h>
#include <string.h>

struct line {
	const char *name;
	struct stat own, st;
};

static int directories_first(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	bool p = S_ISDIR(x->st.st_mode), q = S_ISDIR(y->st.st_mode);

	return p != q ? q - p : strcmp(x->name, y->name);
}

/* What every name is. A name that is gone is left out. *RET_ERROR: of the first that cannot be
 * looked at. */
static int look_at_all(struct ops *o, struct ops_place *dir, const struct ops_list *list,
		       struct line *lines, size_t *ret_n, int *ret_error)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < list->n && r == 0; i++) {
		struct line *l = &lines[n];
		int looked;

		r = ops_step(&o->req);
		looked =
		    r < 0 ? r : ops_look(o, &o->req, dir, list->entries[i].name, &l->own, &l->st);
		l->name = list->entries[i].name;
		if (looked == -EINTR || looked == -ETIMEDOUT)
			r = looked;
		else if (looked == 0)
			n++;
		else if (looked != -ENOENT && *ret_error == 0)
			*ret_error = looked;
	}
	*ret_n = n;
	return r;
}

static int put_lines(struct ops *o, const struct line *lines, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		_cleanup_buf_ struct buf path = BUF_INIT(OPS_MAX_PATH);

		r = ops_join(&path, o->args.path, lines[i].name, strlen(lines[i].name));
		if (r == 0)
			r = ops_put_entry(o, i == 0, path.data, lines[i].name, &lines[i].own,
					  &lines[i].st);
	}
	return r;
}

static int put_directory(struct ops *o, struct ops_place *dir, int *ret_error)
{
	_cleanup_free_ struct line *lines = NULL;
	struct ops_list list;
	size_t n = 0;
	int r = ops_list(o, &o->req, dir, &list);

	if (r < 0)
		return r;
	lines = calloc(list.n + 1, sizeof(*lines));
	r = lines ? look_at_all(o, dir, &list, lines, &n, ret_error) : -ENOMEM;
	if (r == 0 && o->args.json)
		r = ops_puts(o, "{\"entries\": [");
	if (r == 0) {
		qsort(lines, n, sizeof(*lines), directories_first);
		r = put_lines(o, lines, n);
	}
	ops_list_done(&list);
	return r;
}

static int put_file(struct ops *o, const struct ops_found *f)
{
	int r = o->args.json ? ops_puts(o, "{\"entries\": [") : 0;

	return r < 0 ? r : ops_put_entry(o, true, o->args.path, f->name, &f->st, &f->st);
}

static int end_json(struct ops *o, int error)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);

	(void)buf_adds(&out, "], \"error\": ");
	if (error < 0)
		(void)ops_json_string(&out, strerror(-error), strlen(strerror(-error)));
	else
		(void)buf_adds(&out, "null");
	(void)buf_adds(&out, "}\n");
	return ops_put(o, out.data, out.len);
}

int ops_ls(struct ops *o)
{
	_cleanup_found_ struct ops_found f = {0};
	int r = ops_resolve_arg(o, false, &f), error = 0;

	if (r == -ENOENT || r == -ENOTDIR || (r == 0 && !f.node))
		return ops_fail(o, "Error: Path '%s' not found", o->args.path);
	if (r == 0)
		r = f.self ? put_directory(o, f.self, &error) : put_file(o, &f);
	if (r < 0)
		return ops_fail_errno(o, r);
	if (o->args.json)
		return end_json(o, error) < 0 || error < 0;
	return error < 0 ? ops_fail_errno(o, error) : 0;
}
