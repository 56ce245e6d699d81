/*
 * The file systems that a process sees, by their devices, as /proc tells of its mounts: no path of
 * its is ever resolved. Only kinds that keep plain files are among them: a file of /proc, or of a
 * FUSE server that the process may be itself, is nothing to read with the daemon's rights and in
 * its threads.
 */
#ifndef AIB_DOCKER_DEVICES_H
#define AIB_DOCKER_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct devices {
	dev_t *list;
	size_t n;
};

/* Read those of process PID (*D is replaced): 0, or -errno and *D is what it was. */
int devices_read(struct devices *d, pid_t pid);
bool devices_have(const struct devices *d, dev_t dev);
void devices_done(struct devices *d);

#endif
