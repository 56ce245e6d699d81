/* The arguments of -r (and, where one begins with '@', of -o), one a field. */
#include "config.h"

#include "base/log.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_stderr(0);
	return 0;
}

static int add(struct config *c, const char *text, struct err *err)
{
	return text[0] == '@' ? config_add_options(c, text + 1, err)
			      : config_add_route(c, text, err);
}

static void check_routes(const struct config *c)
{
	for (size_t i = 0; i < c->n_routes; i++) {
		const char *path = c->routes[i].path;

		CHECK(path[0] == '/' && !strstr(path, "//") && !strstr(path, "/../"));
		CHECK(i == 0 || strcmp(c->routes[i - 1].path, path) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct config c;
	int r = 0;

	CHECK_EQ(config_init(&c), 0);
	while (size > 0 && r == 0) {
		char *text = fuzz_field(&data, &size, NULL);

		r = add(&c, text, &err);
		CHECK(r == 0 || err.text[0]);
		free(text);
	}
	if (r == 0 && config_finish(&c, &err) == 0)
		check_routes(&c);
	config_done(&c);
	return 0;
}
