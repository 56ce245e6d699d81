#include "ask.h"

#include "base/buf.h"
#include "protocol.h"
#include "send.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static int receive_all(int fd, void *data, size_t len, unsigned timeout_ms)
{
	for (char *p = data; len > 0;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int r = poll(&pfd, 1, timeout_ms);
		ssize_t n;

		if (r == 0)
			return -ETIMEDOUT;
		n = r < 0 ? -1 : recv(fd, p, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		if (n == 0)
			return -EPIPE;
		p += n;
		len -= n;
	}
	return 0;
}

/* One frame; its payload, with a NUL, in OUT. */
static int receive_frame(int fd, unsigned timeout_ms, struct proto_header *ret, struct buf *out)
{
	uint8_t header[PROTO_HEADER];
	int r = receive_all(fd, header, sizeof(header), timeout_ms);

	if (r == 0)
		r = proto_get_header(header, ret);
	if (r == 0)
		r = buf_reserve(out, ret->len);
	if (r == 0)
		r = receive_all(fd, out->data + out->len, ret->len, timeout_ms);
	if (r < 0)
		return r;
	out->len += ret->len;
	out->data[out->len] = '\0';
	return 0;
}

static int receive_answer(int fd, unsigned timeout_ms, void (*progress)(void *, const char *),
			  void *ctx, struct buf *reply, struct err *err)
{
	for (;;) {
		_cleanup_buf_ struct buf text = BUF_INIT(PROTO_MAX_PAYLOAD);
		struct proto_header h;
		int r = receive_frame(fd, timeout_ms, &h, &text);

		if (r < 0)
			return r;
		if (h.type == PROTO_PROGRESS && progress)
			progress(ctx, text.data);
		if (h.type == PROTO_ERROR)
			return err_set(err, -EREMOTEIO, "%s", text.data);
		if (h.type != PROTO_REPLY)
			continue;
		r = buf_add(reply, text.data, text.len);
		if (r < 0 || h.len < PROTO_MAX_PAYLOAD)
			return r;
	}
}

int ask(int fd, const cJSON *request, unsigned timeout_ms,
	void (*progress)(void *ctx, const char *text), void *ctx, cJSON **ret, struct err *err)
{
	_cleanup_buf_ struct buf reply = BUF_INIT(PROTO_MAX_REQUEST);
	_cleanup_free_ char *text = cJSON_PrintUnformatted(request);
	int r = text ? send_request(fd, text, err) : err_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	r = receive_answer(fd, timeout_ms, progress, ctx, &reply, err);
	if (r == -EREMOTEIO)
		return r;
	if (r < 0)
		return err_set(err, r, "the daemon does not answer: %s", strerror(-r));
	*ret = cJSON_ParseWithLength(reply.data ? reply.data : "", reply.len);
	if (!*ret)
		return err_set(err, -EPROTO, "the daemon's answer is not JSON");
	return 0;
}
