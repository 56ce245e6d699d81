/*
 * The short form of a command's request, as `.aib/exec` and other faces take it:
 *
 *   {"command": "shell line" | "argv": [...], "cwd": "/py/workspace", "env": {"K": "v"} | ["K=v"],
 *    "timeout": seconds, "stdin": "...", "user": "...", "sandbox": "..."}
 *
 * as protocol.h's "exec". What goes to standard input is its sender's affair, as the directory is,
 * whose spelling only he understands.
 */
#ifndef AIB_EXEC_BRIEF_H
#define AIB_EXEC_BRIEF_H

#include "../backends/base/err.h"

#include <cjson/cJSON.h>

/*
 * IN as a request of protocol.h, the caller's. DIR is the directory of the host that "cwd" means;
 * NULL: none. Returns 0, -EINVAL with text, or -ENOMEM.
 */
int brief_expand(const cJSON *in, const char *dir, cJSON **ret, struct err *err);

#endif
