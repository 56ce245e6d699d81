#include "job.h"

#include "../pass.h"
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4
#define MAX_ID 64

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* ---- Output ---- */

/* Where the byte POS is, and how many are in one piece from there. */
static uint8_t *place(struct kept *k, uint64_t pos, size_t *ret_piece)
{
	size_t at = pos % sizeof(k->data);

	*ret_piece = sizeof(k->data) - at;
	return k->data + at;
}

bool kept_has_room(const struct kept *k)
{
	return k->end - k->acked < sizeof(k->data);
}

ssize_t kept_read(struct kept *k, int fd)
{
	size_t piece, room = sizeof(k->data) - (k->end - k->acked);
	uint8_t *to = place(k, k->end, &piece);
	ssize_t n = read(fd, to, min_size(room, piece));

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	k->end += n;
	return n;
}

void kept_send(struct kept *k, uint8_t type, struct pump_queue *out)
{
	while (k->sent < k->end && pump_has_room(out)) {
		size_t piece;
		const uint8_t *from = place(k, k->sent, &piece);
		size_t n = min_size(min_size(piece, k->end - k->sent), PUMP_CHUNK);

		pump_frame(out, type, from, n);
		k->sent += n;
	}
}

void kept_ack(struct kept *k, uint64_t stored)
{
	if (stored > k->acked && stored <= k->sent)
		k->acked = stored;
}

void kept_rewind(struct kept *k, uint64_t stored)
{
	if (stored > k->acked && stored <= k->end)
		k->acked = stored;
	k->sent = k->acked;
}

/* ---- The door ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Returns the address's length, 0 for an id that cannot be one. */
static socklen_t address(const char *id, struct sockaddr_un *ret)
{
	size_t n = strlen(id);

	if (n == 0 || n > MAX_ID)
		return 0;
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "aib-job-%s", id);
	return offsetof(struct sockaddr_un, sun_path) + 1 + n;
}

int door_open(struct door *d, const char *id)
{
	struct sockaddr_un addr;
	socklen_t len = address(id, &addr);
	int fd, r;

	*d = (struct door){-1, -1, -1};
	if (len == 0)
		return -EINVAL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	d->listener = fd;
	return 0;
}

void door_close(struct door *d)
{
	close_fd(&d->listener);
	close_fd(&d->line);
	close_fd(&d->in);
}

/* The newest takes the place of one that is not whole. */
static void admit(struct door *d)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    (peer.uid != 0 && peer.uid != geteuid())) {
		close(fd);
		return;
	}
	close_fd(&d->line);
	close_fd(&d->in);
	d->line = fd;
}

/* One descriptor comes with each byte. Returns whether the second has. */
static bool take_descriptor(struct door *d, int *ret_out)
{
	int fd = -1;
	char byte;
	ssize_t n = pass_recv(d->line, &byte, 1, &fd);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (fd < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
		close_fd(&fd);
		close_fd(&d->line);
		close_fd(&d->in);
		return false;
	}
	if (d->in < 0) {
		d->in = fd;
		return false;
	}
	*ret_out = fd;
	return true;
}

bool door_take(struct door *d, struct link *ret)
{
	int out;

	admit(d);
	while (d->line >= 0) {
		int had = d->in;

		if (take_descriptor(d, &out)) {
			*ret = (struct link){d->in, out, d->line};
			d->in = d->line = -1;
			return true;
		}
		if (d->in == had)
			break;
	}
	return false;
}

/* ---- The other side ---- */

/* Nobody is behind the door. */
static int say_gone(int error)
{
	char text[128];
	uint8_t header[PROTO_HEADER];
	size_t n =
	    snprintf(text, sizeof(text), "the job is not there any more: %s", strerror(error));

	proto_put_header(header, PROTO_ERROR, n);
	return write(STDOUT_FILENO, header, sizeof(header)) != sizeof(header) ||
	       write(STDOUT_FILENO, text, n) != (ssize_t)n;
}

int guest_attach(int argc, char **argv)
{
	struct sockaddr_un addr;
	socklen_t len = argc == 1 ? address(argv[0], &addr) : 0;
	int line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte = 0;

	if (len == 0) {
		fprintf(stderr, "usage: aib-guest attach ID\n");
		return GUEST_USAGE;
	}
	if (line < 0 || connect(line, (struct sockaddr *)&addr, len) < 0)
		return say_gone(errno);
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		if (pass_send(line, &byte, 1, fd) < 0)
			return say_gone(ECONNRESET);
	/* The stream's life: an engine ends it with this process. */
	while (read(line, &byte, 1) < 0 && errno == EINTR)
		;
	return 0;
}
