/*
 * Package managers: what a package may be called, and the command that installs some. A name is
 * never looked at by a shell; the grammars keep out what a package manager itself would take for
 * an option, a path or an address. Whoever wants one of these writes a setup command.
 */
#ifndef AIB_SESSIONS_PACKAGE_H
#define AIB_SESSIONS_PACKAGE_H

#include "base/err.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

#define PACKAGE_MANAGERS "pip|npm|apt|cargo"
#define PACKAGE_MAX 214 /* bytes of one package with its version */

/* 0, or -EINVAL with text that says what MANAGER (one of PACKAGE_MANAGERS) takes. */
int package_check(const char *manager, const char *package, struct err *err);

/* The argument vector that installs PACKAGES, an array of strings, as an array; NULL for no memory.
 */
cJSON *package_install(const char *manager, const cJSON *packages);

#endif
