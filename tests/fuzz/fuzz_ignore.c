/* A .gitignore and a pattern, over a small tree: glob answers, in order, and nothing twice. */
#include "fuzz.h"
#include "tree.h"

static struct tree tree;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const files[] = {"a",     "b.c", ".hidden", "d/a",  "d/b.c",
					    "d/e/f", "!x",  "#y",      "d/[z]"};

	tree_init(&tree);
	tree_write(&tree, ".git/HEAD", "x", 1);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		tree_write(&tree, files[i], "x", 1);
	return 0;
}

static void check_order(char *lines)
{
	const char *last = "";
	char *save = NULL;

	for (char *line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		CHECK(strcmp(last, line) < 0);
		last = line;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cJSON *args = cJSON_CreateObject();
	char *pattern = fuzz_field(&data, &size, NULL);

	tree_write(&tree, ".gitignore", data, size);
	cJSON_AddStringToObject(args, "pattern", pattern);
	cJSON_AddTrueToObject(args, "gitignore");
	if (tree_run(&tree, "glob", "", args) == 0 && tree.out.data)
		check_order(tree.out.data);
	free(pattern);
	return 0;
}
