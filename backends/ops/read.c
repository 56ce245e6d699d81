/*
 * read: numbered lines of a file, from an offset, at most so many, and how many are left. The file
 * goes by in pieces; lines before and after what is wanted are only counted.
 */
#include "hash.h"
#include "internal.h"

#include <string.h>

#define DEFAULT_LIMIT 2000

struct reading {
	struct ops *o;
	uint64_t first, end; /* lines that are wanted: [first, end) */
	uint64_t lines;	     /* that ended */
	uint64_t size, shown;
	bool in_line; /* bytes of another one have come */
	bool begun;   /* of the JSON */
	struct hash *hash;
	struct buf text; /* JSON, and before it what is left of a character */
	char rest[4];
	size_t n_rest;
};

/* ---- Output ---- */

static int begin_json(struct reading *x)
{
	const char *path = x->o->args.path;
	int r;

	x->begun = true;
	r = buf_adds(&x->text, "{\"path\": ");
	if (r == 0)
		r = ops_json_string(&x->text, path, strlen(path));
	return r < 0 ? r : buf_adds(&x->text, ", \"content\": \"");
}

static int put_json(struct reading *x, const char *data, size_t len, bool last)
{
	_cleanup_free_ char *joined = NULL;
	int r = x->begun ? 0 : begin_json(x);
	ssize_t n;

	if (r < 0)
		return r;
	if (x->n_rest > 0) {
		joined = malloc(x->n_rest + len + 1);
		if (!joined)
			return -ENOMEM;
		memcpy(joined, x->rest, x->n_rest);
		if (len > 0)
			memcpy(joined + x->n_rest, data, len);
		data = joined;
		len += x->n_rest;
		x->n_rest = 0;
	}
	n = ops_json_bytes(&x->text, data, len, last);
	if (n < 0)
		return n;
	x->n_rest = len - n;
	memcpy(x->rest, data + n, x->n_rest);
	r = ops_put(x->o, x->text.data, x->text.len);
	buf_consume(&x->text, x->text.len);
	return r;
}

static int put(struct reading *x, const char *data, size_t len)
{
	return x->o->args.json ? put_json(x, data, len, false) : ops_put(x->o, data, len);
}

static int begin_line(struct reading *x)
{
	char head[32];
	int n;

	x->shown++;
	if (x->o->args.raw)
		return 0;
	n = snprintf(head, sizeof(head), "%s%6llu\t", x->shown > 1 ? "\n" : "",
		     (unsigned long long)x->lines + 1);
	return put(x, head, n);
}

/* ---- Lines ---- */

/* A piece of a line, with its newline at the end where that has come. */
static int take_piece(struct reading *x, const char *p, size_t len, bool ends)
{
	bool wanted = x->lines >= x->first && x->lines < x->end;
	int r = 0;

	if (wanted && !x->in_line)
		r = begin_line(x);
	if (r == 0 && wanted)
		r = put(x, p, len - (ends && !x->o->args.raw));
	x->in_line = !ends;
	x->lines += ends;
	return r;
}

static int take(struct reading *x, const char *p, size_t len)
{
	int r = 0;

	x->size += len;
	if (x->hash)
		hash_add(x->hash, p, len);
	for (const char *end = p + len, *nl; p < end && r == 0; p += len) {
		nl = memchr(p, '\n', end - p);
		len = nl ? nl + 1 - p : end - p;
		r = take_piece(x, p, len, nl);
	}
	return r;
}

static int read_all(struct reading *x, struct bk_file *file)
{
	_cleanup_free_ char *data = malloc(OPS_CHUNK);
	ssize_t n = 0;
	int r = data ? 0 : -ENOMEM;

	while (r == 0) {
		r = ops_step(&x->o->req);
		n = r < 0 ? r : bk_read(&x->o->req.req, file, data, OPS_CHUNK, x->size);
		if (n <= 0)
			return n;
		r = take(x, data, n);
		/* Nothing that follows is told. */
		if (x->o->args.raw && !x->o->args.json && x->lines >= x->end)
			return r;
	}
	return r;
}

/* ---- The end ---- */

static int put_footer(struct reading *x, uint64_t total)
{
	uint64_t left = total > x->end ? total - x->end : 0;
	char text[64];
	int n;

	if (x->o->args.raw || left == 0)
		return 0;
	n = snprintf(text, sizeof(text), "%s... (%llu more lines)", x->shown > 0 ? "\n\n" : "",
		     (unsigned long long)left);
	return put(x, text, n);
}

static int end_json(struct reading *x, uint64_t total, int error)
{
	char hex[HASH_HEX];
	int r = put_json(x, "", 0, true);

	hash_hex(x->hash, hex);
	if (r == 0 && error == 0)
		r = buf_addf(
		    &x->text,
		    "\", \"offset\": %llu, \"lines\": %llu, \"total_lines\": %llu, \"size\": %llu, "
		    "\"sha256\": \"%s\"}\n",
		    (unsigned long long)x->first, (unsigned long long)x->shown,
		    (unsigned long long)total, (unsigned long long)x->size, hex);
	else if (r == 0)
		r = buf_addf(&x->text, "\", \"error\": \"%s\"}\n", strerror(-error));
	return r < 0 ? r : ops_put(x->o, x->text.data, x->text.len);
}

static int end(struct reading *x, int error)
{
	struct ops *o = x->o;
	uint64_t total = x->lines + x->in_line;
	int r = 0;

	if (error < 0 && !x->begun)
		return ops_fail_errno(o, error);
	if (error == 0 && x->first > 0 && x->first >= total && !x->begun)
		return ops_fail(o, "Error: Offset %llu exceeds file length (%llu lines)",
				(unsigned long long)x->first, (unsigned long long)total);
	if (error == 0)
		r = put_footer(x, total);
	if (r == 0 && o->args.json)
		r = end_json(x, total, error);
	else if (r == 0 && x->shown > 0 && !o->args.raw)
		r = ops_puts(o, "\n");
	return r < 0 || error < 0;
}

int ops_read(struct ops *o)
{
	_cleanup_found_ struct ops_found f = {0};
	struct reading x = {.o = o, .first = o->args.offset, .text = BUF_INIT(SIZE_MAX / 2)};
	uint64_t limit = o->args.limit;
	struct bk_file *file;
	int r = ops_resolve_arg(o, false, &f), status;

	if (r == -ENOENT || r == -ENOTDIR || (r == 0 && !f.node))
		return ops_fail(o, "Error: File '%s' not found", o->args.path);
	if (r == 0 && f.self)
		return ops_fail(o, "Error: '%s' is a directory", o->args.path);
	if (r == 0)
		r = ops_open(o, &o->req, f.node, &f.st, &file);
	if (r < 0)
		return ops_fail_errno(o, r);
	if (limit == UINT64_MAX && !o->args.raw)
		limit = DEFAULT_LIMIT;
	x.end = limit > UINT64_MAX - x.first ? UINT64_MAX : x.first + limit;
	x.hash = o->args.json ? hash_new() : NULL;
	r = o->args.json && !x.hash ? -ENOMEM : read_all(&x, file);
	bk_release(file);
	status = end(&x, r);
	hash_free(x.hash);
	buf_done(&x.text);
	return status;
}
