/* One entry of a listing: what it is, and how it looks. */
#include "internal.h"

#include <string.h>

static void mode_text(mode_t mode, char ret[11])
{
	static const char types[] = "?pc?d?b?-?l?s???";

	snprintf(ret, 11, "%crwxrwxrwx", types[(mode & S_IFMT) >> 12]);
	for (int i = 0; i < 9; i++)
		if (!(mode & (0400 >> i)))
			ret[1 + i] = '-';
	if (mode & S_ISUID)
		ret[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		ret[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		ret[9] = mode & S_IXOTH ? 't' : 'T';
}

static int add_json(struct buf *out, const char *path, const char *name, const char *mode,
		    const char *when, const struct stat *st)
{
	int r = buf_adds(out, "{\"name\": ");

	if (r == 0)
		r = ops_json_string(out, name, strlen(name));
	if (r == 0)
		r = buf_adds(out, ", \"path\": ");
	if (r == 0)
		r = ops_json_string(out, path, strlen(path));
	if (r == 0 && S_ISDIR(st->st_mode))
		r = buf_adds(out, ", \"is_dir\": true, \"size\": null");
	else if (r == 0)
		r = buf_addf(out, ", \"is_dir\": false, \"size\": %lld", (long long)st->st_size);
	return r < 0 ? r
		     : buf_addf(out, ", \"modified_at\": \"%s\", \"mode\": \"%s\"}", when, mode);
}

int ops_put_entry(struct ops *o, bool first, const char *path, const char *name,
		  const struct stat *own, const struct stat *st)
{
	_cleanup_buf_ struct buf out = BUF_INIT(8 * OPS_MAX_PATH);
	bool dir = S_ISDIR(st->st_mode);
	char mode[11], when[40], size[24] = "-";
	int r = 0;

	mode_text(own->st_mode, mode);
	ops_time(&st->st_mtim, when);
	if (o->args.json) {
		if (!first)
			r = buf_adds(&out, ",\n");
		if (r == 0)
			r = add_json(&out, path, name, mode, when, st);
	} else {
		if (!dir)
			snprintf(size, sizeof(size), "%lld", (long long)st->st_size);
		/* Minutes, and a blank between. */
		when[10] = ' ';
		when[16] = '\0';
		r = buf_addf(&out, "%s %10s %s %s%s\n", mode, size, when, path, dir ? "/" : "");
	}
	return r < 0 ? r : ops_put(o, out.data, out.len);
}

int ops_look(struct ops *o, struct ops_req *req, struct ops_place *dir, const char *name,
	     struct stat *ret_own, struct stat *ret_st)
{
	_cleanup_found_ struct ops_found f = {0};
	struct bk_node *node;
	int r = ops_may(o, &dir->st, X_OK);

	if (r == 0)
		r = bk_lookup(&req->req, dir->node, name, &node, ret_own);
	if (r < 0)
		return r;
	bk_node_unref(node);
	*ret_st = *ret_own;
	if (S_ISLNK(ret_own->st_mode) && ops_resolve(o, req, dir, name, false, &f) == 0 && f.node)
		*ret_st = f.st;
	return 0;
}
