/* Calls on an O_PATH descriptor that take none: by its name in /proc, which is the file itself and
 * is never followed further (proc_pid_fd(5)). */
#ifndef AIB_BASE_PROCFD_H
#define AIB_BASE_PROCFD_H

#include <errno.h>
#include <stdio.h>

struct procfd {
	char path[32];
};

static inline struct procfd procfd(int fd)
{
	struct procfd p;

	snprintf(p.path, sizeof(p.path), "/proc/self/fd/%d", fd);
	return p;
}

/* BY_FD, a system call on FD, or where that is O_PATH, BY_PATH, the same on `path`: what it
 * returned, or -errno. */
#define PROCFD_CALL(fd, by_fd, by_path)                                                            \
	({                                                                                         \
		ssize_t r_ = (by_fd);                                                              \
		if (r_ < 0 && errno == EBADF) {                                                    \
			const struct procfd name_ = procfd(fd);                                    \
			const char *path = name_.path;                                             \
			r_ = (by_path);                                                            \
		}                                                                                  \
		r_ < 0 ? -errno : r_;                                                              \
	})

#endif
