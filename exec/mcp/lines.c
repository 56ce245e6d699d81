#include "lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536

int lines_read(struct lines *l, int fd)
{
	char data[CHUNK];
	size_t room = l->in.cap - l->in.len;
	ssize_t n = read(fd, data, room < sizeof(data) ? room : sizeof(data));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	l->end = n == 0;
	return n > 0 ? buf_add(&l->in, data, n) : 0;
}

static void drop(struct lines *l, size_t n)
{
	buf_consume(&l->in, n);
	l->seen = 0;
}

/* The rest of a line that is too long: true when it has come to its end. */
static bool skip(struct lines *l)
{
	char *end = l->in.len > 0 ? memchr(l->in.data, '\n', l->in.len) : NULL;

	drop(l, end ? (size_t)(end - l->in.data) + 1 : l->in.len);
	l->skipping = !end;
	return end != NULL;
}

char *lines_next(struct lines *l, size_t *ret_len, bool *ret_long)
{
	char *end;

	*ret_long = false;
	if (l->taken > 0)
		drop(l, l->taken);
	l->taken = 0;
	if (l->in.len == 0 || (l->skipping && !skip(l)) || l->in.len == 0)
		return NULL;
	end = memchr(l->in.data + l->seen, '\n', l->in.len - l->seen);
	/* The last one may lack its newline. */
	if (!end && l->end)
		end = l->in.data + l->in.len;
	if (!end && l->in.len == l->in.cap) {
		l->skipping = true;
		drop(l, l->in.len);
		*ret_long = true;
		return NULL;
	}
	l->seen = l->in.len;
	if (!end)
		return NULL;
	*ret_len = end - l->in.data;
	l->taken = *ret_len + (*ret_len < l->in.len);
	*end = '\0';
	return l->in.data;
}
