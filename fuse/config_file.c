/*
 * The configuration file: JSON with "routes", "options", "engines" and "runtimes". A file may come
 * from anywhere, so its size and nesting are bounded and a key that is there twice is an error.
 */
#include "config.h"

#include "base/suggest.h"
#include "docker/engine.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Line and column (from 1) of byte POS. */
static int syntax_error(const char *name, const char *text, size_t pos, struct err *err)
{
	unsigned line = 1, column = 1;

	for (size_t i = 0; i < pos; i++) {
		column = text[i] == '\n' ? 1 : column + 1;
		line += text[i] == '\n';
	}
	return err_set(err, -EINVAL, "%s: line %u, column %u: not valid JSON", name, line, column);
}

/* cJSON would keep both, and the reader could not tell which one counts. */
static int check_twice(const cJSON *obj, struct err *err)
{
	const cJSON *v;
	int r = 0;

	cJSON_ArrayForEach (v, obj) {
		if (v->string && cJSON_GetObjectItemCaseSensitive(obj, v->string) != v)
			return err_set(err, -EINVAL, "the key \"%s\" is there twice", v->string);
		r = check_twice(v, err);
		if (r < 0)
			return v->string ? err_prefix(err, r, "%s", v->string) : r;
	}
	return 0;
}

static int add_routes(struct config *c, const char *name, const cJSON *routes, struct err *err)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, routes) {
		_cleanup_free_ char *place = NULL;
		int r;

		if (asprintf(&place, "%s: routes: %s", name, v->string) < 0)
			return -ENOMEM;
		r = config_add_route_json(c, v->string, v, place, CONFIG_LAYER_FILE, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_engines(struct config *c, const char *name, const cJSON *engines, struct err *err)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, engines) {
		_cleanup_(engine_conf_done) struct engine_conf conf = {0};
		int r = 0;

		if (!*v->string || strstr(v->string, "://"))
			r = err_set(err, -EINVAL, "not a name for an engine");
		if (r == 0)
			r = config_check_keys(v, engine_options, NULL, err);
		if (r == 0)
			r = engine_conf_parse(v, &conf, err);
		if (r < 0)
			return err_prefix(err, r, "%s: engines: %s", name, v->string);
	}
	cJSON_Delete(c->engines);
	c->engines = cJSON_Duplicate(engines, true);
	return c->engines ? 0 : -ENOMEM;
}

static int add_part(struct config *c, const char *name, const cJSON *part, struct err *err)
{
	static const char *const parts[] = {"routes", "options", "engines", "runtimes"};
	struct suggest s = {.word = part->string};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parts) && strcmp(parts[i], part->string) != 0; i++)
		suggest_offer(&s, parts[i]);
	if (i == ARRAY_SIZE(parts) && s.best)
		return err_set(err, -EINVAL, "%s: unknown key \"%s\" (did you mean \"%s\"?)", name,
			       part->string, s.best);
	if (i == ARRAY_SIZE(parts))
		return err_set(err, -EINVAL,
			       "%s: unknown key \"%s\" (keys: routes, options, engines, runtimes)",
			       name, part->string);
	if (!cJSON_IsObject(part))
		return err_set(err, -EINVAL, "%s: \"%s\" must be an object", name, part->string);
	if (i == 0)
		return add_routes(c, name, part, err);
	if (i == 1) {
		int r = config_check_keys(part, config_option_table, NULL, err);

		if (r == 0)
			r = options_parse(config_option_table, part, &c->opt, err);
		return r < 0 ? err_prefix(err, r, "%s: options", name) : 0;
	}
	if (i == 2)
		return add_engines(c, name, part, err);
	cJSON_Delete(c->runtimes);
	c->runtimes = cJSON_Duplicate(part, true);
	return c->runtimes ? 0 : -ENOMEM;
}

int config_add_json(struct config *c, const char *name, const char *text, size_t len,
		    struct err *err)
{
	_cleanup_(cJSON_Deletep) cJSON *doc = NULL;
	_cleanup_free_ char *copy = strndup(text, len); /* cJSON wants to see the NUL */
	const char *end = NULL;
	const cJSON *part;
	int r;

	if (!copy)
		return -ENOMEM;
	if (strlen(copy) != len)
		return syntax_error(name, copy, strlen(copy), err);
	doc = cJSON_ParseWithLengthOpts(copy, len + 1, &end, true);
	if (!doc)
		return syntax_error(name, copy, end ? end - copy : 0, err);
	if (!cJSON_IsObject(doc))
		return err_set(err, -EINVAL, "%s: must be a JSON object", name);
	r = check_twice(doc, err);
	if (r < 0)
		return err_prefix(err, r, "%s", name);
	cJSON_ArrayForEach (part, doc) {
		r = add_part(c, name, part, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int config_add_file(struct config *c, const char *path, struct err *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT(CONFIG_MAX_FILE + 1);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = 1;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "%s: %s", path, strerror(EISDIR));
	while (n > 0 && text.len <= CONFIG_MAX_FILE) {
		char part[4096];

		n = read(fd, part, sizeof(part));
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			return err_set(err, -errno, "%s: %s", path, strerror(errno));
		else if (n > 0 && (r = buf_add(&text, part, n)) == -E2BIG)
			break;
		else if (n > 0 && r < 0)
			return r;
	}
	if (n > 0)
		return err_set(err, -EINVAL, "%s: larger than %d bytes", path, CONFIG_MAX_FILE);
	return config_add_json(c, path, text.data ? text.data : "", text.len, err);
}
