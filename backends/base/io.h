/* System calls that may do less than was asked, done whole. */
#ifndef AIB_BASE_IO_H
#define AIB_BASE_IO_H

#include <stddef.h>

/* Write LEN bytes to FD. Returns 0 or -errno; signals do not end it. Blocks where FD does. */
int io_write_all(int fd, const void *data, size_t len);

#endif
