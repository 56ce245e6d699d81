/*
 * A client of the daemon: an even first byte, and the rest is the JSON of a request, which is
 * answered, whatever it is; an odd one, and the rest is what comes over the socket.
 */
#include "daemon.h"

#include "fuzz.h"
#include "protocol.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct daemon daemon_;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	daemon_start(&daemon_);
	return 0;
}

static int connect_to(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, daemon_.socket_path, sizeof(address.sun_path) - 1);
	CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void send_frame(int fd, uint8_t type, const void *data, size_t len)
{
	uint8_t header[PROTO_HEADER];

	proto_put_header(header, type, len);
	send(fd, header, sizeof(header), MSG_NOSIGNAL);
	if (len)
		send(fd, data, len, MSG_NOSIGNAL);
}

/* All of SIZE bytes; a fuzzer's alarms interrupt. */
static bool take_all(int fd, void *data, size_t size)
{
	ssize_t n;

	for (size_t got = 0; got<size; got += n> 0 ? n : 0) {
		n = recv(fd, (char *)data + got, size - got, 0);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
	}
	return true;
}

/* One frame: its type, or 0 at the end. */
static uint8_t take_frame(int fd)
{
	static uint8_t payload[PROTO_MAX_PAYLOAD];
	uint8_t header[PROTO_HEADER];
	struct proto_header h;

	if (!take_all(fd, header, sizeof(header)))
		return 0;
	CHECK_EQ(proto_get_header(header, &h), 0);
	CHECK(take_all(fd, payload, h.len));
	return h.type;
}

static void request(int fd, const uint8_t *data, size_t size)
{
	uint8_t type = 0, last = 0;

	if (size >= PROTO_MAX_PAYLOAD)
		return;
	send_frame(fd, PROTO_REQUEST, data, size);
	while ((type = take_frame(fd))) {
		if (type == PROTO_STARTED)
			send_frame(fd, PROTO_STDIN_EOF, NULL, 0);
		last = type;
	}
	CHECK(last == PROTO_ERROR || last == PROTO_REPLY || last == PROTO_EXIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd;

	/* "umount" is answered when the daemon has ended. */
	if (size < 2 || memmem(data, size, "umount", 6))
		return 0;
	fd = connect_to();
	if (data[0] % 2 == 0) {
		request(fd, data + 1, size - 1);
	} else {
		send(fd, data + 1, size - 1, MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		while (take_frame(fd))
			;
	}
	close(fd);
	return 0;
}
