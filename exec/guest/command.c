#include "command.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a socket's buffer takes at once; a longer command may as well be started anew. */
#define MAX_SIZE (32 << 10)

struct message {
	uint32_t size; /* of all strings, each with its NUL */
	uint32_t argc; /* how many of them are arguments; the others are the environment */
	char strings[MAX_SIZE];
};

#define HEAD offsetof(struct message, strings)

static int add(struct message *m, const char *string)
{
	size_t n = strlen(string) + 1;

	if (n > sizeof(m->strings) - m->size)
		return -E2BIG;
	memcpy(m->strings + m->size, string, n);
	m->size += n;
	return 0;
}

int command_send(int fd, const char *const *argv, const char *const *env)
{
	struct message m = {.size = 0};
	ssize_t n;
	int r = 0;

	for (; argv[m.argc] && r == 0; m.argc++)
		r = add(&m, argv[m.argc]);
	for (; *env && r == 0; env++)
		r = add(&m, *env);
	if (r < 0)
		return r;
	n = send(fd, &m, HEAD + m.size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == HEAD + m.size ? 0 : -EMSGSIZE;
}

/* SIZE bytes and no more: frames follow. */
static int receive(int fd, void *to, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, to, size, MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EPIPE;
}

/* The strings of M, with NULL after the arguments and at the end. */
static int point_at_strings(struct message *m, char ***ret)
{
	char **list = calloc(m->size + 2, sizeof(*list)), *p = m->strings;
	uint32_t n = 0;

	if (!list)
		return -ENOMEM;
	for (; p < m->strings + m->size; n++) {
		list[n + (n >= m->argc)] = p;
		p += strlen(p) + 1;
	}
	if (n < m->argc) {
		free(list);
		return -EPROTO;
	}
	*ret = list;
	return 0;
}

int command_receive(int fd, char ***ret)
{
	static struct message m;
	int r = receive(fd, &m, HEAD);

	if (r == 0 && (m.size == 0 || m.size > sizeof(m.strings) || m.argc < 2))
		r = -EPROTO;
	if (r == 0)
		r = receive(fd, m.strings, m.size);
	if (r < 0)
		return r;
	if (m.strings[m.size - 1] != '\0')
		return -EPROTO;
	r = point_at_strings(&m, ret);
	if (r < 0)
		return r;
	environ = *ret + m.argc + 1;
	return m.argc;
}
