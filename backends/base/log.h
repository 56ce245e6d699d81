/*
 * The daemon's log. Lines go to standard error while it is in the foreground and, always, into a
 * ring of the newest lines that `.aib/log` shows. Secrets (values of `env`) are never logged.
 * Every function may be called from any thread and does not block on anything but standard error.
 */
#ifndef AIB_BASE_LOG_H
#define AIB_BASE_LOG_H

#include "buf.h"

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Bytes of the newest lines that are kept. */
#define LOG_RING_SIZE (256 * 1024)

void log_set_level(enum log_level level);
/* Whether lines are written to standard error too (the default). */
void log_set_stderr(int on);
/* Whether errors go to syslog(3) too, of a process whose ring nobody can read (not the default). */
void log_set_syslog(int on);

void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Positions in the log count bytes since the start, so that a reader can follow it while it
 * grows. log_end is the position after the newest byte. log_read copies up to SIZE bytes from
 * position POS; bytes that the ring has dropped read as NUL-free filler: the read starts at the
 * oldest line instead. Returns the number of bytes, 0 at the end.
 */
uint64_t log_end(void);
size_t log_read(uint64_t pos, void *data, size_t size);

#endif
