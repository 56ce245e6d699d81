/*
 * Command lines and the environment: `-r`, `-o` and AIB_… become the JSON that the file would
 * have, so that there is one way to check them. In both lists a comma ends a value; `\,` is a comma
 * and `\\` a backslash.
 */
#include "config.h"

#include "base/suggest.h"

#include <ctype.h>
#include <string.h>

/* ---- Lists ---- */

/* The next part of a comma-separated list, unescaped, in *RET (the caller's). Advances *P; 0 at the
 * end of the list, 1, or -ENOMEM. */
static int next_part(const char **p, char **ret)
{
	const char *s = *p;
	char *out, *o;

	if (!s)
		return 0;
	out = o = malloc(strlen(s) + 1);
	if (!out)
		return -ENOMEM;
	for (; *s && *s != ','; s++) {
		if (s[0] == '\\' && (s[1] == ',' || s[1] == '\\'))
			s++;
		*o++ = *s;
	}
	*o = '\0';
	*p = *s ? s + 1 : NULL;
	*ret = out;
	return 1;
}

/* ---- -r ---- */

/* Keys that may repeat and become one object: WORD=LEFT<sep>RIGHT is {"LEFT": "RIGHT"} in KEY. */
static const struct {
	const char *word, *key;
	char separator;
} collected[] = {
    {"env", "env", '='},
    {"volume", "volumes", ':'},
    {"volumes", "volumes", ':'},
};

static int collect(cJSON *obj, const char *key, char separator, char *value, struct err *err)
{
	cJSON *map = cJSON_GetObjectItemCaseSensitive(obj, key);
	char *right = strchr(value, separator);

	if (!right || right == value)
		return err_set(err, -EINVAL, "\"%s\" wants NAME%cVALUE", key, separator);
	*right++ = '\0';
	if (!map)
		map = cJSON_AddObjectToObject(obj, key);
	if (!map)
		return -ENOMEM;
	if (cJSON_GetObjectItemCaseSensitive(map, value))
		return err_set(err, -EINVAL, "\"%s\" has %s twice", key, value);
	return cJSON_AddStringToObject(map, value, right) ? 0 : -ENOMEM;
}

static bool is_json(const struct option *table, const char *key)
{
	for (const struct option *o = table; o && o->key; o++)
		if (strcmp(o->key, key) == 0)
			return o->type == OPTION_JSON;
	return false;
}

static bool takes_json(const struct bk_type *type, const char *key)
{
	return is_json(type->options, key) || is_json(config_route_table, key);
}

/* A key a second time: a list, where the type takes any JSON. */
static int repeat(cJSON *obj, cJSON *old, const char *key, const char *value)
{
	cJSON *list = old, *item = cJSON_CreateString(value);

	if (item && !cJSON_IsArray(old)) {
		list = cJSON_CreateArray();
		if (list && !cJSON_AddItemToArray(list, cJSON_Duplicate(old, true)))
			cJSON_Delete(TAKE(list));
		if (list && !cJSON_ReplaceItemInObjectCaseSensitive(obj, key, list))
			cJSON_Delete(TAKE(list));
	}
	if (item && list && cJSON_AddItemToArray(list, item))
		return 0;
	cJSON_Delete(item);
	return -ENOMEM;
}

static int add_value(cJSON *obj, const struct bk_type *type, const char *key, char *value,
		     struct err *err)
{
	cJSON *old;

	for (size_t i = 0; i < ARRAY_SIZE(collected); i++)
		if (strcmp(key, collected[i].word) == 0 && takes_json(type, collected[i].key))
			return collect(obj, collected[i].key, collected[i].separator, value, err);
	old = cJSON_GetObjectItemCaseSensitive(obj, key);
	if (old && !takes_json(type, key))
		return err_set(err, -EINVAL, "the key \"%s\" is there twice", key);
	if (old)
		return repeat(obj, old, key, value);
	return cJSON_AddStringToObject(obj, key, value) ? 0 : -ENOMEM;
}

/* TYPE[:SOURCE] into OBJ, the type in *RET. */
static int add_type(cJSON *obj, char *text, const struct bk_type **ret, struct err *err)
{
	char *source = strchr(text, ':');
	int r;

	if (source)
		*source++ = '\0';
	r = bk_type_find(text, ret, err);
	if (r < 0)
		return r;
	if (!cJSON_AddStringToObject(obj, "type", text))
		return -ENOMEM;
	if (!source)
		return 0;
	if (!(*ret)->source_key)
		return err_set(err, -EINVAL, "type %s takes no source (\":%s\")", text, source);
	return cJSON_AddStringToObject(obj, (*ret)->source_key, source) ? 0 : -ENOMEM;
}

int config_parse_route(const char *text, char **ret_path, cJSON **ret_obj, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *obj = cJSON_CreateObject();
	_cleanup_free_ char *path = NULL;
	const struct bk_type *type = NULL;
	const char *rest = strchr(text, '=');
	int r, n;

	if (!rest || rest == text)
		return err_set(err, -EINVAL,
			       "a route is PATH=TYPE[:SOURCE][,KEY=VALUE]…, not \"%s\"", text);
	path = strndup(text, rest++ - text);
	if (!path || !obj)
		return -ENOMEM;
	for (unsigned i = 0;; i++) {
		_cleanup_free_ char *part = NULL;
		char *value;

		n = next_part(&rest, &part);
		if (n <= 0)
			break;
		value = strchr(part, '=');
		if (i == 0) {
			r = add_type(obj, part, &type, err);
		} else {
			if (value)
				*value++ = '\0';
			r = *part ? add_value(obj, type, part, value ? value : part + strlen(part),
					      err)
				  : err_set(err, -EINVAL, "an empty key");
		}
		if (r < 0)
			return r == -EINVAL ? err_prefix(err, r, "-r %s", path) : r;
	}
	if (n < 0)
		return n;
	*ret_path = TAKE(path);
	*ret_obj = TAKE(obj);
	return 0;
}

int config_add_route(struct config *c, const char *text, struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *obj = NULL;
	_cleanup_free_ char *path = NULL, *place = NULL;
	int r = config_parse_route(text, &path, &obj, err);

	if (r < 0)
		return r;
	if (asprintf(&place, "-r %s", path) < 0)
		return -ENOMEM;
	return config_add_route_json(c, path, obj, place, CONFIG_LAYER_FLAG, err);
}

/* ---- -o and the environment ---- */

/* What mount(8), fstab(5) and libfuse's mount.fuse3 put into -o and what is always so. */
static bool is_mount_word(const char *key)
{
	static const char *const words[] = {
	    "rw",	   "defaults", "exec",	   "dev",     "suid",
	    "nodev",	   "nosuid",   "auto",	   "noauto",  "user",
	    "nouser",	   "users",    "owner",	   "group",   "_netdev",
	    "nofail",	   "async",    "relatime", "noatime", "nodiratime",
	    "strictatime", "lazytime", "comment",  "fsname",  "default_permissions",
	};

	if (strncmp(key, "x-", 2) == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(key, words[i]) == 0)
			return true;
	return false;
}

static const struct option *find_option(const char *key)
{
	const struct option *o = config_option_table;

	while (o->key && strcmp(o->key, key) != 0)
		o++;
	return o->key ? o : NULL;
}

static int unknown_option(const char *key, struct err *err)
{
	struct suggest s = {.word = key};
	_cleanup_buf_ struct buf known = BUF_INIT(1024);

	for (const struct option *o = config_option_table; o->key; o++) {
		suggest_offer(&s, o->key);
		(void)buf_addf(&known, "%s%s", known.len ? ", " : "", o->key);
	}
	if (s.best)
		return err_set(err, -EINVAL, "-o: unknown option \"%s\" (did you mean \"%s\"?)",
			       key, s.best);
	return err_set(err, -EINVAL, "-o: unknown option \"%s\" (options: %s)", key, known.data);
}

static int set_option(struct config *c, const char *key, const char *value, const char *place,
		      struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *obj = cJSON_CreateObject();
	int r;

	if (!cJSON_AddStringToObject(obj, key, value))
		return -ENOMEM;
	r = options_parse(config_option_table, obj, &c->opt, err);
	return r == -EINVAL ? err_prefix(err, r, "%s", place) : r;
}

int config_add_options(struct config *c, const char *text, struct err *err)
{
	_cleanup_free_ char *part = NULL;
	int n, r = 0;

	while (r == 0 && (n = next_part(&text, &part)) > 0) {
		_cleanup_free_ char *key = TAKE(part);
		char *value = strchr(key, '=');

		if (value)
			*value++ = '\0';
		if (!*key || (!find_option(key) && is_mount_word(key)))
			continue;
		r = find_option(key) ? set_option(c, key, value ? value : "", "-o", err)
				     : unknown_option(key, err);
	}
	return r < 0 ? r : n;
}

int config_add_env(struct config *c, struct err *err)
{
	for (const struct option *o = config_option_table; o->key; o++) {
		char name[64];
		const char *value;
		size_t n = snprintf(name, sizeof(name), "AIB_%s", o->key);
		int r;

		for (size_t i = 0; i < n && i < sizeof(name); i++)
			name[i] = toupper((unsigned char)name[i]);
		value = getenv(name);
		if (!value || !*value)
			continue;
		r = set_option(c, o->key, value, name, err);
		if (r < 0)
			return r;
	}
	return 0;
}
