/*
 * See pattern.h. Braces are multiplied out first; each alternative is a list of components, and all
 * lists lie in one array, each ended by NULL, so that a position in a pattern is a number. A walk
 * keeps the set of positions that it has reached (there may be several after `**`) as bits, so
 * directories below which nothing matches are never opened, and two places at which the same will
 * match are told by comparing.
 */
#include "pattern.h"

#include <limits.h>
#include <string.h>

#define MAX_ALTERNATIVES 1024
#define MAX_POSITIONS 16384

struct pattern {
	unsigned flags;
	char **parts; /* owned; NULL ends each alternative */
	size_t n, size;
	size_t alternatives;
	size_t *ends; /* of each text: the first position after it */
	size_t n_texts;
};

static const char any[] = "**";

/* ---- One name ---- */

/* The class that begins after P's `[`: whether C is in it, and where it ends; NULL: it is no class.
 */
static const char *class_matches(const char *p, unsigned char c, bool *ret)
{
	bool not = *p == '!' || *p == '^', in = false, first = true;

	for (p += not ; first || *p != ']'; first = false) {
		unsigned char low, high;

		if (*p == '\\' && p[1])
			p++;
		if (!*p)
			return NULL;
		low = high = *p++;
		if (*p == '-' && p[1] && p[1] != ']') {
			p++;
			if (*p == '\\' && p[1])
				p++;
			high = *p++;
		}
		in |= c >= low && c <= high;
	}
	*ret = in != not ;
	return p + 1;
}

/* Bytes of the character at S: `?` and classes' complements take whole ones. */
static size_t char_length(const char *s)
{
	size_t n = 1;

	if ((unsigned char)*s >= 0xc0)
		while (((unsigned char)s[n] & 0xc0) == 0x80 && n < 4)
			n++;
	return n;
}

/* Where the pattern goes on after what takes the character at S, or NULL. *TAKEN: its bytes. */
static const char *one_char(const char *p, const char *s, size_t *taken)
{
	const char *end;
	bool in;

	*taken = 1;
	if (*p == '?') {
		*taken = char_length(s);
		return p + 1;
	}
	if (*p == '[') {
		end = class_matches(p + 1, *s, &in);
		if (end) {
			if (in && (p[1] == '!' || p[1] == '^'))
				*taken = char_length(s);
			return in ? end : NULL;
		}
	}
	if (*p == '\\' && p[1])
		p++;
	return *p == *s ? p + 1 : NULL;
}

bool pattern_name(const char *p, const char *s, bool hidden)
{
	const char *star = NULL, *star_at = NULL;

	if (*s == '.' && !hidden && *p != '.' && !(p[0] == '\\' && p[1] == '.'))
		return false;
	while (*s) {
		const char *next;
		size_t taken;

		if (*p == '*') {
			star = ++p;
			star_at = s;
			continue;
		}
		next = *p ? one_char(p, s, &taken) : NULL;
		if (next) {
			p = next;
			s += taken;
		} else if (star) {
			p = star;
			s = ++star_at;
		} else {
			return false;
		}
	}
	while (*p == '*')
		p++;
	return !*p;
}

/* ---- Making ---- */

static int add_part(struct pattern *p, const char *part, size_t len)
{
	if (p->n == p->size) {
		size_t size = p->size ? p->size * 2 : 16;
		char **more = reallocarray(p->parts, size, sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->parts = more;
		p->size = size;
	}
	if (p->n >= MAX_POSITIONS)
		return -E2BIG;
	p->parts[p->n] = part ? strndup(part, len) : NULL;
	if (part && !p->parts[p->n])
		return -ENOMEM;
	p->n++;
	return 0;
}

static bool is_any(const char *part)
{
	return part && strcmp(part, any) == 0;
}

static int add_alternative(struct pattern *p, const char *text)
{
	size_t begin = p->n;
	int r = 0;

	if (++p->alternatives > MAX_ALTERNATIVES)
		return -E2BIG;
	while (*text && r == 0) {
		size_t n = strcspn(text, "/");

		if ((n == 1 && *text == '.') || n == 0)
			; /* the same directory */
		else if (n == 2 && memcmp(text, "..", 2) == 0)
			r = -EINVAL;
		else if (!(n == 2 && memcmp(text, any, 2) == 0 && p->n > begin &&
			   is_any(p->parts[p->n - 1])))
			r = add_part(p, text, n);
		text += n + (text[n] == '/');
	}
	/* Any directories, and whatever is in them. */
	if (r == 0 && p->n > begin && is_any(p->parts[p->n - 1]))
		r = add_part(p, "*", 1);
	return r < 0 ? r : add_part(p, NULL, 0);
}

/* The brace that belongs to the one at OPEN, with the commas of its own between; NULL: there is
 * none, or nothing to choose. */
static const char *closing(const char *open)
{
	int depth = 0;
	bool comma = false;

	for (const char *p = open; *p; p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '{')
			depth++;
		else if (*p == ',' && depth == 1)
			comma = true;
		else if (*p == '}' && --depth == 0)
			return comma ? p : NULL;
	}
	return NULL;
}

static int expand(struct pattern *p, const char *text, const char *from);

/* TEXT with one choice in the place of its braces from OPEN to CLOSE. */
static int choose(struct pattern *p, const char *text, const char *open, const char *close,
		  const char *choice, size_t len)
{
	char *one;
	size_t head = open - text;
	int r;

	if (asprintf(&one, "%.*s%.*s%s", (int)head, text, (int)len, choice, close + 1) < 0)
		return -ENOMEM;
	r = expand(p, one, one + head);
	free(one);
	return r;
}

/* Braces before FROM are done with. */
static int expand(struct pattern *p, const char *text, const char *from)
{
	const char *open, *close = NULL, *begin;
	int depth = 0, r = 0;

	for (open = from; *open && p->flags & PATTERN_BRACES; open++) {
		if (*open == '\\' && open[1])
			open++;
		else if (*open == '{' && (close = closing(open)))
			break;
	}
	if (!close)
		return add_alternative(p, text);
	begin = open + 1;
	for (const char *q = begin; q <= close && r == 0; q++) {
		if (*q == '\\' && q + 1 < close) {
			q++;
		} else if (q == close || (*q == ',' && depth == 0)) {
			r = choose(p, text, open, close, begin, q - begin);
			begin = q + 1;
		} else if (*q == '{' || *q == '}') {
			depth += *q == '{' ? 1 : -1;
		}
	}
	return r;
}

static int add_text(struct pattern *p, const char *text)
{
	size_t *more = reallocarray(p->ends, p->n_texts + 1, sizeof(*more));
	int r;

	if (!more)
		return -ENOMEM;
	p->ends = more;
	r = expand(p, text, text);
	p->ends[p->n_texts++] = p->n;
	return r;
}

int pattern_add(struct pattern *p, const char *text, struct err *err)
{
	int r = add_text(p, text);

	if (r == -EINVAL)
		return err_set(err, r, "Error: Invalid glob pattern: '..' in '%s'", text);
	if (r == -E2BIG)
		return err_set(err, -EINVAL,
			       "Error: Invalid glob pattern: '%s' has too many alternatives", text);
	return r;
}

int pattern_new(const char *text, unsigned flags, struct pattern **ret, struct err *err)
{
	struct pattern *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->flags = flags;
	r = pattern_add(p, text, err);
	if (r < 0) {
		pattern_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void pattern_free(struct pattern *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->parts[i]);
	free(p->parts);
	free(p->ends);
	free(p);
}

/* ---- Whole paths ---- */

static bool part_matches(const struct pattern *p, const char *part, const char *path, size_t len)
{
	char name[NAME_MAX + 1];

	if (len > NAME_MAX)
		return false;
	memcpy(name, path, len);
	name[len] = '\0';
	return pattern_name(part, name, p->flags & PATTERN_HIDDEN);
}

/* As `*` in a name: only the last `**` has ever to take more. */
static bool list_matches(const struct pattern *p, char **part, const char *path)
{
	const char *again = NULL;
	char **after = NULL;

	while (*path) {
		size_t len = strcspn(path, "/");
		const char *next = path + len + (path[len] == '/');

		if (is_any(*part)) {
			after = ++part;
			again = path;
		} else if (*part && part_matches(p, *part, path, len)) {
			part++;
			path = next;
		} else if (after) {
			len = strcspn(again, "/");
			if (!part_matches(p, "*", again, len))
				return false;
			again += len + (again[len] == '/');
			path = again;
			part = after;
		} else {
			return false;
		}
	}
	return !*part;
}

bool pattern_matches(const struct pattern *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++) {
		if (list_matches(p, &p->parts[i], path))
			return true;
		while (p->parts[i])
			i++;
	}
	return false;
}

/* ---- Walks ---- */

static bool has(const struct pattern_state *s, size_t at)
{
	return s->words[at / 64] >> at % 64 & 1;
}

/* The next position that is reached, from AT on; P's size where there is none. */
static size_t next_reached(const struct pattern *p, const struct pattern_state *s, size_t at)
{
	while (at < p->n && !has(s, at))
		at += s->words[at / 64] >> at % 64 ? 1 : 64 - at % 64;
	return at < p->n ? at : p->n;
}

static struct pattern_state *new_state(const struct pattern *p)
{
	size_t n = (p->n + 63) / 64;
	struct pattern_state *s = calloc(1, sizeof(*s) + n * sizeof(s->words[0]));

	if (s)
		s->n = n;
	return s;
}

/* `**` may be no directory at all. */
static void reach(const struct pattern *p, struct pattern_state *s, size_t at)
{
	do
		s->words[at / 64] |= 1ULL << at % 64;
	while (is_any(p->parts[at++]));
}

int pattern_begin(const struct pattern *p, struct pattern_state **ret)
{
	struct pattern_state *s = new_state(p);

	for (size_t i = 0; i < p->n && s; i++) {
		reach(p, s, i);
		while (p->parts[i])
			i++;
	}
	*ret = s;
	return s ? 0 : -ENOMEM;
}

int pattern_step(const struct pattern *p, const struct pattern_state *state, const char *name,
		 struct pattern_state **ret)
{
	bool hidden = p->flags & PATTERN_HIDDEN, any_reached = false;
	struct pattern_state *s;

	*ret = NULL;
	if (strlen(name) > NAME_MAX)
		return 0;
	s = new_state(p);
	if (!s)
		return -ENOMEM;
	for (size_t at = 0; (at = next_reached(p, state, at)) < p->n; at++) {
		const char *part = p->parts[at];
		bool stays = is_any(part);

		if (!part || !(stays ? hidden || *name != '.' : pattern_name(part, name, hidden)))
			continue;
		reach(p, s, stays ? at : at + 1);
		any_reached = true;
	}
	if (any_reached)
		*ret = s;
	else
		free(s);
	return 0;
}

int pattern_which(const struct pattern *p, const struct pattern_state *s)
{
	int which = -1, text = 0;

	for (size_t at = 0; (at = next_reached(p, s, at)) < p->n; at++) {
		while (at >= p->ends[text])
			text++;
		if (!p->parts[at])
			which = text;
	}
	return which;
}

bool pattern_ends(const struct pattern *p, const struct pattern_state *s)
{
	return pattern_which(p, s) >= 0;
}

bool pattern_goes_on(const struct pattern *p, const struct pattern_state *s)
{
	for (size_t at = 0; (at = next_reached(p, s, at)) < p->n; at++)
		if (p->parts[at])
			return true;
	return false;
}

bool pattern_same(const struct pattern_state *a, const struct pattern_state *b)
{
	if (!a || !b)
		return a == b;
	return memcmp(a->words, b->words, a->n * sizeof(a->words[0])) == 0;
}
