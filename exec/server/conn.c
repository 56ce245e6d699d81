/*
 * A connection's life:
 *
 *   READING   frames of the request gather in `in`
 *   STARTING  a worker starts the command; the client's hangup cancels it
 *   RUNNING   bytes go both ways between the client and the sandbox's stream, scanned but not held
 *   HANDED    the client has the sandbox's stream itself; its hangup says that the command is over
 *   ENDING    what is in `out` goes to the client, then the connection closes
 *   WAITING   the client asked for the end of the daemon and is answered last
 *
 * Each direction has one buffer with a cap; a side is read only while the buffer towards the other
 * has room, so a slow reader slows its writer down and nothing grows.
 */
#include "conn.h"

#include "../../backends/base/log.h"
#include "../../backends/base/pool.h"
#include "../pass.h"
#include "../scan.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define RELAY_SIZE (256 * 1024)

enum state { READING, STARTING, RUNNING, HANDED, ENDING, WAITING };

struct conn {
	struct server *server;
	struct conn *prev, *next;
	enum state state;
	uid_t uid;
	struct watch client, sandbox; /* fd -1: not watched */
	struct buf in, out;	      /* from and to the client */
	struct scan from_client, from_sandbox;
	bool request_done; /* the last REQUEST frame has come */
	struct request request;
	struct bk_stream *stream;
	struct start *start;
	bool heard, exited; /* a first frame, and the last one, came from the sandbox */
};

/* A command's start, on its way through a worker and back. */
struct start {
	struct work work;
	struct task task;
	struct conn *conn;
	struct bk_req req;
	struct bk_stream *stream;
	struct err err;
	int result;
};

static void update(struct conn *c);

/* ---- Ends ---- */

static void close_stream(struct conn *c)
{
	if (!c->stream)
		return;
	if (c->sandbox.fd >= 0)
		loop_remove(&c->server->loop, &c->sandbox);
	c->stream->ops->free(TAKE(c->stream));
}

static void close_client(struct conn *c)
{
	int fd = c->client.fd;

	if (fd < 0)
		return;
	loop_remove(&c->server->loop, &c->client);
	close(fd);
}

static void tell_change(struct conn *c)
{
	struct bk *bk = c->request.route->bk;

	bk->ops->sandbox->changed(bk);
}

static void conn_free(struct conn *c)
{
	struct server *s = c->server;

	/* Before the client can see that we are done with it. */
	if (c->state == RUNNING || c->state == HANDED)
		tell_change(c);
	close_client(c);
	close_stream(c);
	if (c->start) {
		/* The worker's return will free the rest. */
		bk_req_cancel(&c->start->req);
		return;
	}
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_conns--;
	request_done(&c->request);
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static int put_frame(struct buf *out, uint8_t type, const void *data, size_t len)
{
	uint8_t header[PROTO_HEADER];
	int r;

	proto_put_header(header, type, len);
	r = buf_reserve(out, sizeof(header) + len);
	if (r < 0)
		return r;
	buf_add(out, header, sizeof(header));
	return buf_add(out, data, len);
}

/* The last words to the client. */
static void end_with(struct conn *c, uint8_t type, const char *text)
{
	size_t len = strlen(text);

	close_stream(c);
	c->out.cap = PROTO_MAX_REQUEST;
	while (len >= PROTO_MAX_PAYLOAD) {
		put_frame(&c->out, type, text, PROTO_MAX_PAYLOAD);
		text += PROTO_MAX_PAYLOAD;
		len -= PROTO_MAX_PAYLOAD;
	}
	put_frame(&c->out, type, text, len);
	c->state = ENDING;
}

static void end_with_error(struct conn *c, int code, const struct err *err)
{
	end_with(c, PROTO_ERROR, *err->text ? err->text : strerror(-code));
}

/* ---- Starting a command ---- */

static void start_run(struct work *work)
{
	struct start *st = container_of(work, struct start, work);
	const struct request *q = &st->conn->request;
	struct bk *bk = q->route->bk;

	st->result = bk_req_check(&st->req);
	if (st->result == 0)
		st->result = bk->ops->sandbox->exec(&st->req, bk, &q->exec, &st->stream, &st->err);
	loop_post(&st->conn->server->loop, &st->task);
}

static void sandbox_ready(struct watch *w, uint32_t events);

static void attach(struct conn *c, struct bk_stream *stream)
{
	int r;

	c->stream = stream;
	c->out.cap = RELAY_SIZE;
	r = loop_add(&c->server->loop, &c->sandbox, stream->ops->fd(stream), EPOLLIN);
	if (r < 0) {
		c->sandbox.fd = -1;
		end_with_error(c, r, &(struct err){""});
		return;
	}
	c->state = RUNNING;
}

/* Whatever the client said already would have to be sent on: then it stays with us. */
static bool can_hand_over(const struct conn *c, const struct bk_stream *stream)
{
	return c->request.stream && !c->request.exec.detach && stream->ops->take_fd &&
	       c->in.len == 0 && scan_at_boundary(&c->from_client);
}

static void hand_over(struct conn *c, struct bk_stream *stream)
{
	int fd = stream->ops->take_fd(stream), r = fd;
	uint8_t header[PROTO_HEADER];

	stream->ops->free(stream);
	proto_put_header(header, PROTO_STREAM, 0);
	if (r >= 0)
		r = pass_send(c->client.fd, header, sizeof(header), fd);
	/* The guest has to see the end of the client's. */
	closep(&fd);
	c->state = HANDED;
	if (r < 0) {
		tell_change(c);
		end_with_error(c, r, &(struct err){""});
	}
}

static void start_done(struct task *task)
{
	struct start *st = container_of(task, struct start, task);
	struct conn *c = st->conn;

	c->start = NULL;
	if (c->client.fd < 0) {
		if (st->stream)
			st->stream->ops->free(st->stream);
	} else if (st->result < 0) {
		if (st->result == -ETIMEDOUT && !*st->err.text)
			err_set(&st->err, 0, "sandbox %s did not start in time",
				c->request.route->name);
		end_with_error(c, st->result, &st->err);
	} else if (can_hand_over(c, st->stream)) {
		hand_over(c, st->stream);
	} else {
		attach(c, st->stream);
	}
	bk_req_done(&st->req);
	free(st);
	update(c);
}

static int start_command(struct conn *c, struct err *err)
{
	struct server *s = c->server;
	size_t route = c->request.route - s->conf.routes;
	struct start *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	st->work.run = start_run;
	st->task.run = start_done;
	st->conn = c;
	bk_req_init(&st->req, c->uid, 0, 0, s->conf.start_timeout_ms);
	r = pool_submit(s->pools[route], &st->work, false);
	if (r < 0) {
		bk_req_done(&st->req);
		free(st);
		return err_set(err, r, "sandbox %s: too many commands wait to start",
			       c->request.route->name);
	}
	c->start = st;
	c->state = STARTING;
	return 0;
}

/* ---- Requests ---- */

static void answer_status(struct conn *c)
{
	char *text = status_text(c->server);

	end_with(c, text ? PROTO_REPLY : PROTO_ERROR, text ? text : strerror(ENOMEM));
	free(text);
}

static int answer_umount(struct conn *c)
{
	const struct server_conf *conf = &c->server->conf;

	c->state = WAITING;
	conf->umount(conf->ctx,
		     cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(c->request.json, "force")));
	return 0;
}

static int run_exec(struct conn *c, cJSON *json, struct err *err)
{
	int r;

	if (c->server->n_conns > c->server->conf.max_commands) {
		cJSON_Delete(json);
		return err_set(err, -EAGAIN, "%u commands run already (max_commands)",
			       c->server->conf.max_commands);
	}
	r = request_parse(&c->server->world, json, &c->request, err);
	return r < 0 ? r : start_command(c, err);
}

static int handle_request(struct conn *c, struct err *err)
{
	cJSON *json = cJSON_ParseWithLength(c->in.data ? c->in.data : "", c->in.len);
	const cJSON *op = cJSON_GetObjectItemCaseSensitive(json, "op");
	const char *name = cJSON_IsString(op) ? op->valuestring : "";

	buf_done(&c->in);
	c->in = BUF_INIT(RELAY_SIZE);
	/* The backends may be gone already. */
	if (c->server->ending && strcmp(name, "umount") != 0) {
		cJSON_Delete(json);
		return err_set(err, -ESHUTDOWN, "the mount ends");
	}
	if (strcmp(name, "exec") == 0)
		return run_exec(c, json, err);
	c->request.json = json;
	if (strcmp(name, "status") == 0) {
		answer_status(c);
		return 0;
	}
	if (strcmp(name, "umount") == 0 && c->server->conf.umount)
		return answer_umount(c);
	return err_set(err, -EINVAL, json ? "request: unknown op \"%s\"" : "request: not JSON",
		       name);
}

/* ---- From the client ---- */

static bool client_may_send(const struct conn *c, uint8_t type)
{
	if (c->state == READING)
		return type == PROTO_REQUEST && !c->request_done;
	return type == PROTO_STDIN || type == PROTO_STDIN_EOF || type == PROTO_SIGNAL ||
	       type == PROTO_WINSIZE || type == PROTO_CLOSE;
}

/* Take what the client sent: the payloads of the request's frames, or whole frames for the sandbox.
 */
static int take_client(struct conn *c, const uint8_t *data, size_t len, struct err *err)
{
	while (len > 0) {
		bool header, payload = c->from_client.left > 0;
		ssize_t n = scan_step(&c->from_client, data, len, &header);
		int r = 0;

		if (n < 0 || (header && !client_may_send(c, c->from_client.type)))
			return err_set(err, -EPROTO, "the client broke the exec protocol");
		if (c->state != READING || payload)
			r = buf_add(&c->in, data, n);
		if (header && c->state == READING && c->from_client.left < PROTO_MAX_PAYLOAD)
			c->request_done = true;
		if (r == 0 && c->state == READING && c->request_done && c->from_client.left == 0 &&
		    scan_at_boundary(&c->from_client))
			r = handle_request(c, err);
		if (r < 0)
			return r == -E2BIG ? err_set(err, r, "the request is too long") : r;
		if (c->state == ENDING || c->state == WAITING)
			return 0;
		data += n;
		len -= n;
	}
	return 0;
}

/* False: the client is gone. */
static bool read_client(struct conn *c)
{
	uint8_t data[16384];
	size_t room = c->in.cap - c->in.len;
	struct err err = {""};
	ssize_t n;
	int r;

	n = recv(c->client.fd, data, room < sizeof(data) ? room : sizeof(data), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0 || c->state == HANDED)
		return false;
	if (c->state == ENDING || c->state == WAITING)
		return true;
	r = take_client(c, data, n, &err);
	if (r < 0)
		end_with_error(c, r, &err);
	return true;
}

/* False: the client is gone. */
static bool write_client(struct conn *c)
{
	ssize_t n;

	while (c->out.len > 0) {
		n = send(c->client.fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_consume(&c->out, n);
	}
	return true;
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, client);
	bool alive = true;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		alive = read_client(c);
	if (alive && events & EPOLLOUT)
		alive = write_client(c);
	if (!alive) {
		conn_free(c);
		return;
	}
	update(c);
}

/* ---- From the sandbox ---- */

static void answer_job(struct conn *c)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"job\": \"%s-%lu\"}", c->request.route->name,
		 ++c->server->jobs);
	end_with(c, PROTO_REPLY, text);
}

/* A frame begins. What a command changed is forgotten before its end can be read. */
static int sandbox_frame(struct conn *c)
{
	switch (c->from_sandbox.type) {
	case PROTO_STARTED:
	case PROTO_STDOUT:
	case PROTO_STDERR:
	case PROTO_CREDIT:
		return c->exited ? -EPROTO : 0;
	case PROTO_EXIT:
		if (c->exited || c->from_sandbox.left != PROTO_EXIT_SIZE)
			return -EPROTO;
		c->exited = true;
		tell_change(c);
		return 0;
	case PROTO_ERROR:
		if (c->heard)
			return -EPROTO;
		c->exited = true;
		return 0;
	default:
		return -EPROTO;
	}
}

static int take_sandbox(struct conn *c, const uint8_t *data, size_t len)
{
	while (len > 0) {
		bool header;
		ssize_t n = scan_step(&c->from_sandbox, data, len, &header);
		int r = n < 0 ? n : header ? sandbox_frame(c) : 0;

		if (r < 0)
			return r;
		c->heard |= header;
		if (header && c->request.exec.detach && c->from_sandbox.type == PROTO_STARTED) {
			buf_done(&c->out);
			answer_job(c);
			return 0;
		}
		r = buf_add(&c->out, data, n);
		if (r < 0)
			return r;
		data += n;
		len -= n;
	}
	if (c->exited && scan_at_boundary(&c->from_sandbox)) {
		close_stream(c);
		c->state = ENDING;
	}
	return 0;
}

/* Where the guest was not started at all, the engine says why, in words in place of frames. What is
 * not printable in them does not reach a terminal. */
static void engine_words(const struct conn *c, const uint8_t *data, size_t len, struct err *ret)
{
	char words[256];
	size_t n = 0;

	for (; n < len && n < sizeof(words) - 1; n++)
		words[n] = data[n] >= ' ' && data[n] < 0x7f ? data[n] : ' ';
	while (n > 0 && words[n - 1] == ' ')
		n--;
	words[n] = '\0';
	err_set(ret, 0, "sandbox %s: the command was not started: %s", c->request.route->name,
		words);
}

/* DATA: what came last, and could not be taken. */
static void sandbox_lost(struct conn *c, int r, const uint8_t *data, size_t len)
{
	struct err err;

	tell_change(c);
	if (!c->heard && len > 0)
		engine_words(c, data, len, &err);
	else
		err_set(&err, r,
			"sandbox %s: the connection to the command was lost (%s); was the sandbox "
			"stopped? (aib status)",
			c->request.route->name, r < 0 ? strerror(-r) : "end of stream");
	log_warning("%s", err.text);
	if (!c->heard || scan_at_boundary(&c->from_sandbox)) {
		buf_consume(&c->out, c->heard ? 0 : c->out.len);
		end_with_error(c, r, &err);
		return;
	}
	/* In the middle of a frame no other can begin: the client sees the end. */
	close_stream(c);
	c->state = ENDING;
}

static void read_sandbox(struct conn *c)
{
	uint8_t data[65536];

	do {
		size_t room = c->out.cap - c->out.len;
		ssize_t n;
		int r;

		if (room == 0)
			return;
		n = c->stream->ops->read(c->stream, data,
					 room < sizeof(data) ? room : sizeof(data));
		if (n == -EAGAIN)
			return;
		r = n > 0 ? take_sandbox(c, data, n) : n;
		if (n <= 0 || r < 0) {
			sandbox_lost(c, r, data, n > 0 ? n : 0);
			return;
		}
	} while (c->stream && c->stream->ops->pending(c->stream));
}

static void write_sandbox(struct conn *c)
{
	while (c->in.len > 0) {
		ssize_t n = c->stream->ops->write(c->stream, c->in.data, c->in.len);

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			/* The reading side knows how it ended. */
			buf_done(&c->in);
			return;
		}
		buf_consume(&c->in, n);
	}
}

static void sandbox_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, sandbox);

	if (events & EPOLLOUT)
		write_sandbox(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_sandbox(c);
	update(c);
}

/* ---- What to wait for ---- */

/* A stream that nothing is wanted of is not watched at all: its hangup would be reported for ever.
 */
static void update_sandbox(struct conn *c)
{
	struct loop *l = &c->server->loop;
	uint32_t events = 0;

	write_sandbox(c);
	if (c->out.len < c->out.cap)
		events |= EPOLLIN;
	if (c->in.len > 0)
		events |= EPOLLOUT;
	if (c->sandbox.fd < 0 && events)
		loop_add(l, &c->sandbox, c->stream->ops->fd(c->stream), events);
	else if (c->sandbox.fd >= 0 && !events)
		loop_remove(l, &c->sandbox);
	else if (events)
		loop_set(l, &c->sandbox, events);
}

/* Send what can be sent now, then watch for what is missing. May free the connection. */
static void update(struct conn *c)
{
	uint32_t events = 0;

	if (c->client.fd < 0 || !write_client(c)) {
		conn_free(c);
		return;
	}
	if (c->state == RUNNING && c->stream->ops->pending(c->stream) && c->out.len < c->out.cap) {
		read_sandbox(c);
		if (!write_client(c)) {
			conn_free(c);
			return;
		}
	}
	if (c->state == RUNNING)
		update_sandbox(c);
	if (c->state == ENDING && c->out.len == 0) {
		conn_free(c);
		return;
	}
	if (c->in.len < c->in.cap || c->state == ENDING || c->state == WAITING)
		events |= EPOLLIN;
	if (c->out.len > 0)
		events |= EPOLLOUT;
	loop_set(&c->server->loop, &c->client, events);
}

/* ---- All of them ---- */

int conn_new(struct server *s, int fd, uid_t uid)
{
	struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->server = s;
	c->uid = uid;
	c->in = BUF_INIT(PROTO_MAX_REQUEST);
	c->out = BUF_INIT(PROTO_MAX_REQUEST);
	c->client.ready = client_ready;
	c->sandbox.ready = sandbox_ready;
	c->sandbox.fd = -1;
	r = loop_add(&s->loop, &c->client, fd, EPOLLIN);
	if (r < 0) {
		close(fd);
		free(c);
		return r;
	}
	c->next = s->conns;
	if (c->next)
		c->next->prev = c;
	s->conns = c;
	s->n_conns++;
	return 0;
}

void conn_close_all(struct server *s)
{
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		if (c->state != WAITING)
			conn_free(c);
	}
}

void conn_progress(struct server *s, const char *text)
{
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		if (c->state == WAITING) {
			put_frame(&c->out, PROTO_PROGRESS, text, strlen(text));
			update(c);
		}
	}
}

/* The daemon's end, with its thread gone: the little that is to be said is sent at once or not. */
void conn_answer_end(struct server *s)
{
	while (s->conns) {
		struct conn *c = s->conns;

		if (c->state == WAITING && c->client.fd >= 0) {
			end_with(c, PROTO_REPLY, "{}");
			write_client(c);
		}
		conn_free(c);
	}
}
