/* Files of a process or a thread in /proc/PID (proc(5)). None of these waits. */
#ifndef AIB_BASE_PROCPID_H
#define AIB_BASE_PROCPID_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

/* A descriptor for reading, or -1 and errno. */
static inline int procpid_open(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The same as a stream, or NULL and errno. */
static inline FILE *procpid_fopen(pid_t pid, const char *name)
{
	int fd = procpid_open(pid, name);

	return fd < 0 ? NULL : fdopen(fd, "r");
}

/* Its first SIZE - 1 bytes at most, and a NUL: their number, or -1. */
static inline ssize_t procpid_read(pid_t pid, const char *name, char *ret, size_t size)
{
	int fd = procpid_open(pid, name);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	if (fd >= 0)
		close(fd);
	if (n >= 0)
		ret[n] = '\0';
	return n;
}

#endif
