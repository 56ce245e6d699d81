/*
 * read, write, edit, ls, glob and grep: a command line by a table into a request, to the daemon of
 * the mount that the path is in; what it answers is the output as it is (backends/ops).
 */
#include "aib.h"

#include "ask.h"
#include "locate.h"
#include "operate.h"
#include "pattern_dir.h"

#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum kind { END, FLAG, NUMBER, STRING, CONTENT };

struct word {
	const char *name; /* of the option; in the request with `_` */
	enum kind kind;
	char letter; /* 0: none */
};

static const struct spec {
	const char *name;
	const char *pattern; /* the pattern's name in messages; NULL: there is none */
	bool needs_path, input;
	int failed; /* status where it could not be asked */
	struct word words[9];
} specs[] = {
    {"read",
     NULL,
     true,
     false,
     1,
     {{"offset", NUMBER}, {"limit", NUMBER}, {"raw", FLAG}, {"json", FLAG}}},
    {"write", NULL, true, true, 1, {{"content", CONTENT}, {"expect", STRING}, {"json", FLAG}}},
    {"edit",
     NULL,
     true,
     false,
     1,
     {{"old", STRING}, {"new", STRING}, {"replace-all", FLAG}, {"expect", STRING}, {"json", FLAG}}},
    {"ls", NULL, false, false, 1, {{"json", FLAG}}},
    {"glob",
     "PATTERN",
     false,
     false,
     1,
     {{"hidden", FLAG}, {"gitignore", FLAG}, {"sort", STRING}, {"max", NUMBER}, {"json", FLAG}}},
    {"grep",
     "PATTERN",
     false,
     false,
     2,
     {{"glob", STRING},
      {"mode", STRING},
      {"ignore-case", FLAG, 'i'},
      {"max", NUMBER},
      {"gitignore", FLAG},
      {"json", FLAG}}},
};

static const struct spec *find_spec(const char *name)
{
	const struct spec *s = specs;

	while (strcmp(s->name, name) != 0)
		s++;
	return s;
}

/* ---- The command line ---- */

struct line {
	const struct spec *spec;
	cJSON *request;
	const char *content;
	char *prefix; /* of a pattern; owned */
};

static int add_number(struct line *l, const char *key, const char *text, struct err *err)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n > 1ULL << 53)
		return err_set(err, -EINVAL, "%s: --%s %s: not a number", l->spec->name, key, text);
	cJSON_AddNumberToObject(l->request, key, n);
	return 0;
}

static int take_option(struct line *l, const struct word *w, const char *value, struct err *err)
{
	char key[32], *dash;

	snprintf(key, sizeof(key), "%s", w->name);
	while ((dash = strchr(key, '-')))
		*dash = '_';
	cJSON_DeleteItemFromObjectCaseSensitive(l->request, key);
	switch (w->kind) {
	case FLAG:
		cJSON_AddTrueToObject(l->request, key);
		return 0;
	case NUMBER:
		return add_number(l, key, value, err);
	case CONTENT:
		l->content = value;
		return 0;
	default:
		cJSON_AddStringToObject(l->request, key, value);
		return 0;
	}
}

static int parse_options(struct line *l, int argc, char **argv, struct err *err)
{
	struct option options[ARRAY_SIZE(l->spec->words) + 1] = {{NULL}};
	char letters[2 * ARRAY_SIZE(l->spec->words) + 1] = "";
	int c, r = 0;

	for (size_t i = 0; l->spec->words[i].kind != END; i++) {
		const struct word *w = &l->spec->words[i];

		options[i] = (struct option){w->name, w->kind != FLAG, NULL, 256 + (int)i};
		if (w->letter)
			strncat(letters, &w->letter, 1);
	}
	optind = 1;
	while (r == 0 && (c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		const struct word *w = c >= 256 ? &l->spec->words[c - 256] : NULL;

		for (size_t i = 0; !w && l->spec->words[i].kind != END; i++)
			if (l->spec->words[i].letter == c)
				w = &l->spec->words[i];
		if (w) {
			r = take_option(l, w, optarg, err);
		} else {
			aib_see_help(l->spec->name);
			r = -EINVAL;
		}
	}
	return r;
}

/* The directories that a pattern names as they are, before its first wildcard. */
static int split_pattern(struct line *l, const char **pattern, const char **path)
{
	int r = pattern_dir(*pattern, &l->prefix, pattern);

	if (r < 0 || !l->prefix)
		return r;
	*path = l->prefix;
	cJSON_AddTrueToObject(l->request, "missing_ok");
	return 0;
}

static int parse_names(struct line *l, int argc, char **argv, const char **ret_path,
		       struct err *err)
{
	const struct spec *s = l->spec;
	const char *pattern = NULL, *path = "";
	int n = argc - optind, most = 1 + (s->pattern != NULL);

	if (n > most || n < (s->pattern != NULL) + s->needs_path)
		return err_set(err, -EINVAL, "%s takes %s%s (aib %s --help)", s->name,
			       s->pattern ? "a pattern and " : "",
			       s->needs_path ? "a path" : "at most a path", s->name);
	if (s->pattern)
		pattern = argv[optind++];
	if (optind < argc)
		path = argv[optind];
	else if (strcmp(s->name, "glob") == 0 && split_pattern(l, &pattern, &path) < 0)
		return -ENOMEM;
	if (optind < argc && !*path)
		return err_set(err, -ENOENT, "%s: the path is empty", s->name);
	if (pattern)
		cJSON_AddStringToObject(l->request, "pattern", pattern);
	if (strcmp(s->name, "edit") == 0 &&
	    (!cJSON_HasObjectItem(l->request, "old") || !cJSON_HasObjectItem(l->request, "new")))
		return err_set(err, -EINVAL, "edit wants --old and --new (aib edit --help)");
	*ret_path = path;
	return 0;
}

/* ---- All of it ---- */

static int run(struct line *l, const char *path, struct err *err)
{
	_cleanup_registry_mount_ struct registry_mount m = {0};
	_cleanup_free_ char *at = NULL;
	int fd, status, r = locate(path, &m, &at, err);

	if (r < 0)
		return r;
	cJSON_AddStringToObject(l->request, "op", l->spec->name);
	cJSON_AddStringToObject(l->request, "at", at);
	cJSON_AddStringToObject(l->request, "path", path);
	if (l->spec->input) {
		mode_t mask = umask(0);

		umask(mask);
		cJSON_AddNumberToObject(l->request, "umask", mask);
	}
	fd = registry_connect(&m, err);
	if (fd < 0)
		return fd;
	status = operate(fd, l->request, l->content, err);
	close(fd);
	return status;
}

int cmd_operation(int argc, char **argv)
{
	struct line l = {.spec = find_spec(argv[0]), .request = cJSON_CreateObject()};
	struct err err = {""};
	const char *path = "";
	int r = parse_options(&l, argc, argv, &err), status = 2;

	if (r == 0)
		r = parse_names(&l, argc, argv, &path, &err);
	if (r < 0) {
		aib_fail(&err);
	} else {
		status = run(&l, path, &err);
		if (status < 0) {
			aib_fail(&err);
			status = l.spec->failed;
		}
	}
	cJSON_Delete(l.request);
	free(l.prefix);
	return status;
}
