/*
 * Links that lead out of a tree which is also a part of another one (a workspace, bound into a
 * sandbox): they are shown as an absolute path below the mount, to where the same link leads there.
 * Only the text is looked at. A ".." after a name could be taken of a link, and is not followed.
 */
#include "host.h"

#include "base/link.h"

#include <limits.h>
#include <string.h>

static bool is_up(const char *name, size_t n)
{
	return n == 2 && memcmp(name, "..", 2) == 0;
}

/* Into OUT the directory of the sandbox that UP levels above the tree's place are. */
static void above_place(const struct host *h, size_t up, char *out)
{
	snprintf(out, PATH_MAX, "%s", h->conf.place);
	for (char *slash; up > 0 && (slash = strrchr(out, '/')); up--)
		*slash = '\0';
}

static const char *below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]) ? path + n : NULL;
}

/* Where TARGET leads in the sandbox, into OUT: "" is its root. */
static int resolve(const struct host *h, const char *target, size_t len, size_t depth, char *out)
{
	size_t pos = 0, start, up = 0, n;
	const char *name;

	for (start = 0; (n = link_next(target, len, &pos, &name)) > 0 && is_up(name, n); start = pos)
		up++;
	if (*target == '/')
		*out = '\0';
	else if (up > depth)
		above_place(h, up - depth, out);
	else
		return -EPERM;
	for (pos = start; (n = link_next(target, len, &pos, &name)) > 0;) {
		size_t have = strlen(out);

		if (is_up(name, n) || have + n + 2 > PATH_MAX)
			return -EPERM;
		snprintf(out + have, PATH_MAX - have, "/%.*s", (int)n, name);
	}
	return 0;
}

int host_show_outside(const struct host *h, char *target, size_t len, size_t depth)
{
	char path[PATH_MAX], shown[2 * PATH_MAX];
	const char *rest, *route = strcmp(h->bk.route, "/") ? h->bk.route : "";
	int n, r;

	if (!h->conf.outside || !h->conf.place || !h->mountpoint || len == 0)
		return -EPERM;
	r = resolve(h, target, len, depth, path);
	if (r < 0)
		return r;
	rest = below(path, h->conf.place);
	if (rest)
		n = snprintf(shown, sizeof(shown), "%s%s%s", h->mountpoint, route, rest);
	else
		n = snprintf(shown, sizeof(shown), "%s%s", h->conf.outside, path);
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(target, shown, n);
	return n;
}
