/* What users may call a sandbox, a session or a job. */
#ifndef AIB_BASE_NAMES_H
#define AIB_BASE_NAMES_H

#include <stdbool.h>

#define NAME_PLAIN_MAX 64

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63}: harmless as a file's name, in a path, and in a shell's line. */
bool name_is_plain(const char *name);

#endif
