#include "send.h"

#include "protocol.h"

#include <string.h>
#include <sys/socket.h>

static int send_all(int fd, const void *data, size_t len)
{
	ssize_t n;

	for (size_t done = 0; done < len; done += n) {
		n = send(fd, (const char *)data + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			n = 0;
	}
	return 0;
}

/* Each frame in one piece: the daemon wakes up once for it. */
static int send_text(int fd, const char *text)
{
	uint8_t *frame = malloc(PROTO_HEADER + PROTO_MAX_PAYLOAD);
	size_t left = strlen(text), n;
	int r;

	if (!frame)
		return -ENOMEM;
	do {
		n = left < PROTO_MAX_PAYLOAD ? left : PROTO_MAX_PAYLOAD;
		proto_put_header(frame, PROTO_REQUEST, n);
		memcpy(frame + PROTO_HEADER, text, n);
		r = send_all(fd, frame, PROTO_HEADER + n);
		text += n;
		left -= n;
	} while (r == 0 && n == PROTO_MAX_PAYLOAD);
	free(frame);
	return r;
}

int send_request(int fd, const char *request, struct err *err)
{
	int r;

	if (strlen(request) > PROTO_MAX_REQUEST)
		r = err_set(err, -E2BIG,
			    "arguments and environment are too long (at most %d bytes)",
			    PROTO_MAX_REQUEST);
	else
		r = send_text(fd, request);
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
	else if (r < 0 && r != -E2BIG)
		err_set(err, r, "cannot write to the daemon: %s", strerror(-r));
	return r;
}
