/* Shared by the two sides of the registry, and by nobody else. */
#ifndef AIB_EXEC_REGISTRY_PATHS_H
#define AIB_EXEC_REGISTRY_PATHS_H

#include "base/err.h"

#include <limits.h>

#define REGISTRY_SHARED "/run/aib"
#define REGISTRY_MAX_INFO 16384

/* This user's RUNTIME; *ret is the caller's. */
int registry_runtime_dir(char **ret);

#endif
