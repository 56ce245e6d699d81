/* Three fields: the file, what is replaced, by what; the last byte says whether everywhere. The
 * file is afterwards what a plain replacement makes of it, or as it was. */
#include "fuzz.h"
#include "tree.h"

static struct tree tree;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	tree_init(&tree);
	return 0;
}

/* How often OLD is in TEXT, none of them overlapping; OUT gets TEXT with all replaced. */
static size_t replace(const char *text, size_t len, const char *old, const char *new,
		      struct buf *out)
{
	size_t n = strlen(old), found = 0, pos = 0;

	while (pos < len) {
		if (len - pos >= n && memcmp(text + pos, old, n) == 0) {
			CHECK_EQ(buf_adds(out, new), 0);
			pos += n;
			found++;
		} else {
			CHECK_EQ(buf_add(out, text + pos++, 1), 0);
		}
	}
	return found;
}

static void check_content(const char *want, size_t len)
{
	cJSON *args = cJSON_CreateObject();

	cJSON_AddTrueToObject(args, "raw");
	CHECK_EQ(tree_run(&tree, "read", "f", args), 0);
	CHECK_EQ(tree.out.len, len);
	CHECK(len == 0 || memcmp(tree.out.data, want, len) == 0);
}

static void edit(const char *text, size_t len, const char *old, const char *new, bool all)
{
	struct buf want = BUF_INIT(SIZE_MAX / 2);
	size_t found = *old ? replace(text, len, old, new, &want) : 0;
	bool done = *old && strcmp(old, new) != 0 && found > 0 && (found == 1 || all);
	cJSON *args;

	if (want.len > TREE_MAX_OUTPUT) { /* could not be read back */
		buf_done(&want);
		return;
	}
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "old", old);
	cJSON_AddStringToObject(args, "new", new);
	cJSON_AddBoolToObject(args, "replace_all", all);
	tree_write(&tree, "f", text, len);
	CHECK_EQ(tree_run(&tree, "edit", "f", args) == 0, done);
	check_content(done ? want.data : text, done ? want.len : len);
	buf_done(&want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, *old, *new;
	size_t len;
	bool all;

	if (size == 0 || size > 4096)
		return 0;
	all = data[--size] & 1;
	text = fuzz_field(&data, &size, &len);
	old = fuzz_field(&data, &size, NULL);
	new = fuzz_field(&data, &size, NULL);
	edit(text, len, old, new, all);
	free(text);
	free(old);
	free(new);
	return 0;
}
