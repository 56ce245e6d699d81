#include "processes.h"

#include "../base/macros.h"
#include "../base/procpid.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX 64
#define GUEST_NAME ".aib-guest"

/* LINE is "number:controllers:path" with ID in its path: the list of processes there, or NULL. */
static FILE *open_group(char *line, const char *id)
{
	char *controllers = strchr(line, ':'), *group, path[4096];

	if (!controllers || !(group = strchr(++controllers, ':')) || !strstr(group, id))
		return NULL;
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';
	if (strncmp(controllers, "name=", 5) == 0)
		controllers += 5;
	if (snprintf(path, sizeof(path), "/sys/fs/cgroup/%s%s/cgroup.procs", controllers, group) >=
	    (int)sizeof(path))
		return NULL;
	return fopen(path, "re");
}

static FILE *open_processes(pid_t init, const char *id)
{
	FILE *groups = procpid_fopen(init, "cgroup"), *list = NULL;
	char line[4096];

	if (!groups)
		return NULL;
	while (!list && fgets(line, sizeof(line), groups))
		list = open_group(line, id);
	fclose(groups);
	return list;
}

/* A process chooses its name: only what is printable of it is told. False where it is gone. */
static bool get_name(pid_t pid, char name[32])
{
	FILE *comm = procpid_fopen(pid, "comm");
	bool have = comm && fgets(name, 32, comm);

	if (comm)
		fclose(comm);
	if (!have)
		return false;
	name[strcspn(name, "\n")] = '\0';
	for (char *p = name; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			*p = '?';
	return true;
}

int processes_list(pid_t init, const char *id, struct buf *out)
{
	_cleanup_buf_ struct buf lines = BUF_INIT(SIZE_MAX / 2);
	FILE *list = *id ? open_processes(init, id) : NULL;
	unsigned n = 0;
	char name[32];
	int pid, r = 0;

	if (!list)
		return 0;
	while (r == 0 && fscanf(list, "%d", &pid) == 1) {
		if (pid == init || !get_name(pid, name) || strcmp(name, GUEST_NAME) == 0)
			continue;
		if (n++ < LISTED_MAX)
			r = buf_addf(&lines, "process %d %s\n", pid, name);
	}
	fclose(list);
	if (r == 0)
		r = buf_addf(out, "processes %u\n%s", n, lines.data ? lines.data : "");
	return r;
}
