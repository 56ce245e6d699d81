/*
 * The little JSON of aib-exec, which is started for every command and so is linked statically,
 * without a library: strings that it writes, and members of the flat objects that a daemon writes.
 */
#ifndef AIB_EXEC_JSON_H
#define AIB_EXEC_JSON_H

#include "base/buf.h"

/* S in quotes, escaped; bytes above 127 as they are. 0 or -errno of buf.h. */
int json_add_string(struct buf *out, const char *s);

/*
 * The member KEY of the object TEXT, whose members are strings, numbers and words; *ret is the
 * caller's. -ENOENT where there is none of that kind, -EINVAL for what is no such object.
 */
int json_get_string(const char *text, const char *key, char **ret);
int json_get_number(const char *text, const char *key, long long *ret);

#endif
