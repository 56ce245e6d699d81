/* Requests and replies: what every client command does, and what aib-exec begins with. */
#include "client.h"

#include "base/buf.h"
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

static int send_text(int fd, const char *text)
{
	size_t left = strlen(text), n;
	uint8_t header[PROTO_HEADER];
	int r;

	do {
		n = left < PROTO_MAX_PAYLOAD ? left : PROTO_MAX_PAYLOAD;
		proto_put_header(header, PROTO_REQUEST, n);
		r = send_all(fd, header, sizeof(header));
		if (r == 0)
			r = send_all(fd, text, n);
		text += n;
		left -= n;
	} while (r == 0 && n == PROTO_MAX_PAYLOAD);
	return r;
}

int client_send(int fd, const cJSON *request, struct err *err)
{
	char *text = cJSON_PrintUnformatted(request);
	int r;

	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	if (strlen(text) > PROTO_MAX_REQUEST)
		r = err_set(err, -E2BIG,
			    "arguments and environment are too long (at most %d bytes)",
			    PROTO_MAX_REQUEST);
	else
		r = send_text(fd, text);
	/* A daemon that hung up has said why before: the reader finds it. */
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
	else if (r < 0 && r != -E2BIG)
		err_set(err, r, "cannot write to the daemon: %s", strerror(-r));
	free(text);
	return r;
}

/* Exactly LEN bytes, or -EPIPE. */
static int receive(int fd, void *data, size_t len)
{
	ssize_t n;

	for (size_t done = 0; done < len; done += n) {
		n = recv(fd, (char *)data + done, len - done, 0);
		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			n = 0;
	}
	return 0;
}

/* One frame; its payload is added to TEXT. */
static int receive_frame(int fd, struct proto_header *h, struct buf *text)
{
	uint8_t header[PROTO_HEADER];
	int r = receive(fd, header, sizeof(header));

	if (r == 0)
		r = proto_get_header(header, h);
	if (r == 0)
		r = buf_reserve(text, h->len);
	if (r == 0)
		r = receive(fd, text->data + text->len, h->len);
	if (r == 0) {
		text->len += h->len;
		text->data[text->len] = '\0';
	}
	return r;
}

int client_call(int fd, const cJSON *request, void (*progress)(void *ctx, const char *text),
		void *ctx, cJSON **ret, struct err *err)
{
	_cleanup_buf_ struct buf reply = BUF_INIT(PROTO_MAX_REQUEST);
	_cleanup_buf_ struct buf line = BUF_INIT(PROTO_MAX_PAYLOAD);
	struct proto_header h;
	int r = client_send(fd, request, err);

	if (r < 0)
		return r;
	do {
		/* PROGRESS comes before the first REPLY, never between two. */
		r = receive_frame(fd, &h, reply.len ? &reply : &line);
		if (r < 0)
			return err_set(err, r, "lost the daemon: %s; see aib status", strerror(-r));
		if (h.type == PROTO_ERROR)
			return err_set(err, -EREMOTEIO, "%s", reply.len ? reply.data : line.data);
		if (h.type == PROTO_PROGRESS && progress)
			progress(ctx, line.data);
		else if (h.type == PROTO_REPLY && reply.len == 0)
			r = buf_add(&reply, line.data, line.len);
		if (r < 0)
			return err_set(err, r, "out of memory");
		buf_consume(&line, line.len);
	} while (h.type != PROTO_REPLY || h.len == PROTO_MAX_PAYLOAD);
	*ret = cJSON_Parse(reply.data);
	return *ret ? 0 : err_set(err, -EPROTO, "the daemon's reply is not JSON");
}
