#include "operate.h"

#include "protocol.h"
#include "send.h"

#include <string.h>
#include <sys/socket.h>

struct operating {
	int fd;
	const char *content;
	char data[PROTO_HEADER + PROTO_MAX_PAYLOAD];
};

/* ---- Input ---- */

/* LEN bytes of payload lie in DATA after the header's room. -EPIPE: the daemon wants no more. */
static int send_frame(struct operating *x, uint8_t type, size_t len)
{
	size_t all = PROTO_HEADER + len;

	proto_put_header((uint8_t *)x->data, type, len);
	for (size_t done = 0; done < all;) {
		ssize_t n = send(x->fd, x->data + done, all - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? n : 0;
	}
	return 0;
}

static ssize_t next_input(struct operating *x)
{
	size_t n;
	ssize_t r;

	if (x->content) {
		n = strnlen(x->content, PROTO_MAX_PAYLOAD);
		memcpy(x->data + PROTO_HEADER, x->content, n);
		x->content += n;
		return n;
	}
	do
		r = read(STDIN_FILENO, x->data + PROTO_HEADER, PROTO_MAX_PAYLOAD);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static int send_input(struct operating *x, struct err *err)
{
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = next_input(x)) > 0)
		r = send_frame(x, PROTO_STDIN, n);
	if (r == 0 && n < 0)
		return err_set(err, n, "standard input: %s", strerror(-n));
	if (r == 0)
		r = send_frame(x, PROTO_STDIN_EOF, 0);
	/* Why it wants no more is still to be read. */
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

/* ---- Output ---- */

static int receive(struct operating *x, void *data, size_t len)
{
	for (char *p = data; len > 0;) {
		ssize_t n = recv(x->fd, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EPIPE;
		p += n;
		len -= n;
	}
	return 0;
}

static int print(int fd, const char *p, size_t len, struct err *err)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return err_set(err, -errno, "cannot write the output: %m");
		p += n > 0 ? n : 0;
		len -= n > 0 ? n : 0;
	}
	return 0;
}

/* One frame. 1: it was the last, with the status. */
static int take_frame(struct operating *x, int *ret_status, struct err *err)
{
	struct proto_header h;
	struct proto_exit e;
	int r = receive(x, x->data, PROTO_HEADER);

	if (r == 0)
		r = proto_get_header((uint8_t *)x->data, &h);
	if (r == 0)
		r = receive(x, x->data, h.len);
	if (r < 0)
		return err_set(err, r, "the daemon went away before the end");
	switch (h.type) {
	case PROTO_STARTED:
		return send_input(x, err);
	case PROTO_STDOUT:
		return print(STDOUT_FILENO, x->data, h.len, err);
	case PROTO_STDERR:
		return print(STDERR_FILENO, x->data, h.len, err);
	case PROTO_EXIT:
		r = proto_get_exit((uint8_t *)x->data, h.len, &e);
		*ret_status = e.value;
		return r < 0 ? err_set(err, r, "the daemon's answer is not understood") : 1;
	case PROTO_ERROR:
		return err_set(err, -EREMOTEIO, "%.*s", (int)h.len, x->data);
	default:
		return err_set(err, -EPROTO, "the daemon's answer is not understood");
	}
}

int operate(int fd, const cJSON *request, const char *content, struct err *err)
{
	_cleanup_free_ struct operating *x = malloc(sizeof(*x));
	_cleanup_free_ char *text = cJSON_PrintUnformatted(request);
	int status = 0, r;

	if (!x || !text)
		return err_set(err, -ENOMEM, "out of memory");
	x->fd = fd;
	x->content = content;
	r = send_request(fd, text, err);
	while (r == 0)
		r = take_frame(x, &status, err);
	return r < 0 ? r : status;
}
