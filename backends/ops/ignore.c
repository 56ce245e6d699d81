/* See ignore.h. A rule without a slash looks at names alone, which is most of them. */
#include "ignore.h"

#include "base/pattern.h"

#include <string.h>

struct rule {
	char *name;		 /* a name at any depth */
	struct pattern *pattern; /* or a path */
	bool negated, dirs_only;
};

struct ignore {
	const struct ignore *parent;
	unsigned depth;
	struct rule *rules;
	size_t n;
	char *text; /* that they are of */
	size_t len;
};

/* Without blanks at its end that no backslash keeps. */
static size_t trimmed(const char *line, size_t len)
{
	if (len > 0 && line[len - 1] == '\r')
		len--;
	while (len > 0 && line[len - 1] == ' ' && !(len > 1 && line[len - 2] == '\\'))
		len--;
	return len;
}

static void rule_done(struct rule *rule)
{
	free(rule->name);
	pattern_free(rule->pattern);
}

/* Returns 0, or -ENOMEM; a rule that means nothing is left out. */
static int parse(const char *line, size_t len, struct rule *ret)
{
	_cleanup_free_ char *text = NULL;
	struct rule rule = {NULL};
	char *p;
	int r;

	if (len == 0 || *line == '#')
		return 0;
	rule.negated = *line == '!';
	line += rule.negated;
	len -= rule.negated;
	if (len > 1 && line[len - 1] == '/') {
		rule.dirs_only = true;
		len--;
	}
	text = strndup(line, len);
	if (!text)
		return -ENOMEM;
	p = text;
	if (!strchr(p, '/')) {
		rule.name = strcmp(p, "**") == 0 ? strdup("*") : strdup(p);
		r = rule.name ? 0 : -ENOMEM;
	} else {
		p += *p == '/';
		r = pattern_new(p, PATTERN_HIDDEN, &rule.pattern, NULL);
	}
	if (r == 0 && *p)
		*ret = rule;
	else
		rule_done(&rule);
	return r == -ENOMEM ? r : 0;
}

struct ignore *ignore_new(const struct ignore *parent, unsigned depth, const char *text, size_t len)
{
	struct ignore *i = calloc(1, sizeof(*i));
	size_t lines = 1;
	int r = 0;

	if (!i)
		return NULL;
	i->parent = parent;
	i->depth = depth;
	for (size_t k = 0; k < len; k++)
		lines += text[k] == '\n';
	i->rules = calloc(lines, sizeof(*i->rules));
	i->text = malloc(len + 1);
	if (i->text)
		memcpy(i->text, text, len);
	i->len = len;
	for (size_t at = 0; at < len && i->rules && r == 0;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = (end ? (size_t)(end - text) : len) - at;
		struct rule *rule = &i->rules[i->n];

		r = parse(text + at, trimmed(text + at, n), rule);
		i->n += rule->name || rule->pattern;
		at += n + 1;
	}
	if (!i->rules || !i->text || r < 0) {
		ignore_free(i);
		return NULL;
	}
	return i;
}

void ignore_free(struct ignore *i)
{
	if (!i)
		return;
	for (size_t k = 0; k < i->n; k++)
		rule_done(&i->rules[k]);
	free(i->rules);
	free(i->text);
	free(i);
}

const struct ignore *ignore_source(const struct ignore *i, unsigned *ret_depth,
				   const char **ret_text, size_t *ret_len)
{
	*ret_depth = i->depth;
	*ret_text = i->text;
	*ret_len = i->len;
	return i->parent;
}

bool ignore_matches(const struct ignore *i, const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (; i; i = i->parent) {
		const char *below = path;

		for (unsigned d = 0; d < i->depth; d++)
			below = strchr(below, '/') + 1;
		for (size_t k = i->n; k-- > 0;) {
			const struct rule *rule = &i->rules[k];

			if (rule->dirs_only && !is_dir)
				continue;
			if (rule->name ? pattern_name(rule->name, name, true)
				       : pattern_matches(rule->pattern, below))
				return !rule->negated;
		}
	}
	return false;
}
