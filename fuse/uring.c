/* See uring.h. */
#include "uring.h"

#include "base/macros.h"

#include <fcntl.h>

#define ENABLED "/sys/module/fuse/parameters/enable_uring"

const char *fs_uring_refused(void)
{
#ifdef HAVE_URING
	_cleanup_close_ int fd = open(ENABLED, O_RDONLY | O_CLOEXEC);
	char value = 'N';

	if (fd < 0)
		return "the kernel has none (it came with Linux 6.14)";
	if (read(fd, &value, 1) != 1 || value != 'Y')
		return "it is not enabled (echo Y > " ENABLED ")";
	return NULL;
#else
	return "built with libfuse older than 3.18.3";
#endif
}

bool uring_is(fuse_req_t req)
{
#ifdef HAVE_URING
	return fuse_req_is_uring(req);
#else
	return false;
#endif
}

void uring_enter(void)
{
	static _Thread_local bool entered;

	if (entered)
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	entered = true;
}

void uring_stop(struct fuse_session *se)
{
	/* libfuse ends them at the end of its own loop only, which has nothing to do by now. */
	(void)fuse_session_loop(se);
}
