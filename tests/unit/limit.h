/*
 * Taking rights away from a test process: another user without capabilities, and system calls that
 * are refused as a container's seccomp filter refuses them. There is no way back.
 */
#ifndef AIB_TEST_LIMIT_H
#define AIB_TEST_LIMIT_H

#include "test.h"

#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIMIT_NOBODY 65534

static inline void limit_to_nobody(void)
{
	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setresgid(LIMIT_NOBODY, LIMIT_NOBODY, LIMIT_NOBODY), 0);
	CHECK_EQ(setresuid(LIMIT_NOBODY, LIMIT_NOBODY, LIMIT_NOBODY), 0);
}

/* From now on system call NR fails with ERROR in this thread and those that it starts. */
static inline void limit_refuse(long nr, int error)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = 4, .filter = code};

	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

#define limit_refuse_openat2() limit_refuse(SYS_openat2, ENOSYS)

#endif
