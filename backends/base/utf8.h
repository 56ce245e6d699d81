/* UTF-8 (RFC 3629), in bytes that may be anything. */
#ifndef AIB_BASE_UTF8_H
#define AIB_BASE_UTF8_H

#include "buf.h"

#include <stdbool.h>

/* Length of the character at P, of N bytes, at least one: 1 to 4; 0 where there is none; -1 where
 * what is there could be the beginning of one. A NUL is a character. */
int utf8_length(const unsigned char *p, size_t n);

/*
 * Add to OUT what is text of the LEN bytes at DATA, at most LIMIT characters. What is none is
 * U+FFFD, and so is a NUL, at which the JSON library's strings end. *TRUNCATED is set where
 * characters are left; may be NULL. 0, -ENOMEM or -E2BIG.
 */
int utf8_add(struct buf *out, const void *data, size_t len, size_t limit, bool *truncated);

#endif
