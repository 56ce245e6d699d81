#include "package.h"

#include <string.h>

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGIT "0123456789"
#define ALNUM UPPER LOWER DIGIT

/* ---- Grammars: each takes a whole text ---- */

/* FIRST, then any of REST; -1 where S does not begin so, else the length. */
static int word(const char *s, const char *first, const char *rest)
{
	if (!*s || !strchr(first, *s))
		return -1;
	return 1 + strspn(s + 1, rest);
}

/* NAME[extra,…] and version specifiers with commas between, as PEP 508 without URLs and markers. */
static bool is_pip(const char *s)
{
	static const char *const operators[] = {"===", "==", "~=", "!=", "<=", ">=", "<", ">"};
	int n = word(s, ALNUM, ALNUM "._-");

	if (n < 0 || strchr("._-", s[n - 1]))
		return false;
	s += n;
	if (*s == '[') {
		do {
			n = word(++s, ALNUM, ALNUM "._-");
			if (n < 0)
				return false;
			s += n;
		} while (*s == ',');
		if (*s++ != ']')
			return false;
	}
	while (*s) {
		size_t i = 0;

		s += strspn(s, " ");
		while (i < sizeof(operators) / sizeof(*operators) &&
		       strncmp(s, operators[i], strlen(operators[i])) != 0)
			i++;
		if (i == sizeof(operators) / sizeof(*operators))
			return false;
		s += strlen(operators[i]);
		s += strspn(s, " ");
		n = word(s, ALNUM, ALNUM ".*+!_-");
		if (n < 0)
			return false;
		s += n;
		s += strspn(s, " ");
		if (*s && (*s++ != ',' || !*s))
			return false;
	}
	return true;
}

/* [@VERSION], which begins with one of FIRST. */
static bool is_version(const char *s, const char *first, const char *rest)
{
	int n;

	if (!*s)
		return true;
	if (*s++ != '@')
		return false;
	n = word(s, first, rest);
	return n > 0 && !s[n];
}

/* [@SCOPE/]NAME[@VERSION], where a version may be a range or a tag. */
static bool is_npm(const char *s)
{
	int n;

	if (*s == '@') {
		n = word(++s, LOWER DIGIT "_", LOWER DIGIT "._~-");
		if (n < 0 || s[n] != '/')
			return false;
		s += n + 1;
	}
	n = word(s, ALNUM, ALNUM "._~-");
	if (n < 0)
		return false;
	return is_version(s + n, ALNUM "^~<>=*", ALNUM ".^~<>=*|+ -");
}

/* NAME[:ARCHITECTURE][=VERSION | /RELEASE]. A dash at the end of a name means its removal. */
static bool is_apt(const char *s)
{
	int n = word(s, LOWER DIGIT, LOWER DIGIT "+.-");

	if (n < 2 || s[n - 1] == '-')
		return false;
	s += n;
	if (*s == ':') {
		n = word(++s, LOWER, LOWER DIGIT "-");
		if (n < 0 || s[n - 1] == '-')
			return false;
		s += n;
	}
	if (*s == '=')
		n = word(++s, DIGIT, ALNUM ".+~:-");
	else if (*s == '/')
		n = word(++s, LOWER, LOWER DIGIT "-");
	else
		n = 0;
	return n >= 0 && !s[n];
}

/* CRATE[@VERSION]. */
static bool is_cargo(const char *s)
{
	int n = word(s, UPPER LOWER, ALNUM "_-");

	return n >= 0 && is_version(s + n, DIGIT "^~=<>*", ALNUM ".^~<>=*+-");
}

/* ---- The table ---- */

static const struct manager {
	const char *name;
	bool (*is_package)(const char *s);
	const char *form;	      /* for messages */
	const char *const install[8]; /* before the packages */
} managers[] = {
    {"pip", is_pip, "NAME, NAME[EXTRA] or NAME==VERSION", {"pip", "install", "--no-cache-dir"}},
    {"npm", is_npm, "NAME, @SCOPE/NAME or NAME@VERSION", {"npm", "install", "-g"}},
    {"apt",
     is_apt,
     "NAME, NAME:ARCHITECTURE, NAME=VERSION or NAME/RELEASE",
     {"/bin/sh", "-c",
      "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "
      "--no-install-recommends \"$@\" && rm -rf /var/lib/apt/lists/*",
      "apt"}},
    {"cargo", is_cargo, "CRATE or CRATE@VERSION", {"cargo", "install", "--root", "/usr/local"}},
};

static const struct manager *find(const char *name)
{
	const struct manager *m = managers;

	while (strcmp(m->name, name) != 0)
		m++;
	return m;
}

int package_check(const char *manager, const char *package, struct err *err)
{
	const struct manager *m = find(manager);

	if (strlen(package) > PACKAGE_MAX)
		return err_set(err, -EINVAL, "a package is longer than %d bytes", PACKAGE_MAX);
	if (!m->is_package(package))
		return err_set(err, -EINVAL,
			       "\"%s\" is not a package of %s (%s; for anything else there are "
			       "\"setup_commands\")",
			       package, m->name, m->form);
	return 0;
}

cJSON *package_install(const char *manager, const cJSON *packages)
{
	const struct manager *m = find(manager);
	cJSON *argv = cJSON_CreateArray(), *item;
	const cJSON *v;

	for (size_t i = 0; argv && m->install[i]; i++) {
		item = cJSON_CreateString(m->install[i]);
		if (!cJSON_AddItemToArray(argv, item))
			goto fail;
	}
	cJSON_ArrayForEach (v, packages) {
		item = cJSON_CreateString(v->valuestring);
		if (!cJSON_AddItemToArray(argv, item))
			goto fail;
	}
	return argv;

fail:
	cJSON_Delete(item);
	cJSON_Delete(argv);
	return NULL;
}
