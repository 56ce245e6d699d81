/*
 * A connection's life:
 *
 *   READING   frames of the request gather in `in`
 *   STARTING  a worker starts the command; the client's hangup cancels it
 *   RUNNING   bytes go both ways between the client and the sandbox's stream, scanned but not held
 *   OPERATING an operation's worker has the client's socket; the hangup cancels it (ops.c)
 *   HANDED    the client has the sandbox's stream itself; its hangup says that the command is over
 *   JOB       it waits for something of a job
 *   ENDING    what is in `out` goes to the client, then the connection closes
 *   WAITING   the client asked for the end of the daemon and is answered last
 *
 * Each direction has one buffer with a cap; a side is read only while the buffer towards the other
 * has room, so a slow reader slows its writer down and nothing grows.
 */
#include "connection.h"

#include "../../backends/base/log.h"
#include "../frames.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* ---- Ends ---- */

static void close_client(struct conn *c)
{
	int fd = c->client.fd;

	if (fd < 0)
		return;
	loop_remove(&c->server->loop, &c->client);
	close(fd);
}

void conn_changed(struct conn *c)
{
	server_changed(c->server, c->request.sandbox.bk);
}

static void conn_free(struct conn *c)
{
	struct server *s = c->server;

	/* Before the client can see that we are done with it. */
	if (c->state == RUNNING || c->state == HANDED)
		conn_changed(c);
	conn_stream_close(c);
	if (!c->start && !c->operating)
		bk_leave(&c->request.sandbox);
	close_client(c);
	conn_job_drop(c);
	if (c->start) {
		/* The worker's return will free the rest. */
		conn_start_cancel(c->start);
		return;
	}
	if (c->operating) {
		conn_operate_cancel(c);
		return;
	}
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_conns--;
	if (c->counted)
		atomic_fetch_sub(&s->running, 1);
	request_done(&c->request);
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

int conn_put(struct conn *c, uint8_t type, const void *data, size_t len)
{
	return frames_add(&c->out, type, data, len);
}

void conn_end_with(struct conn *c, uint8_t type, const char *text)
{
	conn_stream_close(c);
	c->out.cap = PROTO_MAX_REQUEST;
	frames_add_all(&c->out, type, text, strlen(text), true);
	c->state = ENDING;
}

void conn_end_with_error(struct conn *c, int code, const struct err *err)
{
	conn_end_with(c, PROTO_ERROR, *err->text ? err->text : strerror(-code));
}

/* ---- Requests ---- */

static void answer_status(struct conn *c)
{
	char *text = status_text(c->server);

	conn_end_with(c, text ? PROTO_REPLY : PROTO_ERROR, text ? text : strerror(ENOMEM));
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
	uid_t uid = server_allows(c->server, c->uid) ? 0 : c->uid;
	int r;

	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "detach")))
		return conn_job_start(c, json, err);
	if (c->server->n_conns > c->server->conf.max_commands) {
		cJSON_Delete(json);
		return err_set(err, -EAGAIN, "%u commands run already (max_commands)",
			       c->server->conf.max_commands);
	}
	r = request_parse(&c->server->world, uid, json, &c->request, err);
	return r < 0 ? r : conn_start(c, err);
}

static int handle_request(struct conn *c, struct err *err)
{
	cJSON *json = cJSON_ParseWithLength(c->in.data ? c->in.data : "", c->in.len);
	const cJSON *op = cJSON_GetObjectItemCaseSensitive(json, "op");
	const char *name = cJSON_IsString(op) ? op->valuestring : "";
	int r;

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
	if (strcmp(name, "session") == 0 && c->server->conf.sessions)
		return conn_start(c, err);
	/* Whoever may connect: they look themselves at what he may. */
	if (c->server->conf.tree && ops_known(name))
		return conn_operate(c, json, err);
	r = conn_job_request(c, name, err);
	if (r != -ENOSYS)
		return r;
	if (!server_allows(c->server, c->uid))
		return err_set(err, -EPERM,
			       "%s: only the mount's owner and root may ask that; you may use "
			       "sessions of your own",
			       *name ? name : "request");
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
		if (c->state == ENDING || c->state == WAITING || c->state == JOB)
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
	if (c->state == ENDING || c->state == WAITING || c->state == JOB)
		return true;
	r = take_client(c, data, n, &err);
	if (r < 0)
		conn_end_with_error(c, r, &err);
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

	if (c->state == OPERATING)
		alive = false; /* only the hangup is watched */
	else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		alive = read_client(c);
	if (alive && events & EPOLLOUT)
		alive = write_client(c);
	if (!alive) {
		conn_free(c);
		return;
	}
	conn_update(c);
}

/* ---- What to wait for ---- */

/* Send what can be sent now, then watch for what is missing. May free the connection. */
void conn_update(struct conn *c)
{
	uint32_t events = 0;

	if (c->client.fd < 0 || !write_client(c)) {
		conn_free(c);
		return;
	}
	if (c->state == RUNNING && c->stream->ops->pending(c->stream) && c->out.len < c->out.cap) {
		conn_stream_read(c);
		if (!write_client(c)) {
			conn_free(c);
			return;
		}
	}
	if (c->state == RUNNING)
		conn_stream_update(c);
	if (c->state == JOB)
		conn_job_update(c);
	if (c->state == ENDING && c->out.len == 0) {
		conn_free(c);
		return;
	}
	if (c->state != OPERATING && (c->in.len < c->in.cap || c->state >= JOB))
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
	conn_stream_init(c);
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
			frames_add(&c->out, PROTO_PROGRESS, text, strlen(text));
			conn_update(c);
		}
	}
}

/* The daemon's end, with its thread gone: the little that is to be said is sent at once or not. */
void conn_answer_end(struct server *s)
{
	while (s->conns) {
		struct conn *c = s->conns;

		if (c->state == WAITING && c->client.fd >= 0) {
			conn_end_with(c, PROTO_REPLY, "{}");
			write_client(c);
		}
		conn_free(c);
	}
}
