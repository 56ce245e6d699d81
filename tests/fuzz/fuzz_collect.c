/* A command's frames as its JSON response, cut into pieces of the first byte's size. */
#include "collect.h"

#include "fuzz.h"

#define LIMIT 1000

static void check_response(const struct collect *c)
{
	cJSON *json = collect_response(c);
	char *text = json ? cJSON_PrintUnformatted(json) : NULL;
	cJSON *again = text ? cJSON_Parse(text) : NULL;

	CHECK(again);
	CHECK(strlen(cJSON_GetObjectItem(json, "output")->valuestring) <= LIMIT * 4);
	CHECK(collect_status(c) >= 0 && collect_status(c) <= 255);
	cJSON_Delete(json);
	cJSON_Delete(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct collect *c = collect_new(LIMIT);
	size_t piece = size ? 1 + data[0] : 1;
	int r = 0;

	CHECK(c);
	for (size_t pos = 1; pos < size && r == 0; pos += piece)
		r = collect_feed(c, data + pos, size - pos < piece ? size - pos : piece);
	if (r <= 0)
		collect_fail(c, "the stream ended");
	check_response(c);
	collect_free(c);
	return 0;
}
