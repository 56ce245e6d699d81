#include "route.h"

#include <string.h>

/* The rest of PATH after PREFIX by whole components, or NULL. */
static const char *after_prefix(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	if (n == 1) /* "/" */
		return path[1] ? path : path + 1;
	if (strncmp(path, prefix, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path + n;
}

const struct route *route_find(const struct route *routes, size_t n, const char *path,
			       const char **ret_rest)
{
	const struct route *best = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *rest = routes[i].bk ? after_prefix(path, routes[i].path) : NULL;

		if (rest && (!best || strlen(routes[i].path) > strlen(best->path))) {
			best = &routes[i];
			*ret_rest = rest;
		}
	}
	return best;
}

const struct route *route_by_name(const struct route *routes, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (routes[i].name && strcmp(routes[i].name, name) == 0)
			return &routes[i];
	return NULL;
}
