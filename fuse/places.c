/* See places.h. */
#include "places.h"

#include "base/macros.h"
#include "base/state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int find_guest(char **ret)
{
	static const char *const places[] = {"aib-guest", "../libexec/aib/aib-guest",
					     "../lib/aib/aib-guest"};
	char exe[PATH_MAX], *path = NULL;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	exe[n > 0 ? n : 0] = '\0';
	if (strrchr(exe, '/'))
		*strrchr(exe, '/') = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		free(TAKE(path));
		if (asprintf(&path, "%s/%s", exe, places[i]) < 0)
			return -ENOMEM;
		if (access(path, X_OK) == 0)
			break;
	}
	*ret = path;
	return 0;
}

int places_guest(const char *given, char **ret, struct err *err)
{
	char *path;

	if (!given)
		return find_guest(ret);
	path = realpath(given, NULL);
	if (!path)
		return err_set(err, -errno, "aib-guest: %s: %m", given);
	*ret = path;
	return 0;
}

int places_job_dir(const char *given, const char *id, char **ret, struct err *err)
{
	_cleanup_free_ char *state = given ? NULL : state_dir();

	if (given && *given != '/')
		return err_set(err, -EINVAL, "job_dir %s: must be an absolute path", given);
	if (!given && !state)
		return -ENOMEM;
	if (asprintf(ret, "%s%s/%s", given ? given : state, given ? "" : "/.jobs", id) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}
