/* UTF-8 (RFC 3629), in bytes that may be anything. */
#ifndef AIB_BASE_UTF8_H
#define AIB_BASE_UTF8_H

#include <stddef.h>

/* Length of the character at P, of N bytes, at least one: 1 to 4; 0 where there is none; -1 where
 * what is there could be the beginning of one. A NUL is a character. */
int utf8_length(const unsigned char *p, size_t n);

#endif
