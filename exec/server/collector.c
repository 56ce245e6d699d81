/*
 * `.aib/exec`: a transaction is a client of the server's own, at the other end of a socket pair,
 * that turns the request's short form into frames and the frames that come back into one JSON
 * response. So a command that was asked for with cat takes the way of every other.
 */
#include "conn.h"

#include "../../backends/base/log.h"
#include "../brief.h"
#include "../collect.h"
#include "../frames.h"
#include "../protocol.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MAX_REQUEST_BYTES (2 * PROTO_MAX_REQUEST)

struct collector {
	struct server *server;
	struct collector *prev, *next;
	struct task task;
	struct watch watch; /* fd -1: not connected */
	struct control_reply *reply;
	struct collect *collect;
	struct buf out; /* frames to the server */
	uid_t uid;
};

static void collector_free(struct collector *k)
{
	struct server *s = k->server;
	int fd = k->watch.fd;

	if (fd >= 0) {
		loop_remove(&s->loop, &k->watch);
		close(fd);
	}
	if (k->prev)
		k->prev->next = k->next;
	else if (s->collectors == k)
		s->collectors = k->next;
	if (k->next)
		k->next->prev = k->prev;
	collect_free(k->collect);
	buf_done(&k->out);
	free(k);
}

/* Answer with what was gathered, and free. */
static void finish(struct collector *k)
{
	cJSON *o = collect_response(k->collect);
	char *s = o ? cJSON_Print(o) : NULL;
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	int r = s ? buf_addf(&text, "%s\n", s) : -ENOMEM;

	control_reply_done(k->reply, r, &text);
	buf_done(&text);
	free(s);
	cJSON_Delete(o);
	collector_free(k);
}

static void collector_ready(struct watch *w, uint32_t events)
{
	struct collector *k = container_of(w, struct collector, watch);
	uint8_t data[65536];
	ssize_t n;
	int r;

	if (events & EPOLLOUT && k->out.len > 0) {
		n = send(w->fd, k->out.data, k->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			buf_consume(&k->out, n);
	}
	if (k->out.len == 0)
		loop_set(&k->server->loop, w, EPOLLIN);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(w->fd, data, sizeof(data), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	r = n > 0 ? collect_feed(k->collect, data, n) : -EPIPE;
	if (r < 0)
		collect_fail(k->collect, "the connection to the command was lost");
	if (r != 0)
		finish(k);
}

static int connect_pair(struct collector *k)
{
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	r = conn_new(k->server, fds[0], k->uid);
	if (r == 0)
		r = loop_add(&k->server->loop, &k->watch, fds[1], EPOLLIN | EPOLLOUT);
	if (r < 0) {
		k->watch.fd = -1;
		close(fds[1]);
	}
	return r;
}

static void collector_begin(struct task *task)
{
	struct collector *k = container_of(task, struct collector, task);
	struct server *s = k->server;
	int r;

	k->next = s->collectors;
	if (k->next)
		k->next->prev = k;
	s->collectors = k;
	if (k->out.len == 0) { /* the request is not one: what is to be said is there */
		finish(k);
		return;
	}
	r = s->ending ? -ESHUTDOWN : connect_pair(k);
	if (r < 0) {
		collect_fail(k->collect, strerror(-r));
		finish(k);
	}
}

void collector_close_all(struct server *s)
{
	while (s->collectors) {
		collect_fail(s->collectors->collect, "the mount ends");
		finish(s->collectors);
	}
}

/* ---- The request ---- */

static int encode(const struct server *s, const cJSON *in, struct buf *out, struct err *err)
{
	const cJSON *input = cJSON_GetObjectItemCaseSensitive(in, "stdin");
	const char *cwd = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(in, "cwd"));
	_cleanup_free_ char *dir = cwd ? request_host_path(&s->world, cwd) : NULL;
	cJSON *request = NULL;
	char *text = NULL;
	int r = cwd && !dir ? -ENOMEM : brief_expand(in, dir, &request, err);

	if (r == 0)
		text = cJSON_PrintUnformatted(request);
	cJSON_Delete(request);
	if (r < 0 || !text)
		return r < 0 ? r : -ENOMEM;
	r = frames_add_all(out, PROTO_REQUEST, text, strlen(text), true);
	if (r == 0 && input)
		r = frames_add_all(out, PROTO_STDIN, input->valuestring, strlen(input->valuestring),
				   false);
	if (r == 0)
		r = frames_add_all(out, PROTO_STDIN_EOF, "", 0, true);
	free(text);
	return r;
}

/* ---- The file ---- */

/* Who only reads the file, as cp -r and grep -r do, has asked for nothing and gets nothing. */
static int answer_nothing(struct control_reply *reply)
{
	struct buf nothing = BUF_INIT(0);

	control_reply_done(reply, 0, &nothing);
	return 0;
}

static int exec_transact(void *object, uid_t uid, const char *request, size_t len,
			 struct control_reply *reply)
{
	struct server *s = object;
	struct collector *k;
	cJSON *in;
	struct err err = {""};
	int r;

	if (len == 0)
		return answer_nothing(reply);
	k = calloc(1, sizeof(*k));
	in = cJSON_ParseWithLength(request, len);
	r = k ? 0 : -ENOMEM;
	if (r == 0) {
		k->server = s;
		k->uid = uid;
		k->reply = reply;
		k->watch = (struct watch){.fd = -1, .ready = collector_ready};
		k->task.run = collector_begin;
		k->out = BUF_INIT(MAX_REQUEST_BYTES);
		k->collect = collect_new(COLLECT_DEFAULT_LIMIT);
		r = k->collect ? encode(s, in, &k->out, &err) : -ENOMEM;
	}
	cJSON_Delete(in);
	if (r == -ENOMEM) {
		if (k) {
			collect_free(k->collect);
			buf_done(&k->out);
		}
		free(k);
		return r;
	}
	if (r < 0) {
		buf_done(&k->out);
		collect_fail(k->collect, *err.text ? err.text : strerror(-r));
	}
	loop_post(&s->loop, &k->task);
	return 0;
}

struct cancel {
	struct task task;
	struct server *server;
	struct control_reply *reply;
};

static void cancel_run(struct task *task)
{
	struct cancel *x = container_of(task, struct cancel, task);

	for (struct collector *k = x->server->collectors; k; k = k->next)
		if (k->reply == x->reply) {
			collect_fail(k->collect, "cancelled");
			finish(k);
			break;
		}
	free(x);
}

static void exec_cancel(void *object, struct control_reply *reply)
{
	struct server *s = object;
	struct cancel *x = calloc(1, sizeof(*x));

	if (!x) {
		log_error("a command of .aib/exec runs on: out of memory");
		return;
	}
	*x = (struct cancel){.task.run = cancel_run, .server = s, .reply = reply};
	loop_post(&s->loop, &x->task);
}

const struct control_file_ops collector_file = {.transact = exec_transact, .cancel = exec_cancel};
