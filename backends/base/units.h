/* Numbers as people write them. Both return 0 or -EINVAL. */
#ifndef AIB_BASE_UNITS_H
#define AIB_BASE_UNITS_H

#include <stdint.h>

int option_size(const char *s, uint64_t *ret_bytes);  /* 512M, 2G; bytes without a unit */
int option_duration(const char *s, uint64_t *ret_ms); /* 500ms, 5m; seconds without a unit */

#endif
