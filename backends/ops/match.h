/*
 * Regular expressions over lines: PCRE2, compiled by its JIT, UTF-8 where the pattern is that, and
 * with limits, so that no pattern runs away. A line matches by itself: what is before and after it
 * does not count.
 */
#ifndef AIB_OPS_MATCH_H
#define AIB_OPS_MATCH_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct match;

/* Returns 0, -EINVAL with text (`Error: Invalid regex pattern: …`), -ENOMEM. */
int match_new(const char *pattern, bool ignore_case, struct match **ret, struct err *err);
void match_free(struct match *m); /* takes NULL */

/* What one thread needs to use it. */
struct match_thread;
int match_thread_new(const struct match *m, struct match_thread **ret);
void match_thread_free(struct match_thread *t); /* takes NULL */

/*
 * The first line of TEXT, whole lines but maybe the last, at FROM or after it, that matches: 1,
 * with its bounds without the newline; 0 where there is none. -EOVERFLOW: the pattern needs more
 * steps than it may.
 */
int match_line(struct match_thread *t, const char *text, size_t len, size_t from, size_t *ret_start,
	       size_t *ret_end);

#endif
