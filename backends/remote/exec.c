/* Commands that the server starts: their request, and the socket that comes beside its answer. */
#include "client.h"

#include <string.h>
#include <sys/socket.h>

/* ---- The command line ---- */

static int add_strings(struct buf *out, const char *const *list)
{
	int e = 0;

	for (; *list && e == 0; list++)
		e = buf_add(out, *list, strlen(*list) + 1);
	return e;
}

/* See REMOTE_EXEC. */
static int describe(const char *const *argv, const char *const *env, struct buf *data,
		    struct remote_msg *m)
{
	int e = add_strings(data, argv);

	for (m->size = 0; argv[m->size];)
		m->size++;
	if (env) {
		m->flags = REMOTE_WITH_ENV;
		e = e < 0 ? e : add_strings(data, env);
	}
	m->data = data->data;
	m->data_len = data->len;
	return e;
}

/* ---- The stream ---- */

struct exec_stream {
	struct bk_stream stream;
	int fd; /* -1: it was taken */
};

static int stream_fd(struct bk_stream *stream)
{
	return ((struct exec_stream *)stream)->fd;
}

static bool stream_pending(struct bk_stream *stream)
{
	return false;
}

/* What the other end did to the socket's flags does not make these wait; descriptors that it sends
 * are closed by the kernel, having no room. */
static ssize_t stream_read(struct bk_stream *stream, void *data, size_t size)
{
	ssize_t n;

	do
		n = recv(stream_fd(stream), data, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t stream_write(struct bk_stream *stream, const void *data, size_t size)
{
	ssize_t n;

	do
		n = send(stream_fd(stream), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int stream_take_fd(struct bk_stream *stream)
{
	return TAKE_FD(((struct exec_stream *)stream)->fd);
}

static void stream_free(struct bk_stream *stream)
{
	struct exec_stream *s = (struct exec_stream *)stream;

	closep(&s->fd);
	free(s);
}

static const struct bk_stream_ops stream_ops = {
    .fd = stream_fd,
    .pending = stream_pending,
    .read = stream_read,
    .write = stream_write,
    .take_fd = stream_take_fd,
    .free = stream_free,
};

static bool is_stream_socket(int fd)
{
	int domain, type;
	socklen_t domain_len = sizeof(domain), type_len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && domain == AF_UNIX &&
	       type == SOCK_STREAM;
}

static int stream_new(struct remote *r, struct answer *a, struct bk_stream **ret)
{
	struct exec_stream *s;

	if (a->fd < 0)
		return -EMFILE;
	if (!is_stream_socket(a->fd))
		return remote_conn_fail(r, "a command's descriptor is no socket");
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct exec_stream){.stream = {&stream_ops}, .fd = TAKE_FD(a->fd)};
	*ret = &s->stream;
	return 0;
}

int remote_exec(struct bk_req *req, struct bk *bk, const char *const *argv, const char *const *env,
		struct bk_stream **ret, struct err *err)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	_cleanup_buf_ struct buf data = BUF_INIT(REMOTE_MAX_DATA);
	struct remote *r = container_of(bk, struct remote, bk);
	struct remote_msg m = {.size = 0};
	int e;

	if (!r->can_exec)
		return err_set(err, -EOPNOTSUPP, "route %s: its server starts no commands",
			       bk->route);
	e = describe(argv, env, &data, &m);
	if (e == 0)
		e = remote_call_run(r, req, REMOTE_EXEC, &m, &a);
	if (e == 0)
		e = stream_new(r, &a, ret);
	if (e == -EUSERS)
		return err_set(err, e,
			       "route %s: the sandbox has as many processes as it may (pids); end "
			       "some, or restart it (ctl)",
			       bk->route);
	return e < 0 ? err_set(err, e, "route %s: its server did not start the command: %s",
			       bk->route, strerror(-e))
		     : 0;
}
