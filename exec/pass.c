#include "pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Aligned as the kernel wants it. */
union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int pass_send(int fd, const void *data, size_t len, int passed)
{
	struct iovec part = {(void *)data, len};
	union control control = {.header = {
				     .cmsg_len = CMSG_LEN(sizeof(int)),
				     .cmsg_level = SOL_SOCKET,
				     .cmsg_type = SCM_RIGHTS,
				 }};
	struct msghdr msg = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control),
	};
	ssize_t n;

	memcpy(CMSG_DATA(&control.header), &passed, sizeof(int));
	n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EMSGSIZE;
}

ssize_t pass_recv(int fd, void *data, size_t len, int *passed)
{
	struct iovec part = {data, len};
	union control control;
	struct msghdr msg = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control),
	};
	/* There is room for one: the kernel drops all others. */
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (*passed >= 0)
			close(*passed);
		memcpy(passed, CMSG_DATA(c), sizeof(int));
	}
	return n;
}
