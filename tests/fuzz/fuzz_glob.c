/* A pattern and a path: a walk of the path, name by name, comes to what the whole path says. */
#include "base/pattern.h"
#include "fuzz.h"

#define FLAGS (PATTERN_BRACES | PATTERN_HIDDEN)

/* PATH without empty components. */
static void tidy(char *path)
{
	char *to = path;

	for (const char *from = path; *from; from++)
		if (*from != '/' || (to > path && to[-1] != '/'))
			*to++ = *from;
	if (to > path && to[-1] == '/')
		to--;
	*to = '\0';
}

static bool walk(const struct pattern *p, char *path)
{
	struct pattern_state *s, *next;
	char *save = NULL;
	bool ends;

	CHECK_EQ(pattern_begin(p, &s), 0);
	for (char *name = strtok_r(path, "/", &save); name && s;
	     name = strtok_r(NULL, "/", &save)) {
		CHECK_EQ(pattern_step(p, s, name, &next), 0);
		CHECK(!next || pattern_ends(p, next) || pattern_goes_on(p, next));
		free(s);
		s = next;
	}
	ends = s && pattern_ends(p, s);
	free(s);
	return ends;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct pattern *p;
	char *text, *path;

	if (size == 0)
		return 0;
	size--;
	text = fuzz_field(&data, &size, NULL);
	path = fuzz_text(data, size);
	tidy(path);
	if (pattern_new(text, data[size] & FLAGS, &p, &err) == 0) {
		bool matches = *path && pattern_matches(p, path);

		CHECK(!*path || walk(p, path) == matches);
		pattern_free(p);
	} else {
		CHECK(err.text[0]);
	}
	free(text);
	free(path);
	return 0;
}
