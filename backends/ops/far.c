/* See far.h: what is asked, and what comes back of it checked. */
#include "far.h"

#include "grep.h"
#include "scan.h"

#include <errno.h>
#include <string.h>

#define READ_SIZE (128 * 1024)

/* ---- The request ---- */

/* From the top down. */
static int put_all_rules(struct buf *out, const struct ignore *i)
{
	struct far_rules rules;
	unsigned depth;
	int r;

	if (!i)
		return 0;
	r = put_all_rules(out, ignore_source(i, &depth, &rules.text, &rules.len));
	rules.depth = depth;
	return r < 0 ? r : far_put_rules(out, &rules);
}

static uint32_t count_rules(const struct ignore *i)
{
	struct far_rules rules;
	unsigned depth;
	uint32_t n = 0;

	for (; i; i = ignore_source(i, &depth, &rules.text, &rules.len))
		n++;
	return n;
}

static uint32_t flags_of(const struct ops_args *a)
{
	/* A line that is shown is cut; attributes are in JSON, or what is sorted by. */
	return (a->ignore_case ? FAR_IGNORE_CASE : 0) | (a->hidden ? FAR_HIDDEN : 0) |
	       (a->gitignore ? FAR_GITIGNORE : 0) | (a->json ? FAR_WHOLE_LINES : 0) |
	       (a->json || ops_by_time(a) ? FAR_STATS : 0);
}

static int describe(const struct ops_args *a, enum far_kind kind, const struct scan_dir *d,
		    struct buf *out)
{
	const char *below = d->shown + strlen(a->path);
	struct far_request q = {
	    .kind = kind,
	    .mode = grep_mode(a),
	    .flags = flags_of(a),
	    /* One more, to know of it. */
	    .max = kind == FAR_GREP && a->max && a->max < UINT64_MAX ? a->max + 1 : 0,
	    .pattern = a->pattern,
	    .glob = a->glob ? a->glob : "",
	    .below = below + strspn(below, "/"),
	    .path = d->path,
	    .depth = d->depth,
	    .n_rules = count_rules(d->ignore),
	};
	int r = q.n_rules > FAR_MAX_RULES ? -E2BIG : far_put_request(out, &q);

	return r < 0 ? r : put_all_rules(out, d->ignore);
}

int far_begin(struct ops *o, enum far_kind kind, const struct scan_dir *d, struct bk_results **ret)
{
	_cleanup_buf_ struct buf what = BUF_INIT(1 << 20);
	struct bk_search s = {
	    .groups = o->who->groups, .n_groups = o->who->n_groups, .root = o->root};
	int r;

	if (!d->place->node->bk->ops->search)
		return -EOPNOTSUPP;
	r = describe(&o->args, kind, d, &what);
	if (r == -E2BIG)
		return -EOPNOTSUPP;
	s.what = what.data;
	s.size = what.len;
	return r < 0 ? r : bk_search(&o->req.req, d->place->node, &s, ret);
}

/* ---- The answer ---- */

static bool may_come(const struct far_reader *f, const struct far_record *x)
{
	if (f->kind == FAR_GREP)
		return x->kind == FAR_LINE || x->kind == FAR_COUNT || x->kind == FAR_ERROR;
	return x->kind == FAR_FILE || x->kind == FAR_LINK || x->kind == FAR_ERROR;
}

/* Results ascend by path, and of one file by line; no file is told of twice. */
static int check_order(struct far_reader *f, const struct far_record *x)
{
	int c = f->last.len > 0 ? strcmp(x->path, f->last.data) : 1;

	if (!may_come(f, x))
		return -EPROTO;
	if (x->kind == FAR_ERROR)
		return 0;
	if (c < 0 || (c == 0 && (x->kind != FAR_LINE || x->number <= f->number)))
		return -EPROTO;
	f->number = x->number;
	if (c == 0)
		return 0;
	buf_consume(&f->last, f->last.len);
	return buf_adds(&f->last, x->path);
}

/* An errno of the far end is about files there: what ends an operation is not its to say. */
static uint64_t errno_of(uint64_t number)
{
	return number == EINTR || number == EPIPE || number == ENOMEM ? EIO : number;
}

static int read_more(struct ops_req *req, struct far_reader *f)
{
	ssize_t n;
	int r = buf_reserve(&f->in, READ_SIZE);

	n = r < 0 ? r : bk_results_read(&req->req, f->results, f->in.data + f->in.len, READ_SIZE);
	if (n < 0)
		return n;
	f->in.len += n;
	return n == 0 ? -EIO : 0; /* its end is a record, too */
}

/* What is used goes, once it is worth it to move the rest. */
static void drop_used(struct far_reader *f)
{
	if (f->used < f->in.len && f->used < READ_SIZE)
		return;
	buf_consume(&f->in, f->used);
	f->used = 0;
}

int far_next(struct ops_req *req, struct far_reader *f, struct far_record *ret)
{
	f->in.cap = FAR_MAX_RECORD + 2 * READ_SIZE;
	f->last.cap = OPS_MAX_PATH;
	for (;;) {
		ssize_t n;
		int r;

		drop_used(f);
		n = f->in.len > f->used
			? far_get_record(f->in.data + f->used, f->in.len - f->used, ret)
			: 0;
		if (n < 0)
			return n;
		f->used += n;
		r = n == 0 ? read_more(req, f) : 0;
		if (r == 0)
			r = ops_step(req);
		if (r < 0)
			return r;
		if (n == 0 || ret->kind == FAR_TICK)
			continue;
		if (ret->kind == FAR_END || ret->kind == FAR_ERROR)
			ret->number = errno_of(ret->number);
		if (ret->kind == FAR_END)
			return -(int)ret->number;
		r = check_order(f, ret);
		return r < 0 ? r : 1;
	}
}

void far_reader_done(struct far_reader *f)
{
	buf_done(&f->in);
	buf_done(&f->last);
}
