#include "locate.h"

#include "base/cwd.h"

#include <string.h>

static int absolute(const char *path, char **ret, struct err *err)
{
	_cleanup_free_ char *cwd = NULL;

	if (*path == '/') {
		*ret = strdup(path);
		return *ret ? 0 : -ENOMEM;
	}
	cwd = cwd_get();
	if (!cwd)
		return err_set(err, -errno, "the working directory: %m");
	return asprintf(ret, "%s%s%s", cwd, *path ? "/" : "", path) < 0 ? -ENOMEM : 0;
}

/* By links outside: each directory of PATH in turn, until one is in a mount. Nothing in a mount is
 * looked at. */
static int by_links(const char *path, struct registry_mount *ret, char **ret_at)
{
	for (const char *end = path; *end;) {
		_cleanup_free_ char *head = NULL, *real = NULL;

		end += strspn(end, "/");
		end += strcspn(end, "/");
		head = strndup(path, end - path);
		real = head ? realpath(head, NULL) : NULL;
		if (!real)
			return head ? -ENOENT : -ENOMEM;
		if (registry_find(real, ret) == 0)
			return asprintf(ret_at, "%s%s", real, end) < 0 ? -ENOMEM : 0;
	}
	return -ENOENT;
}

int locate(const char *path, struct registry_mount *ret, char **ret_at, struct err *err)
{
	_cleanup_free_ char *at = NULL;
	int r = absolute(path, &at, err);

	if (r < 0)
		return r;
	r = registry_find(at, ret);
	if (r == 0)
		*ret_at = TAKE(at);
	else
		r = by_links(at, ret, ret_at);
	if (r < 0)
		return err_set(err, r, "%s is in no mount of aib (aib status lists them)",
			       *path ? path : "the working directory");
	return 0;
}
