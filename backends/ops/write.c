/*
 * write: what comes in is a file, with its parents. Nobody waits for a slow writer: it writes under
 * another name, and only the end is one at a time.
 */
#include "replace.h"

#include <string.h>

/* ---- Parents ---- */

/* Make NAME in *DIR and go there. */
static int make_one(struct ops *o, struct ops_place **dir, const char *name)
{
	struct ops_place *made;
	struct bk_node *node;
	struct stat st;
	int r;

	if (strcmp(name, "..") == 0)
		return -ENOENT;
	r = ops_may(o, &(*dir)->st, W_OK | X_OK);
	if (r == 0)
		r = bk_mkdir(&o->req.req, (*dir)->node, name, 0777 & ~o->args.umask, &node, &st);
	/* Somebody else did. */
	if (r == -EEXIST)
		r = bk_lookup(&o->req.req, (*dir)->node, name, &node, &st);
	if (r == 0 && !S_ISDIR(st.st_mode)) {
		bk_node_unref(node);
		r = -ENOTDIR;
	}
	if (r < 0)
		return r;
	if (o->tree->replaced)
		o->tree->replaced(o->tree->ctx, (*dir)->node, name);
	made = ops_place_new(*dir, name, node, &st);
	if (!made)
		return -ENOMEM;
	ops_place_unref(*dir);
	*dir = made;
	return 0;
}

/* The directories of F that are missing; the last name of all is the file's. */
static int make_parents(struct ops *o, struct ops_found *f)
{
	_cleanup_free_ char *missing = TAKE(f->missing);
	char *save, *name = TAKE(f->name), *next;
	int r = 0;

	f->name = name;
	for (next = missing ? strtok_r(missing, "/", &save) : NULL; next && r == 0;
	     next = strtok_r(NULL, "/", &save)) {
		if (strcmp(next, ".") == 0)
			continue;
		r = make_one(o, &f->dir, f->name);
		free(f->name);
		f->name = strdup(next);
		if (r == 0 && !f->name)
			r = -ENOMEM;
	}
	return r < 0 || strcmp(f->name, "..") != 0 ? r : -ENOENT;
}

/* ---- Content ---- */

static int take_input(struct ops *o, struct replacement *x)
{
	_cleanup_free_ char *data = malloc(OPS_CHUNK);
	ssize_t n = data ? 0 : -ENOMEM;
	int r = 0;

	while (data && r == 0 && (n = o->io->read(o->io->ctx, data, OPS_CHUNK)) > 0) {
		bk_req_extend(&o->req.req, o->tree->deadline_ms);
		r = replace_write(x, data, n);
	}
	bk_req_extend(&o->req.req, o->tree->deadline_ms);
	return r < 0 ? r : (int)n;
}

static int report(struct ops *o, uint64_t size, const char *hex)
{
	_cleanup_buf_ struct buf out = BUF_INIT(8 * OPS_MAX_PATH);
	const char *path = o->args.path;

	if (!o->args.json)
		return 0;
	(void)buf_adds(&out, "{\"path\": ");
	(void)ops_json_string(&out, path, strlen(path));
	(void)buf_addf(&out, ", \"size\": %llu, \"sha256\": \"%s\"}\n", (unsigned long long)size,
		       hex);
	return ops_put(o, out.data, out.len) < 0;
}

static int write_at(struct ops *o, struct ops_found *f)
{
	struct replace_only only = {.expect = o->args.expect};
	struct replacement x = {.ops = NULL};
	struct replace_lock lock;
	char hex[HASH_HEX] = "";
	uint64_t size;
	int r = make_parents(o, f);

	/* Told before the content is asked for; it is looked at again at the end. */
	if (r == 0)
		r = ops_may_replace(o, &f->dir->st, f->node ? &f->st : NULL);
	if (r == 0)
		r = replace_begin(o, f->dir, f->name, 0666 & ~o->args.umask, &x);
	if (r == 0)
		r = take_input(o, &x);
	if (r == 0)
		r = replace_lock(o, f->dir, f->name, &lock);
	if (r < 0) {
		replace_abort(&x);
		return ops_fail_errno(o, r);
	}
	hash_hex(x.hash, hex);
	size = x.size;
	r = replace_commit(&x, &only);
	replace_unlock(&lock);
	if (r == -ESTALE)
		return ops_fail(
		    o,
		    "Error: File '%s' has changed since it was read: read it again (expected %s)",
		    o->args.path, o->args.expect);
	return r < 0 ? ops_fail_errno(o, r) : report(o, size, hex);
}

int ops_write(struct ops *o)
{
	_cleanup_found_ struct ops_found f = {0};
	int r = o->tree->readonly ? -EROFS : ops_resolve_arg(o, true, &f);

	if (r < 0)
		return ops_fail_errno(o, r);
	if (f.self)
		return ops_fail(o, "Error: '%s' is a directory", o->args.path);
	if (f.node && !S_ISREG(f.st.st_mode))
		return ops_fail_errno(o, -ENXIO);
	return write_at(o, &f);
}
