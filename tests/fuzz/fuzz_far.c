/*
 * A search at its far end: an even first byte, and the rest is the results that a guest sends; an
 * odd one, and the rest is a request to it.
 */
#include "fuzz.h"
#include "ops/far_wire.h"

static bool is_component(const char *name, size_t len)
{
	return len > 0 && !(len == 1 && name[0] == '.') &&
	       !(len == 2 && memcmp(name, "..", 2) == 0);
}

static void check_path(const char *path, size_t len)
{
	size_t begin = 0;

	CHECK(strlen(path) == len);
	for (size_t i = 0; len > 0 && i <= len; i++) {
		if (i < len && path[i] != '/')
			continue;
		CHECK(is_component(path + begin, i - begin));
		begin = i + 1;
	}
}

static void take_records(const uint8_t *data, size_t size)
{
	struct far_record r;
	ssize_t n;

	for (size_t at = 0; at < size; at += n) {
		n = far_get_record(data + at, size - at, &r);
		if (n <= 0)
			return;
		CHECK((size_t)n <= size - at);
		CHECK(r.kind >= FAR_LINE && r.kind <= FAR_END);
		if (r.path)
			check_path(r.path, r.path_len);
	}
}

static void take_request(const uint8_t *data, size_t size)
{
	struct far_request r;

	if (far_get_request(data, size, &r) < 0)
		return;
	CHECK(r.kind == FAR_GREP || r.kind == FAR_GLOB);
	CHECK(strlen(r.pattern) + strlen(r.glob) + strlen(r.below) + strlen(r.path) < size);
	free(r.rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] % 2 == 0)
		take_records(data + 1, size - 1);
	else
		take_request(data + 1, size - 1);
	return 0;
}
