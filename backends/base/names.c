/* See names.h. */
#include "names.h"

#include <ctype.h>
#include <string.h>

bool name_is_plain(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > NAME_PLAIN_MAX || !isalnum((unsigned char)*name))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}
