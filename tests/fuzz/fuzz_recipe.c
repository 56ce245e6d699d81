/* A runtime's definition: what is taken makes a Dockerfile of our instructions and no others. */
#include "recipe.h"

#include "fuzz.h"

#include <cjson/cJSON.h>

static bool is_ours(const char *line)
{
	static const char *const begins[] = {"FROM ",  "RUN [", "ENV ", "WORKDIR ",
					     "LABEL ", "USER ", "#"};

	for (size_t i = 0; i < sizeof(begins) / sizeof(*begins); i++)
		if (strncmp(line, begins[i], strlen(begins[i])) == 0)
			return true;
	return *line == '\0';
}

static void check_dockerfile(char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		CHECK(is_ours(line));
		CHECK(line[strlen(line) - 1] != '\\');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	cJSON *json = cJSON_Parse(text);
	struct runtime rt;
	struct recipe recipe;
	struct err err = {""};

	if (json && runtime_parse("mine", json, &rt, &err) == 0) {
		if (runtime_is_built(&rt) && recipe_make(&rt, &recipe) == 0) {
			check_dockerfile(recipe.dockerfile);
			recipe_done(&recipe);
		}
		runtime_done(&rt);
	} else if (json) {
		CHECK(err.text[0]);
	}
	cJSON_Delete(json);
	free(text);
	return 0;
}
