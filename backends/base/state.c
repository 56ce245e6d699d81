/* See state.h. */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *state_dir(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *ret;
	int n;

	if (geteuid() == 0)
		return strdup("/var/lib/aib");
	if (state && *state == '/')
		n = asprintf(&ret, "%s/aib", state);
	else
		n = asprintf(&ret, "%s/.local/state/aib",
			     home && *home == '/' ? home : "/nonexistent");
	return n < 0 ? NULL : ret;
}
