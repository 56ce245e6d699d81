/*
 * edit: one string in the place of another, bytes as they are. The file goes by twice in pieces:
 * once to count, since a string that is there more than once is an error, and once to copy.
 */
#include "replace.h"

#include <fcntl.h>
#include <string.h>

struct editing {
	struct ops *o;
	const struct ops_found *found;
	struct bk_file *file;
	const char *old, *new;
	size_t n_old, n_new;
	char *data; /* OPS_CHUNK + n_old */
	struct hash *hash;
	uint64_t count;
};

static int put(struct replacement *x, const void *data, size_t len)
{
	return x && len > 0 ? replace_write(x, data, len) : 0;
}

/* What is in the buffer, LEN bytes; what may be the beginning of another occurrence stays, unless
 * it is the END. Returns how much stays, or -errno. */
static ssize_t pass_piece(struct editing *e, struct replacement *x, size_t len, bool end)
{
	const char *p = e->data, *hit;
	size_t left = len, keep;
	int r = 0;

	while (r == 0 && (hit = memmem(p, left, e->old, e->n_old))) {
		r = put(x, p, hit - p);
		if (r == 0)
			r = put(x, e->new, e->n_new);
		e->count++;
		left -= hit + e->n_old - p;
		p = hit + e->n_old;
	}
	keep = end ? 0 : left < e->n_old - 1 ? left : e->n_old - 1;
	if (r == 0)
		r = put(x, p, left - keep);
	memmove(e->data, p + left - keep, keep);
	return r < 0 ? r : (ssize_t)keep;
}

/* The whole file: counted, and copied with its changes into X where that is not NULL. */
static int pass(struct editing *e, struct replacement *x)
{
	ssize_t kept = 0, n = OPS_CHUNK;
	off_t off = 0;

	e->count = 0;
	while (n > 0) {
		int r = ops_step(&e->o->req);

		n = r < 0 ? r : bk_read(&e->o->req.req, e->file, e->data + kept, OPS_CHUNK, off);
		if (n < 0)
			return n;
		if (!x && e->hash)
			hash_add(e->hash, e->data + kept, n);
		off += n;
		kept = pass_piece(e, x, kept + n, n == 0);
		if (kept < 0)
			return kept;
	}
	return 0;
}

static int report(struct editing *e, uint64_t size, const char *hex)
{
	_cleanup_buf_ struct buf out = BUF_INIT(8 * OPS_MAX_PATH);
	struct ops *o = e->o;
	unsigned long long n = e->count;

	if (o->args.json) {
		(void)buf_adds(&out, "{\"path\": ");
		(void)ops_json_string(&out, o->args.path, strlen(o->args.path));
		(void)buf_addf(&out,
			       ", \"occurrences\": %llu, \"size\": %llu, \"sha256\": \"%s\"}\n", n,
			       (unsigned long long)size, hex);
	} else {
		(void)buf_addf(&out, "%llu occurrence%s replaced\n", n, n == 1 ? "" : "s");
	}
	return ops_put(o, out.data, out.len) < 0;
}

static int changed(struct ops *o)
{
	return ops_fail(o, "Error: File '%s' has changed since it was read: read it again",
			o->args.path);
}

/* Whether it is to be done: 0, or the status after a message. */
static int look(struct editing *e)
{
	const char *expect = e->o->args.expect;
	char hex[HASH_HEX];
	int r = pass(e, NULL);

	if (r < 0)
		return ops_fail_errno(e->o, r);
	if (expect) {
		hash_hex(e->hash, hex);
		if (strcasecmp(hex, expect) != 0)
			return changed(e->o);
	}
	if (e->count == 0)
		return ops_fail(e->o, "String '%s' not found in file", e->old);
	if (e->count > 1 && !e->o->args.replace_all)
		return ops_fail(
		    e->o,
		    "String '%s' found %llu times. Use replace_all=True to replace all, or "
		    "provide more context.",
		    e->old, (unsigned long long)e->count);
	return 0;
}

static int replace(struct editing *e)
{
	const struct ops_found *f = e->found;
	struct replace_only only = {.was = f->node, .expect = e->o->args.expect, .st = f->st};
	struct replacement x = {.ops = NULL};
	char hex[HASH_HEX];
	uint64_t size;
	int r = replace_begin(e->o, f->dir, f->name, 0600, &x);

	if (r == 0)
		r = pass(e, &x);
	if (r < 0) {
		replace_abort(&x);
		return ops_fail_errno(e->o, r);
	}
	hash_hex(x.hash, hex);
	size = x.size;
	r = replace_commit(&x, &only);
	if (r == -ESTALE)
		return changed(e->o);
	return r < 0 ? ops_fail_errno(e->o, r) : report(e, size, hex);
}

static int edit(struct ops *o, struct ops_found *f)
{
	struct editing e = {
	    .o = o, .found = f, .old = o->args.old, .new = o->args.new ? o->args.new : ""};
	int r, status;

	/* As it is now that nobody else edits it. */
	r = bk_getattr(&o->req.req, f->node, NULL, &f->st);
	if (r == 0)
		r = ops_may_replace(o, &f->dir->st, &f->st);
	if (r == 0)
		r = ops_open(o, &o->req, f->node, &f->st, &e.file);
	if (r < 0)
		return ops_fail_errno(o, r);
	e.n_old = strlen(e.old);
	e.n_new = strlen(e.new);
	e.data = malloc(OPS_CHUNK + e.n_old);
	e.hash = o->args.expect ? hash_new() : NULL;
	if (!e.data || (o->args.expect && !e.hash))
		status = ops_fail_errno(o, -ENOMEM);
	else
		status = look(&e);
	if (status == 0)
		status = replace(&e);
	bk_release(e.file);
	hash_free(e.hash);
	free(e.data);
	return status;
}

static int find(struct ops *o, struct ops_found *f)
{
	int r = ops_resolve_arg(o, false, f);

	if (r == -ENOENT || r == -ENOTDIR || (r == 0 && !f->node))
		return ops_fail(o, "File '%s' not found", o->args.path);
	if (r < 0)
		return ops_fail_errno(o, r);
	return f->self ? ops_fail(o, "Error: '%s' is a directory", o->args.path) : 0;
}

int ops_edit(struct ops *o)
{
	_cleanup_found_ struct ops_found first = {0}, f = {0};
	struct replace_lock lock;
	int r, status;

	if (!*o->args.old)
		return ops_fail(o, "Error: the string to replace is empty");
	if (o->args.new &&strcmp(o->args.old, o->args.new) == 0)
		return ops_fail(o, "Error: the string to replace and the new one are the same");
	if (o->tree->readonly)
		return ops_fail_errno(o, -EROFS);
	status = find(o, &first);
	if (status != 0)
		return status;
	r = replace_lock(o, first.dir, first.name, &lock);
	if (r < 0)
		return ops_fail_errno(o, r);
	/* Whoever was before may have put another file there. */
	status = find(o, &f);
	if (status == 0)
		status = edit(o, &f);
	replace_unlock(&lock);
	return status;
}
