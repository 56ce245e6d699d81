/* Sets of rules out of JSON and back. What a rule's pattern is of is made plain here once: a name
 * at any depth becomes a path. */
#include "ruleset.h"

#include "base/suggest.h"
#include "presets.h"

#include <cjson/cJSON.h>
#include <string.h>

static const struct {
	const char *name;
	int verdict;
} verbs[] = {{"allow", 0}, {"deny", -EACCES}, {"readonly", -EROFS}};

static const char *verb_of(int verdict)
{
	size_t i = 0;

	while (verbs[i].verdict != verdict)
		i++;
	return verbs[i].name;
}

/* ---- One rule ---- */

/* Whether GLOB, of LEN bytes without slashes at its end, is all of the route. */
static bool is_all(const char *glob, size_t len)
{
	size_t slashes = strspn(glob, "/");

	return slashes >= len || (len - slashes == 2 && strncmp(glob + slashes, "**", 2) == 0);
}

/* GLOB as a pattern of whole paths: the caller's; NULL: memory is out. */
static char *as_path(const char *glob)
{
	size_t len = strlen(glob);
	char *path;

	while (len > 0 && glob[len - 1] == '/')
		len--;
	if (is_all(glob, len))
		return strdup("");
	if (asprintf(&path, "%s%.*s", memchr(glob, '/', len) ? "" : "**/", (int)len, glob) < 0)
		return NULL;
	return path;
}

static int add_to_pattern(struct rules *r, const char *glob, struct err *err)
{
	_cleanup_free_ char *path = as_path(glob);
	int e = -ENOMEM;

	if (path && r->pattern)
		e = pattern_add(r->pattern, path, NULL);
	else if (path)
		e = pattern_new(path, PATTERN_BRACES | PATTERN_HIDDEN, &r->pattern, NULL);
	if (e == -EINVAL)
		return err_set(err, e,
			       "the pattern \"%s\" has \"..\", or there are more than 1024 "
			       "alternatives in all",
			       glob);
	return e;
}

static int add_rule(struct rules *r, const char *verb, size_t verb_len, const char *glob,
		    struct err *err)
{
	struct rule *more;
	size_t i = 0;

	while (i < ARRAY_SIZE(verbs) &&
	       (strlen(verbs[i].name) != verb_len || strncmp(verbs[i].name, verb, verb_len) != 0))
		i++;
	if (i == ARRAY_SIZE(verbs))
		return err_set(err, -EINVAL, "\"%.*s\" is none of allow, deny and readonly",
			       (int)verb_len, verb);
	if (!*glob || strcmp(glob, ".") == 0)
		return err_set(err, -EINVAL, "%s: \"%s\" is no pattern (\"/\" is all of the route)",
			       verbs[i].name, glob);
	more = reallocarray(r->list, r->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	r->list = more;
	more[r->n] = (struct rule){verbs[i].verdict, strdup(glob)};
	if (!more[r->n].glob)
		return -ENOMEM;
	r->n++;
	return add_to_pattern(r, glob, err);
}

/* ---- Lists ---- */

static int add_text(struct rules *r, const char *text, struct err *err);

static int add_preset(struct rules *r, const char *name, struct err *err)
{
	struct suggest s = {.word = name};
	const struct preset *p = presets;
	int e = 0;

	for (; p->name && strcmp(p->name, name) != 0; p++)
		suggest_offer(&s, p->name);
	if (!p->name && s.best)
		return err_set(err, -EINVAL, "unknown preset \"%s\" (did you mean \"%s\"?)", name,
			       s.best);
	if (!p->name)
		return err_set(err, -EINVAL,
			       "\"%s\" is neither VERB:PATTERN nor a preset (read-only, workspace, "
			       "secrets-hidden)",
			       name);
	for (size_t i = 0; p->rules[i] && e == 0; i++)
		e = add_text(r, p->rules[i], err);
	return e;
}

static int add_text(struct rules *r, const char *text, struct err *err)
{
	const char *colon = strchr(text, ':');

	return colon ? add_rule(r, text, colon - text, colon + 1, err) : add_preset(r, text, err);
}

static int add_json(struct rules *r, const cJSON *v, struct err *err)
{
	const cJSON *only = v->child;

	if (cJSON_IsString(v))
		return add_text(r, v->valuestring, err);
	if (cJSON_IsObject(v) && only && !only->next && cJSON_IsString(only))
		return add_rule(r, only->string, strlen(only->string), only->valuestring, err);
	return err_set(err, -EINVAL,
		       "a rule is \"PRESET\", \"VERB:PATTERN\" or {\"VERB\": \"PATTERN\"}");
}

int rules_parse(const cJSON *json, struct rules **ret, struct err *err)
{
	_cleanup_(rules_freep) struct rules *r = calloc(1, sizeof(*r));
	const cJSON *v;
	int e = 0;

	if (!r)
		return -ENOMEM;
	if (cJSON_IsArray(json)) {
		for (v = json->child; v && e == 0; v = v->next)
			e = add_json(r, v, err);
		if (e == 0 && r->n == 0)
			e = err_set(err, -EINVAL, "the list is empty");
	} else {
		e = add_json(r, json, err);
	}
	if (e < 0)
		return e;
	*ret = TAKE(r);
	return 0;
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		free(r->list[i].glob);
	free(r->list);
	pattern_free(r->pattern);
	free(r);
}

/* ---- Looking at one ---- */

cJSON *rules_show(const struct rules *r)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < r->n && list; i++) {
		cJSON *rule = cJSON_CreateObject();

		if (!cJSON_AddStringToObject(rule, verb_of(r->list[i].verdict), r->list[i].glob) ||
		    !cJSON_AddItemToArray(list, rule)) {
			cJSON_Delete(rule);
			cJSON_Delete(TAKE(list));
		}
	}
	return list;
}

bool rules_same(const struct rules *a, const struct rules *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->list[i].verdict != b->list[i].verdict ||
		    strcmp(a->list[i].glob, b->list[i].glob) != 0)
			return false;
	return true;
}

bool rules_only_readonly(const struct rules *r)
{
	size_t i = r->n;

	while (i > 0 && r->list[i - 1].verdict == -EROFS) {
		const char *glob = r->list[--i].glob;
		_cleanup_free_ char *path = as_path(glob);

		if (path && !*path)
			return true;
	}
	return false;
}
