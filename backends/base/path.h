/* Absolute paths as text, without a slash at their end but "/" itself. */
#ifndef AIB_BASE_PATH_H
#define AIB_BASE_PATH_H

#include <stdbool.h>
#include <string.h>

/* Whether PATH is DIR or below it, by components. */
static inline bool path_below(const char *path, const char *dir)
{
	size_t n = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

#endif
