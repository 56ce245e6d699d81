/*
 * Small macros that every folder uses: cleanup attributes, TAKE, container_of.
 * Nothing here allocates or knows of anything else in the project.
 */
#ifndef AIB_BASE_MACROS_H
#define AIB_BASE_MACROS_H

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* The value of a pointer (TAKE) or a descriptor (TAKE_FD), which its variable gives up. */
#define TAKE(p)                                                                                    \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))

/* A cleanup function FNp for a destructor FN(T *) that takes NULL. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	_unused_ static inline void fn##p(type *p)                                                 \
	{                                                                                          \
		int saved_ = errno;                                                                \
		fn(*p);                                                                            \
		errno = saved_;                                                                    \
	}

_unused_ static inline void freep(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

_unused_ static inline void closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

_unused_ static inline void fclosep(FILE **f)
{
	int saved = errno;

	if (*f)
		fclose(*f);
	errno = saved;
}

#endif
