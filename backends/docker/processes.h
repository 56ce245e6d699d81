/*
 * What runs in a container, as this machine tells of it: its control group's processes. So it asks
 * no engine and does not block, and knows nothing of a container elsewhere. Source: cgroups(7),
 * proc(5).
 */
#ifndef AIB_DOCKER_PROCESSES_H
#define AIB_DOCKER_PROCESSES_H

#include "../base/buf.h"

#include <sys/types.h>

/*
 * Add the lines "processes N" and, for up to 64 of them, "process PID NAME", of the container whose
 * first process is INIT and whose whole id is ID. INIT itself and the guest's own processes are
 * left out. Adds nothing where INIT is no process of that container on this machine. 0 or -ENOMEM.
 */
int processes_list(pid_t init, const char *id, struct buf *out);

#endif
