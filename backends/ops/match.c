/*
 * See match.h. Most patterns cannot match a newline, whatever the text: those search the whole text
 * at once, which is many times as fast as line after line. Which ones these are is decided
 * conservatively, by the few things that are known to be harmless.
 */
#include "match.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#define MATCH_LIMIT 1000000 /* backtracking steps of one search; a hundred milliseconds */
#define DEPTH_LIMIT 10000
#define HEAP_LIMIT_KIB (64 * 1024)
#define JIT_STACK_MAX (1024 * 1024)

struct match {
	pcre2_code *code;
	bool by_line;
};

struct match_thread {
	const struct match *match;
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

/* ---- Which patterns stay in a line ---- */

/* A class from its `[` on: its length where it is harmless, else 0. */
static size_t plain_class(const char *p)
{
	size_t n = 1;

	if (p[n] == '^' || p[n] == ']')
		return 0;
	for (; p[n] && p[n] != ']'; n++)
		if ((unsigned char)p[n] < ' ' || p[n] == '\\' || p[n] == '[')
			return 0;
	return p[n] ? n + 1 : 0;
}

static bool stays_in_line(const char *p)
{
	while (*p) {
		if (*p == '\\') {
			/* Words, digits, borders of words; punctuation as itself. */
			if (!p[1] || !(strchr("wdbB", p[1]) ||
				       strchr("\\^$.[]|()?*+{}/-\"'#&,:;<=>@_`~!% ", p[1])))
				return false;
			p += 2;
		} else if (*p == '[') {
			size_t n = plain_class(p);

			if (n == 0)
				return false;
			p += n;
		} else if (*p == '(' && (p[1] == '?' || p[1] == '*')) {
			return false;
		} else if ((unsigned char)*p < ' ' && *p != '\t') {
			return false;
		} else {
			p++;
		}
	}
	return true;
}

/* ---- Compiling ---- */

static pcre2_code *compile(const char *pattern, uint32_t options, int *ret_error,
			   PCRE2_SIZE *ret_offset)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code;

	if (!context) {
		*ret_error = PCRE2_ERROR_NOMEMORY;
		return NULL;
	}
	/* Whatever PCRE2 was built with. */
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, ret_error,
			     ret_offset, context);
	pcre2_compile_context_free(context);
	return code;
}

static bool is_utf_error(int error)
{
	return error <= PCRE2_ERROR_UTF8_ERR1 && error >= PCRE2_ERROR_UTF8_ERR21;
}

int match_new(const char *pattern, bool ignore_case, struct match **ret, struct err *err)
{
	uint32_t options =
	    PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | (ignore_case ? PCRE2_CASELESS : 0);
	struct match *m = calloc(1, sizeof(*m));
	PCRE2_UCHAR text[256];
	PCRE2_SIZE offset = 0;
	int error = 0;

	if (!m)
		return -ENOMEM;
	m->code = compile(pattern, options | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &error, &offset);
	/* A pattern of other bytes looks for these bytes. */
	if (!m->code && is_utf_error(error))
		m->code = compile(pattern, options, &error, &offset);
	if (!m->code) {
		free(m);
		pcre2_get_error_message(error, text, sizeof(text));
		return err_set(err, -EINVAL, "Error: Invalid regex pattern: %s at offset %zu",
			       (char *)text, (size_t)offset);
	}
	/* Where there is no JIT it is slower, and the same. */
	(void)pcre2_jit_compile(m->code, PCRE2_JIT_COMPLETE);
	m->by_line = !stays_in_line(pattern);
	*ret = m;
	return 0;
}

void match_free(struct match *m)
{
	if (!m)
		return;
	pcre2_code_free(m->code);
	free(m);
}

/* ---- Threads ---- */

int match_thread_new(const struct match *m, struct match_thread **ret)
{
	struct match_thread *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->match = m;
	t->data = pcre2_match_data_create(1, NULL); /* only where it begins is asked for */
	t->context = pcre2_match_context_create(NULL);
	t->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL);
	if (!t->data || !t->context || !t->stack) {
		match_thread_free(t);
		return -ENOMEM;
	}
	pcre2_set_match_limit(t->context, MATCH_LIMIT);
	pcre2_set_depth_limit(t->context, DEPTH_LIMIT);
	pcre2_set_heap_limit(t->context, HEAP_LIMIT_KIB);
	pcre2_jit_stack_assign(t->context, NULL, t->stack);
	*ret = t;
	return 0;
}

void match_thread_free(struct match_thread *t)
{
	if (!t)
		return;
	pcre2_match_data_free(t->data);
	pcre2_match_context_free(t->context);
	pcre2_jit_stack_free(t->stack);
	free(t);
}

/* ---- Searching ---- */

/* 1 and where the match begins, 0, or -errno. */
static int search(struct match_thread *t, const char *text, size_t len, size_t from, size_t *ret)
{
	int r = pcre2_match(t->match->code, (PCRE2_SPTR)text, len, from, 0, t->data, t->context);

	if (r >= 0) {
		*ret = pcre2_get_startchar(t->data);
		return 1;
	}
	switch (r) {
	case PCRE2_ERROR_NOMATCH:
		return 0;
	case PCRE2_ERROR_MATCHLIMIT:
	case PCRE2_ERROR_DEPTHLIMIT:
	case PCRE2_ERROR_HEAPLIMIT:
	case PCRE2_ERROR_JIT_STACKLIMIT:
		return -EOVERFLOW;
	default:
		return r == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -EIO;
	}
}

static size_t line_end(const char *text, size_t len, size_t at)
{
	const char *end = memchr(text + at, '\n', len - at);

	return end ? (size_t)(end - text) : len;
}

static int by_line(struct match_thread *t, const char *text, size_t len, size_t from,
		   size_t *ret_start, size_t *ret_end)
{
	for (size_t at = from; at < len;) {
		size_t end = line_end(text, len, at), where;
		int r = search(t, text + at, end - at, 0, &where);

		if (r != 0) {
			*ret_start = at;
			*ret_end = end;
			return r;
		}
		at = end + 1;
	}
	return 0;
}

int match_line(struct match_thread *t, const char *text, size_t len, size_t from, size_t *ret_start,
	       size_t *ret_end)
{
	const char *before;
	size_t at;
	int r;

	if (t->match->by_line)
		return by_line(t, text, len, from, ret_start, ret_end);
	if (from >= len)
		return 0;
	r = search(t, text, len, from, &at);
	/* After the last newline there is no line, though an empty match is there. */
	if (r <= 0 || (at == len && text[len - 1] == '\n'))
		return r < 0 ? r : 0;
	before = memrchr(text + from, '\n', at - from);
	*ret_start = before ? (size_t)(before - text) + 1 : from;
	*ret_end = line_end(text, len, at);
	return 1;
}
