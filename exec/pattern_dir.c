#include "pattern_dir.h"

#include "../backends/base/macros.h"

#include <string.h>

int pattern_dir(const char *pattern, char **ret_dir, const char **ret_rest)
{
	size_t n = strcspn(pattern, "*?[{\\");

	while (n > 0 && pattern[n - 1] != '/')
		n--;
	*ret_dir = n > 0 ? strndup(pattern, n > 1 ? n - 1 : 1) : NULL;
	*ret_rest = pattern + n;
	return n > 0 && !*ret_dir ? -ENOMEM : 0;
}
