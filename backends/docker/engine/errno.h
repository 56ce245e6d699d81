/*
 * The one place where what an engine, HTTP or libcurl says becomes an errno. Pure.
 */
#ifndef AIB_DOCKER_ERRNO_H
#define AIB_DOCKER_ERRNO_H

/* A negative errno for an answer with STATUS (400 or more) and its message, which may be NULL. A
 * message that names a cause wins over the status. */
int engine_errno(int status, const char *message);
/* For an error without a status of its own, such as in a stream of progress: -EIO if unknown. */
int engine_errno_text(const char *message);
/* A negative errno for a CURLcode and the operating system's errno of a failed connect (or 0). */
int engine_errno_curl(int code, long os_errno);

#endif
