#include "link.h"

#include <stdbool.h>
#include <string.h>

size_t link_next(const char *path, size_t len, size_t *pos, const char **ret)
{
	while (*pos < len) {
		const char *start = path + *pos;
		const char *slash = memchr(start, '/', len - *pos);
		size_t n = slash ? (size_t)(slash - start) : len - *pos;

		*pos += slash ? n + 1 : n;
		if (n == 0 || (n == 1 && start[0] == '.'))
			continue;
		*ret = start;
		return n;
	}
	return 0;
}

static bool is_up(const char *name, size_t n)
{
	return n == 2 && memcmp(name, "..", 2) == 0;
}

enum link_class link_classify(const char *target, size_t len, size_t depth)
{
	const char *name;
	size_t pos = 0, n;
	bool named = false, walk = false;

	if (len == 0 || target[0] == '/')
		return LINK_OUTSIDE;
	while ((n = link_next(target, len, &pos, &name)) > 0) {
		if (!is_up(name, n)) {
			named = true;
			depth++;
			continue;
		}
		if (depth == 0)
			return LINK_OUTSIDE;
		depth--;
		walk |= named;
	}
	return walk ? LINK_NEEDS_WALK : LINK_INSIDE;
}

/* Where the last name of TARGET begins. */
static size_t last_name(const char *target, size_t len)
{
	while (len > 0 && target[len - 1] != '/')
		len--;
	return len;
}

size_t link_straighten(char *target, size_t len)
{
	bool needs_dir = len > 0 && target[len - 1] == '/';
	size_t pos = 0, n, out = 0;
	const char *name;

	while ((n = link_next(target, len, &pos, &name)) > 0) {
		size_t last = last_name(target, out);

		if (is_up(name, n) && out > 0 && !is_up(target + last, out - last)) {
			out = last > 0 ? last - 1 : 0;
			continue;
		}
		if (out > 0)
			target[out++] = '/';
		memmove(target + out, name, n);
		out += n;
	}
	if (out == 0)
		target[out++] = '.';
	else if (needs_dir)
		target[out++] = '/';
	return out;
}
