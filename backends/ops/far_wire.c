/* See far_wire.h. Every byte that is decoded is another's. */
#include "far_wire.h"

#include <errno.h>
#include <string.h>

#define MAX_PATH (64 * 1024)
#define MAX_ERRNO 133 /* EHWPOISON, the last there is */

/* ---- Encoding ---- */

static int put(struct buf *out, uint64_t v, unsigned width)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < width; i++)
		bytes[i] = v >> 8 * i;
	return buf_add(out, bytes, width);
}

static int put_text(struct buf *out, const char *text, size_t len)
{
	int r = put(out, len, 4);

	if (r == 0)
		r = buf_add(out, text, len);
	return r < 0 ? r : put(out, 0, 1);
}

static int put_string(struct buf *out, const char *s)
{
	return put_text(out, s, strlen(s));
}

int far_put_request(struct buf *out, const struct far_request *q)
{
	int r = put(out, q->kind, 4);

	r = r < 0 ? r : put(out, q->mode, 4);
	r = r < 0 ? r : put(out, q->flags, 4);
	r = r < 0 ? r : put(out, q->max, 8);
	r = r < 0 ? r : put_string(out, q->pattern);
	r = r < 0 ? r : put_string(out, q->glob);
	r = r < 0 ? r : put_string(out, q->below);
	r = r < 0 ? r : put_string(out, q->path);
	r = r < 0 ? r : put(out, q->depth, 4);
	return r < 0 ? r : put(out, q->n_rules, 4);
}

int far_put_rules(struct buf *out, const struct far_rules *rules)
{
	int r = put(out, rules->depth, 4);

	return r < 0 ? r : put_text(out, rules->text, rules->len);
}

int far_put_record(struct buf *out, const struct far_record *x)
{
	int r = put(out, x->kind, 4);

	r = r < 0 ? r : put(out, x->number, 8);
	r = r < 0 ? r : put(out, x->mode, 4);
	r = r < 0 ? r : put(out, x->mtime.tv_sec, 8);
	r = r < 0 ? r : put(out, x->mtime.tv_nsec, 4);
	r = r < 0 ? r : put_text(out, x->path ? x->path : "", x->path_len);
	return r < 0 ? r : put_text(out, x->text ? x->text : "", x->text_len);
}

/* ---- Decoding ---- */

/* After a violation everything reads as 0; it is `bad`, or `more` has to come. */
struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad, more;
};

static const uint8_t *get_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || c->more || n > c->left) {
		c->more = true;
		return NULL;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static uint64_t get(struct cursor *c, unsigned width)
{
	const uint8_t *p = get_bytes(c, width);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < width; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static const char *get_text(struct cursor *c, size_t max, size_t *ret_len)
{
	size_t n = get(c, 4);
	const char *s;

	*ret_len = 0;
	if (n > max)
		c->bad = true;
	s = (const char *)get_bytes(c, n + 1);
	if (!s || s[n] != '\0') {
		c->bad |= s != NULL;
		return "";
	}
	*ret_len = n;
	return s;
}

static const char *get_string(struct cursor *c, size_t max)
{
	size_t n;
	const char *s = get_text(c, max, &n);

	c->bad |= strlen(s) != n;
	return s;
}

/* ---- The request ---- */

static size_t depth_of(const char *path)
{
	size_t n = *path != '\0';

	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* Whether PATH is empty, or names without `.`, `..` and nothing between two slashes. */
static bool is_plain(const char *path)
{
	bool first = true;

	for (; *path || !first; first = false) {
		size_t n = strcspn(path, "/");

		if (n == 0 || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += n;
		if (!*path)
			return true;
		path++;
	}
	return true;
}

/* Rules ask for as many directories of a path as their depth says, so that has to be less. */
static int get_rules(struct cursor *c, struct far_request *q)
{
	struct far_rules *rules = calloc(q->n_rules + 1, sizeof(*rules));

	if (!rules)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->n_rules; i++) {
		rules[i].depth = get(c, 4);
		rules[i].text = get_text(c, SIZE_MAX / 2, &rules[i].len);
		c->bad |= rules[i].depth > q->depth;
	}
	q->rules = rules;
	return 0;
}

int far_get_request(const void *data, size_t len, struct far_request *ret)
{
	struct cursor c = {.p = data, .left = len};
	struct far_request q = {.kind = get(&c, 4)};
	int r;

	q.mode = get(&c, 4);
	q.flags = get(&c, 4);
	q.max = get(&c, 8);
	q.pattern = get_string(&c, MAX_PATH * 2);
	q.glob = get_string(&c, MAX_PATH * 2);
	q.below = get_string(&c, MAX_PATH);
	q.path = get_string(&c, MAX_PATH);
	q.depth = get(&c, 4);
	q.n_rules = get(&c, 4);
	c.bad |= q.n_rules > FAR_MAX_RULES || (q.kind != FAR_GREP && q.kind != FAR_GLOB) ||
		 !is_plain(q.below) || !is_plain(q.path) || depth_of(q.path) > q.depth;
	if (c.bad || c.more)
		return -EINVAL;
	r = get_rules(&c, &q);
	if (r == 0 && (c.bad || c.more || c.left > 0)) {
		free(q.rules);
		r = -EINVAL;
	}
	if (r == 0)
		*ret = q;
	return r;
}

/* ---- Records ---- */

static bool is_record(const struct far_record *x)
{
	bool named = x->kind >= FAR_LINE && x->kind <= FAR_LINK;

	if (x->kind < FAR_LINE || x->kind > FAR_END || x->mtime.tv_nsec >= 1000000000)
		return false;
	if (x->kind == FAR_FILE && (x->number > INT64_MAX || x->mode & ~07777U))
		return false;
	if ((x->kind == FAR_ERROR && x->number < 1) ||
	    ((x->kind == FAR_ERROR || x->kind == FAR_END) && x->number > MAX_ERRNO))
		return false;
	return is_plain(x->path) && (!named || *x->path);
}

ssize_t far_get_record(const void *data, size_t len, struct far_record *ret)
{
	struct cursor c = {.p = data, .left = len};
	struct far_record x = {.kind = get(&c, 4)};

	x.number = get(&c, 8);
	x.mode = get(&c, 4);
	x.mtime.tv_sec = (int64_t)get(&c, 8);
	x.mtime.tv_nsec = get(&c, 4);
	x.path = get_string(&c, MAX_PATH);
	x.path_len = strlen(x.path);
	x.text = get_text(&c, FAR_MAX_RECORD - 2 * MAX_PATH, &x.text_len);
	if (c.bad || (!c.more && !is_record(&x)))
		return -EPROTO;
	if (c.more)
		return 0;
	*ret = x;
	return len - c.left;
}
