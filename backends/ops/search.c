/*
 * One file after the other, in pieces of whole lines. A thread keeps its buffer from file to file.
 */
#include "far.h"
#include "grep.h"

#include <string.h>

#define FIRST_READ (64 * 1024)
#define FURTHER_READ (1024 * 1024)

struct search {
	struct grep *grep;
	struct ops_req req;
	struct match_thread *match;
	char *data;
	size_t size;
	struct buf path; /* of the file that is searched */
};

/* The file that is searched. */
struct file {
	struct batch *batch;
	const char *path;
	uint64_t line, matches; /* lines before what is counted; lines that matched */
	bool enough;
};

int search_new(struct grep *g, struct search **ret)
{
	struct search *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->grep = g;
	s->size = FIRST_READ;
	s->path = BUF_INIT(OPS_MAX_PATH);
	s->data = malloc(s->size);
	r = s->data ? match_thread_new(g->match, &s->match) : -ENOMEM;
	if (r < 0) {
		free(s->data);
		free(s);
		return r;
	}
	ops_req_init(g->o, &s->req);
	*ret = s;
	return 0;
}

void search_free(struct search *s)
{
	if (!s)
		return;
	ops_req_done(&s->req);
	match_thread_free(s->match);
	buf_done(&s->path);
	free(s->data);
	free(s);
}

/* ---- Results ---- */

static int end_result(struct search *s, struct batch *b)
{
	int r = 0;

	b->results++;
	if (s->grep->max)
		r = buf_add(&b->ends, &b->out.len, sizeof(b->out.len));
	if (r == 0 && b->out.len > GREP_HOLD) {
		grep_drain(b);
		bk_req_extend(&s->req.req, s->grep->o->tree->deadline_ms);
	}
	return r;
}

static int put_line(struct search *s, struct batch *b, const char *path, uint64_t line,
		    const char *text, size_t len)
{
	int r = grep_put_line(b, path, line, text, len);

	return r < 0 ? r : end_result(s, b);
}

static int put_file(struct search *s, struct batch *b, const char *path, uint64_t matches)
{
	int r;

	if (s->grep->mode == GREP_CONTENT || matches == 0)
		return 0;
	r = grep_put_file(b, path, matches);
	return r < 0 ? r : end_result(s, b);
}

/* ---- Text ---- */

static uint64_t count_lines(const char *p, size_t len)
{
	uint64_t n = 0;

	for (const char *end = p + len; p < end && (p = memchr(p, '\n', end - p)); p++)
		n++;
	return n;
}

static bool is_enough(const struct search *s, const struct file *f)
{
	const struct grep *g = s->grep;

	return atomic_load(&g->stop) || (g->mode == GREP_FILES && f->matches > 0) ||
	       (g->max && f->batch->results > g->max);
}

/* Whole lines; the last one may be without its newline. */
static int search_text(struct search *s, struct file *f, const char *text, size_t len)
{
	bool numbers = s->grep->mode == GREP_CONTENT;
	size_t from = 0, counted = 0, start, end;
	int r = 0;

	while (r == 0 && !f->enough &&
	       (r = match_line(s->match, text, len, from, &start, &end)) > 0) {
		r = 0;
		f->matches++;
		if (numbers) {
			f->line += count_lines(text + counted, start - counted) + 1;
			counted = end < len ? end + 1 : len;
			r = put_line(s, f->batch, f->path, f->line, text + start, end - start);
		}
		from = end + 1;
		f->enough = is_enough(s, f);
		if (r == 0 && f->matches % 1024 == 0)
			r = ops_step(&s->req);
	}
	if (numbers && counted < len)
		f->line += count_lines(text + counted, len - counted);
	return r;
}

/* ---- Files ---- */

/* Room for WANT bytes after LEFT. */
static int make_room(struct search *s, size_t left, size_t want)
{
	size_t size = s->size;
	char *more;

	while (size - left < want)
		size *= 2;
	if (size > 2 * GREP_MAX_LINE)
		return -EMSGSIZE;
	if (size == s->size)
		return 0;
	more = realloc(s->data, size);
	if (!more)
		return -ENOMEM;
	s->data = more;
	s->size = size;
	return 0;
}

/* SIZE: as it was opened, to be spared the question whether there is more; 0: it is not known. */
static int search_pieces(struct search *s, struct file *f, struct bk_file *file, off_t size)
{
	size_t left = 0, want = size > 0 && size < FIRST_READ ? size : FIRST_READ;
	off_t off = 0;
	int r = 0;

	while (r == 0 && !f->enough) {
		size_t whole;
		ssize_t n;
		char *end;

		r = left > GREP_MAX_LINE ? -EMSGSIZE : make_room(s, left, want);
		if (r == 0)
			r = ops_step(&s->req);
		n = r < 0 ? r : bk_read(&s->req.req, file, s->data + left, want, off);
		if (n < 0)
			return n;
		if (off == 0 && memchr(s->data, '\0', n < GREP_BINARY ? n : GREP_BINARY))
			return 0;
		off += n;
		if ((size_t)n < want || off == size)
			return search_text(s, f, s->data, left + n);
		end = memrchr(s->data + left, '\n', n);
		whole = end ? (size_t)(end - s->data) + 1 : 0;
		r = whole ? search_text(s, f, s->data, whole) : 0;
		left = left + n - whole;
		memmove(s->data, s->data + whole, left);
		want = FURTHER_READ;
	}
	return r;
}

/* FILE of PATH; where R says that it could not be opened, that. */
static void search_open(struct search *s, struct batch *b, struct bk_file *file,
			const struct stat *st, const char *path, int r)
{
	struct file f = {.batch = b, .path = path};

	if (r == 0)
		r = search_pieces(s, &f, file, file->direct_io ? 0 : st->st_size);
	if (r == 0)
		r = put_file(s, b, path, f.matches);
	if (r == -ETIMEDOUT)
		bk_req_extend(&s->req.req, s->grep->o->tree->deadline_ms);
	if (r < 0)
		grep_error(b, path, r);
}

void search_one(struct search *s, struct batch *b, struct bk_node *node, const struct stat *st,
		const char *path)
{
	struct bk_file *file = NULL;
	int r = ops_open(s->grep->o, &s->req, node, st, &file);

	search_open(s, b, file, st, path, r);
	bk_release(file);
}

static void search_name(struct search *s, struct batch *b, const char *name)
{
	struct bk_file *file = NULL;
	const char *rule;
	struct stat st;
	int r;

	buf_consume(&s->path, s->path.len);
	r = ops_join(&s->path, b->shown, name, strlen(name));
	if (r == 0)
		r = ops_step(&s->req);
	if (r == 0)
		r = ops_may(s->grep->o, &b->dir->st, X_OK);
	if (r == 0)
		r = bk_peek(&s->req.req, b->dir->node, name, &file, &st);
	if (r == -EACCES && bk_rule(b->dir->node, name, &rule) == -EACCES) {
		b->denied++;
		return;
	}
	/* Another thing than it was when it was listed. */
	if (r == -ELOOP || r == -EISDIR || r == -ENXIO)
		return;
	if (r == 0)
		r = ops_may(s->grep->o, &st, R_OK);
	search_open(s, b, file, &st, s->path.len ? s->path.data : name, r);
	bk_release(file);
}

/* ---- What is found at the far end ---- */

static int put_record(struct search *s, struct batch *b, const struct far_record *x)
{
	_cleanup_buf_ struct buf path = BUF_INIT(2 * OPS_MAX_PATH);
	int r = ops_join(&path, b->shown, x->path, x->path_len);

	if (r < 0)
		return r;
	if (x->kind == FAR_ERROR) {
		grep_tell(b, path.data, -(int)x->number);
		return 0;
	}
	if ((x->kind == FAR_LINE) != (s->grep->mode == GREP_CONTENT))
		return -EPROTO;
	return x->kind == FAR_LINE ? put_line(s, b, path.data, x->number, x->text, x->text_len)
				   : put_file(s, b, path.data, x->number);
}

static void search_far(struct search *s, struct batch *b)
{
	struct far_reader f = {.results = b->far, .kind = FAR_GREP};
	const struct grep *g = s->grep;
	struct far_record x;
	int r = 1;

	while (r > 0 && !atomic_load(&g->stop) && !(g->max && b->results > g->max)) {
		r = far_next(&s->req, &f, &x);
		if (r > 0) {
			int put = put_record(s, b, &x);

			r = put < 0 ? put : 1;
		}
	}
	far_reader_done(&f);
	if (r == -EINTR || r == -ENOMEM)
		grep_error(b, b->shown, r);
	else if (r < 0)
		grep_tell(b, b->shown, r);
}

void search_batch(struct search *s, struct batch *b)
{
	const char *name = b->names;

	/* It may have waited for long. */
	bk_req_extend(&s->req.req, s->grep->o->tree->deadline_ms);
	if (b->far)
		search_far(s, b);
	for (unsigned i = 0; i < b->n && !atomic_load(&s->grep->stop) && !b->fatal; i++) {
		if (s->grep->max && b->results > s->grep->max)
			return;
		search_name(s, b, name);
		name += strlen(name) + 1;
	}
}
