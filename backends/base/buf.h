/*
 * A byte buffer that grows up to a cap. It always ends in a NUL that `len` does not count, so
 * `data` can be used as a string once anything was added. After a failed addition the buffer is
 * as it was.
 */
#ifndef AIB_BASE_BUF_H
#define AIB_BASE_BUF_H

#include "macros.h"

struct buf {
	char *data; /* NULL while empty and never grown */
	size_t len;
	size_t size;
	size_t cap; /* the most `len` may become, in bytes */
};

#define BUF_INIT(max) ((struct buf){.cap = (max)})

void buf_done(struct buf *b);

/* Each returns 0, -ENOMEM, or -E2BIG where the cap would be passed. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
/* Make room for N bytes more at data + len. */
int buf_reserve(struct buf *b, size_t n);

/* Drop the first N bytes; N is at most len. */
void buf_consume(struct buf *b, size_t n);
/* The contents as a string that the caller frees; the buffer is empty afterwards. Never NULL
 * unless memory is out. */
char *buf_take(struct buf *b);

#define _cleanup_buf_ _cleanup_(buf_done)

#endif
