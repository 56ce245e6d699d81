/* The capabilities of this thread (capabilities(7)), by raw calls: libc has none. Return 0 or
 * -errno. */
#ifndef AIB_BASE_CAPS_H
#define AIB_BASE_CAPS_H

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int caps_get(struct __user_cap_data_struct ret[2])
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &head, ret) < 0 ? -errno : 0;
}

static inline int caps_set(const struct __user_cap_data_struct caps[2])
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &head, caps) < 0 ? -errno : 0;
}

#endif
