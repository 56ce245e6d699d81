/* A configuration file. What is taken can be shown, and what is shown is taken again, as the same.
 */
#include "config.h"

#include "base/log.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_stderr(0);
	return 0;
}

/* NULL where it is refused, with text; else as `aib config show` prints it. */
static char *resolve(const char *text, size_t len)
{
	struct buf out = BUF_INIT(16 << 20);
	struct err err = {""};
	struct config c;
	int r;

	CHECK_EQ(config_init(&c), 0);
	r = config_add_json(&c, "file", text, len, &err);
	if (r == 0)
		r = config_finish(&c, &err);
	CHECK(r == 0 || err.text[0]);
	if (r == 0)
		CHECK_EQ(config_show(&c, &out), 0);
	config_done(&c);
	return r == 0 ? out.data : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *shown = resolve((const char *)data, size), *again;

	if (!shown)
		return 0;
	again = resolve(shown, strlen(shown));
	CHECK(again);
	CHECK_STR(again, shown);
	free(again);
	free(shown);
	return 0;
}
