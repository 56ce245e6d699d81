/* See remote_script.h. */
#include "remote_script.h"

#include "remote_world.h"

#include <sys/socket.h>

void script_send(int fd, const void *data, size_t size, const int *fds, unsigned n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(SCRIPT_MAX_SENT * sizeof(int))];
	} control = {.align = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
			       .cmsg_level = SOL_SOCKET,
			       .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL);
}

size_t script_encode(uint8_t *out, const struct remote_head *head, uint32_t flags)
{
	const struct remote_msg m = {
	    .magic = REMOTE_MAGIC,
	    .version = REMOTE_VERSION,
	    .inflight = 8,
	    .flags = flags,
	    .node = head->op == REMOTE_HELLO ? 1 : 2,
	    .st = {.st_ino = 2, .st_mode = head->op == REMOTE_HELLO ? S_IFDIR : S_IFREG},
	    .file = 7,
	};

	return remote_encode(out, head->op, REMOTE_ANSWER, head->id, 0, &m);
}

static void *serve_script(void *arg)
{
	struct scripted *s = arg;
	uint8_t *payload = malloc(REMOTE_MAX_PAYLOAD), out[REMOTE_MAX_HEAD];
	struct remote_head head;

	while (raw_read(s->fd, &head, payload)) {
		uint32_t flags =
		    (s->agrees ? REMOTE_CAN_PASS_FDS : 0) | (s->can_exec ? REMOTE_CAN_EXEC : 0);

		if (head.op == REMOTE_OPEN || head.op == REMOTE_GETATTR || head.op == REMOTE_EXEC)
			s->answer(s, &head);
		else if (remote_has_answer(head.op))
			raw_write(s->fd, out, script_encode(out, &head, flags));
	}
	close(s->fd);
	free(payload);
	return NULL;
}

void script_begin(struct scripted *s, const struct remote_conf *conf, bool agrees,
		  void (*answer)(struct scripted *, const struct remote_head *))
{
	struct stat st;
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	s->fd = fds[1];
	s->agrees = agrees;
	s->answer = answer;
	CHECK_EQ(pthread_create(&s->thread, NULL, serve_script, s), 0);
	CHECK_EQ(remote_new(NULL, fds[0], fds[0], "/remote", conf, &s->bk, NULL), 0);
	s->root = bk_root(s->bk);
	CHECK_EQ(bk_lookup(NULL, s->root, "f", &s->node, &st), 0);
}

void script_end(struct scripted *s)
{
	bk_node_unref(s->node);
	bk_node_unref(s->root);
	bk_free(s->bk);
	CHECK_EQ(pthread_join(s->thread, NULL), 0);
}

bool script_any_fd(void *ctx, const struct stat *st)
{
	return true;
}

void script_in_one(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	bool open = head->op != REMOTE_GETATTR;
	size_t n = script_encode(out, head, open ? REMOTE_HAS_FD : 0);

	script_send(s->fd, out, n, s->pass, open);
}

void script_two(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];

	script_send(s->fd, out, script_encode(out, head, REMOTE_HAS_FD), s->pass, 2);
}

void script_not_told(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];

	script_send(s->fd, out, script_encode(out, head, 0), s->pass, 1);
}
