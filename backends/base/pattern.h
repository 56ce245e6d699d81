/*
 * Patterns of paths: `*` and `?` within a name, classes `[a-z]` and `[!a]`, `**` for any number of
 * directories, none included, `{a,b}` for either. A backslash takes the next character as it is.
 */
#ifndef AIB_BASE_PATTERN_H
#define AIB_BASE_PATTERN_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	PATTERN_BRACES = 1 << 0, /* {a,b} */
	PATTERN_HIDDEN = 1 << 1, /* wildcards take a dot at the beginning of a name too */
};

struct pattern;

/* Returns 0, -EINVAL with text, -ENOMEM. */
int pattern_new(const char *text, unsigned flags, struct pattern **ret, struct err *err);
/* Another text: P is what any of them is. Results as pattern_new's; after a failure P is only to be
 * freed. */
int pattern_add(struct pattern *p, const char *text, struct err *err);
void pattern_free(struct pattern *p); /* takes NULL */

/* Whether PATH, relative, without empty components, is what P means. A name of more than 255 bytes
 * (NAME_MAX) matches nothing, here and in walks. */
bool pattern_matches(const struct pattern *p, const char *path);

/* How far a walk has come in the pattern: which of its positions are reached. */
struct pattern_state {
	size_t n;
	uint64_t words[]; /* a bit for each */
};

/* At the walk's beginning, and after NAME; NULL and -ENOMEM, or NULL and 0 where nothing below
 * matches any more. The caller frees it. */
int pattern_begin(const struct pattern *p, struct pattern_state **ret);
int pattern_step(const struct pattern *p, const struct pattern_state *s, const char *name,
		 struct pattern_state **ret);
/* Whether the names until here are all of it. */
bool pattern_ends(const struct pattern *p, const struct pattern_state *s);
/* Which of the texts they are all of, counted from 0: the last such one. -1: none. */
int pattern_which(const struct pattern *p, const struct pattern_state *s);

/* Whether anything below may be it. */
bool pattern_goes_on(const struct pattern *p, const struct pattern_state *s);

/* Whether the same matches below both places of one pattern. NULL: nothing does. */
bool pattern_same(const struct pattern_state *a, const struct pattern_state *b);

/* Whether NAME matches one component by itself. */
bool pattern_name(const char *component, const char *name, bool hidden);

#endif
