/* Patterns of paths and of lines: tables, and what no pattern may do. */
#include "base/pattern.h"
#include "ops/match.h"
#include "test.h"

#include <errno.h>

static void names_match(void)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} cases[] = {
	    {"*", "a", true},
	    {"*", ".a", false},
	    {".*", ".a", true},
	    {"a*c", "abbc", true},
	    {"a*c", "abb", false},
	    {"?", "\xc3\xa9", true},
	    {"??", "\xc3\xa9", false},
	    {"[a-c]x", "bx", true},
	    {"[!a-c]x", "bx", false},
	    {"[!a]x", "bx", true},
	    {"[]]", "]", true},
	    {"[a", "[a", true},
	    {"[!]]", "]", false},
	    {"\\*", "*", true},
	    {"\\*", "a", false},
	    {"[a-]", "-", true},
	    {"a\\", "a\\", true},
	    {"**", "abc", true},
	    {"[[]x]", "[x]", true},
	    {"", "", true},
	    {"*a*b*c*", "xaxbxcx", true},
	    {"*a*b*c*", "xaxcxbx", false},
	    {"?", ".", false},
	    {"[.]a", ".a", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool is = pattern_name(cases[i].pattern, cases[i].name, false);

		if (is != cases[i].want)
			fprintf(stderr, "%s, %s\n", cases[i].pattern, cases[i].name);
		CHECK_EQ(is, cases[i].want);
	}
}

static void paths_match(void)
{
	static const struct {
		const char *pattern, *path;
		bool want;
	} cases[] = {
	    {"**/*.c", "a.c", true},	   {"**/*.c", "x/y/a.c", true},
	    {"**/*.c", "x/.y/a.c", false}, {"a/**", "a", false},
	    {"a/**", "a/b", true},	   {"a/**", "a/b/c", true},
	    {"a/**/b", "a/b", true},	   {"a/**/b", "a/x/y/b", true},
	    {"a/**/b", "a/x/y/c", false},  {"**/a/**/b", "a/a/x/b", true},
	    {"{a,b/c}/d", "b/c/d", true},  {"{a,b}{1,2}", "b2", true},
	    {"{a,b}{1,2}", "b3", false},   {"x{,y}", "x", true},
	    {"x{y}", "x{y}", true},	   {"./a//b", "a/b", true},
	    {"{a,{b,c}}", "c", true},	   {"\\{a,b\\}", "{a,b}", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pattern *p;

		CHECK_EQ(pattern_new(cases[i].pattern, PATTERN_BRACES, &p, NULL), 0);
		if (pattern_matches(p, cases[i].path) != cases[i].want)
			fprintf(stderr, "%s, %s\n", cases[i].pattern, cases[i].path);
		CHECK_EQ(pattern_matches(p, cases[i].path), cases[i].want);
		pattern_free(p);
	}
}

/* The state after the names of PATH; NULL: nothing matches below. */
static struct pattern_state *walk(const struct pattern *p, const char *path)
{
	struct pattern_state *s, *next;
	char name[64];

	CHECK_EQ(pattern_begin(p, &s), 0);
	for (size_t n; s && *path; path += n + (path[n] == '/')) {
		n = strcspn(path, "/");
		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		CHECK_EQ(pattern_step(p, s, name, &next), 0);
		free(s);
		s = next;
	}
	return s;
}

/* Of several texts that are gone through together, the last one that matches; -1 for none. */
static void the_last_text_that_matches_is_told(void)
{
	static const char *const texts[] = {"**/*.key", "a/**", "{x,y}/b", "**/pub.key", "/"};
	static const struct {
		const char *path;
		int want;
	} cases[] = {{"", 4},	  {"k.key", 0},	 {"a", -1},	   {"a/k.key", 1},
		     {"x/b", 2},  {"y/b", 2},	 {"a/pub.key", 3}, {"q/pub.key", 3},
		     {"y/c", -1}, {"x/b/c", -1}, {"a/b/c/d", 1},   {"pub.key/x", -1}};
	struct pattern *p;

	CHECK_EQ(pattern_new(texts[0], PATTERN_BRACES | PATTERN_HIDDEN, &p, NULL), 0);
	for (size_t i = 1; i < ARRAY_SIZE(texts); i++)
		CHECK_EQ(pattern_add(p, texts[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pattern_state *s = walk(p, cases[i].path);

		if ((s ? pattern_which(p, s) : -1) != cases[i].want)
			fprintf(stderr, "%s\n", cases[i].path);
		CHECK_EQ(s ? pattern_which(p, s) : -1, cases[i].want);
		free(s);
	}
	pattern_free(p);
}

/* More positions than bits of a word, and places where the same matches below. */
static void places_are_compared(void)
{
	struct pattern_state *a, *b, *c;
	char text[16];
	struct pattern *p;

	CHECK_EQ(pattern_new("**/x", PATTERN_HIDDEN, &p, NULL), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "d/e%d/f", i);
		CHECK_EQ(pattern_add(p, text, NULL), 0);
	}
	a = walk(p, "d/e77");
	b = walk(p, "d/e78");
	c = walk(p, "q");
	CHECK(!pattern_same(a, b));
	CHECK(!pattern_same(b, c));
	CHECK(!pattern_same(c, NULL));
	free(b);
	b = walk(p, "r/s/t");
	CHECK(pattern_same(b, c));
	free(b);
	b = walk(p, "d/e99/f");
	CHECK_EQ(pattern_which(p, b), 100);
	free(a);
	free(b);
	free(c);
	pattern_free(p);
}

static void patterns_without_end_are_refused(void)
{
	char text[256] = "";
	struct pattern *p;
	struct err err;

	for (int i = 0; i < 20; i++)
		strcat(text, "{a,b,c}");
	CHECK_EQ(pattern_new(text, PATTERN_BRACES, &p, &err), -EINVAL);
	CHECK_EQ(pattern_new("a/../b", 0, &p, &err), -EINVAL);
}

/* The lines of TEXT that match, as their numbers, must be those that match one by one. */
static void check_lines(const char *pattern, const char *text, size_t len)
{
	struct match *m;
	struct match_thread *t;
	size_t from = 0, at = 0, start, end, s, e;

	CHECK_EQ(match_new(pattern, false, &m, NULL), 0);
	CHECK_EQ(match_thread_new(m, &t), 0);
	while (at < len) {
		const char *nl = memchr(text + at, '\n', len - at);
		size_t line_end = nl ? (size_t)(nl - text) : len;

		if (match_line(t, text + at, line_end - at, 0, &s, &e) == 1 || line_end == at) {
			int r = match_line(t, text, len, from, &start, &end);

			/* An empty line alone cannot be asked for. */
			if (line_end == at && (r != 1 || start != at)) {
				at = line_end + 1;
				continue;
			}
			CHECK_EQ(r, 1);
			CHECK_EQ(start, at);
			CHECK_EQ(end, line_end);
			from = end + 1;
		}
		at = line_end + 1;
	}
	CHECK_EQ(match_line(t, text, len, from, &start, &end), 0);
	match_thread_free(t);
	match_free(m);
}

static void lines_match_by_themselves(void)
{
	static const char text[] = "foo\nbar baz\r\n\n a\tb\nfoo bar\n\xff\xfe foo\nx";
	static const char *const patterns[] = {
	    "foo", "^foo$",  "o\\b",	    "[a-c]", "b.r", "^", "$",	    "x*",	"foo\\s",
	    "\\s", "[^o]+$", "(?<!\\s)bar", "a|b",   "^$",  ".", "(?s)o.b", "\\w+ \\w+"};

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
		check_lines(patterns[i], text, sizeof(text) - 1);
}

static void runaway_patterns_end(void)
{
	static const char *const patterns[] = {"(a+)+$",	   "(a|aa)+$",
					       "(?:a?){40}a{40}b", "^(([a-z])+.)+[A-Z]([a-z])+$",
					       "(?<x>a(?&x)?)+$",  "(a*)*\\1b"};
	char text[4096];

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '!';
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct match_thread *t;
		struct match *m;
		size_t start, end;
		int r;

		CHECK_EQ(match_new(patterns[i], false, &m, NULL), 0);
		CHECK_EQ(match_thread_new(m, &t), 0);
		r = match_line(t, text, sizeof(text), 0, &start, &end);
		CHECK(r == 0 || r == -EOVERFLOW);
		match_thread_free(t);
		match_free(m);
	}
}

static void bad_patterns_say_where(void)
{
	struct match *m;
	struct err err;

	CHECK_EQ(match_new("a(b", false, &m, &err), -EINVAL);
	CHECK_STR(err.text,
		  "Error: Invalid regex pattern: missing closing parenthesis at offset 3");
}

int main(void)
{
	names_match();
	paths_match();
	the_last_text_that_matches_is_told();
	places_are_compared();
	patterns_without_end_are_refused();
	lines_match_by_themselves();
	runaway_patterns_end();
	bad_patterns_say_where();
	return 0;
}
