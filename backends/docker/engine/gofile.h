/*
 * How Go programs write file metadata in JSON: os.FileMode as a number, times in RFC 3339. Pure.
 */
#ifndef AIB_DOCKER_GOFILE_H
#define AIB_DOCKER_GOFILE_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Linux's mode with its type, S_IFREG for a file. -EINVAL for a type that Linux does not have. */
int go_mode(uint32_t mode, mode_t *ret);
/* "2026-01-02T03:04:05.123456789+01:00". -EINVAL for anything else. */
int go_time(const char *s, struct timespec *ret);

#endif
