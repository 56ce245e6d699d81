/* The command's environment: this process's own, since the Engine made it the container's. */
#ifndef AIB_EXEC_GUEST_ENVIRONMENT_H
#define AIB_EXEC_GUEST_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Set N variables, each "NAME=VALUE" with a name; a later one wins over an earlier, and all over
 * what was there. They are copied, and the values in VARS overwritten: arguments of a process can
 * be read by all. 0 or -ENOMEM.
 */
int environment_set(char **vars, size_t n);

#endif
