/*
 * The start of a connection's command, or the answer to a request that may take time: by a worker,
 * since it may block, and back to the loop's thread, where the stream is handed to the client or
 * kept.
 */
#include "connection.h"
#include "starters.h"

#include "../../backends/base/pool.h"
#include "../pass.h"

#include <limits.h>
#include <string.h>

/* A command's start, on its way through a worker and back. */
struct start {
	struct work work;
	struct starter *starter;
	struct task task;
	struct conn *conn;
	struct bk_req req;
	struct bk_stream *stream;
	char *reply; /* of what is no command */
	struct err err;
	int result;
};

static int answer(struct start *st)
{
	const struct server_conf *conf = &st->conn->server->conf;
	bool all = server_allows(st->conn->server, st->conn->uid);
	cJSON *reply = NULL;
	int r = conf->sessions(conf->ctx, &st->req, all, st->conn->request.json, &reply, &st->err);

	if (r == 0)
		st->reply = cJSON_PrintUnformatted(reply);
	cJSON_Delete(reply);
	return r == 0 && !st->reply ? -ENOMEM : r;
}

static void start_run(struct work *work)
{
	struct start *st = container_of(work, struct start, work);
	const struct request *q = &st->conn->request;
	struct bk *bk = q->sandbox.bk;

	st->result = bk_req_check(&st->req);
	if (st->result == 0 && !bk)
		st->result = answer(st);
	else if (st->result == 0)
		st->result = bk->ops->sandbox->exec(&st->req, bk, &q->exec, &st->stream, &st->err);
	loop_post(&st->conn->server->loop, &st->task);
}

/* Whatever the client said already would have to be sent on: then it stays with us. */
static bool can_hand_over(const struct conn *c, const struct bk_stream *stream)
{
	return c->request.stream && stream->ops->take_fd && c->in.len == 0 &&
	       scan_at_boundary(&c->from_client);
}

static void hand_over(struct conn *c, struct bk_stream *stream)
{
	const char *name = c->request.sandbox.name;
	size_t len = strnlen(name, NAME_MAX);
	int fd = stream->ops->take_fd(stream), r = fd;
	uint8_t frame[PROTO_HEADER + NAME_MAX];

	stream->ops->free(stream);
	proto_put_header(frame, PROTO_STREAM, len);
	memcpy(frame + PROTO_HEADER, name, len);
	if (r >= 0)
		r = pass_send(c->client.fd, frame, PROTO_HEADER + len, fd);
	/* The guest has to see the end of the client's. */
	closep(&fd);
	c->state = HANDED;
	if (r < 0) {
		conn_changed(c);
		conn_end_with_error(c, r, &(struct err){""});
	}
}

static void use_stream(struct conn *c, struct bk_stream *stream)
{
	c->counted = true;
	atomic_fetch_add(&c->server->commands, 1);
	atomic_fetch_add(&c->server->running, 1);
	if (can_hand_over(c, stream))
		hand_over(c, stream);
	else
		conn_stream_attach(c, stream);
}

static void start_done(struct task *task)
{
	struct start *st = container_of(task, struct start, task);
	struct conn *c = st->conn;
	struct server *s = c->server;

	c->start = NULL;
	if (c->client.fd < 0) {
		if (st->stream)
			st->stream->ops->free(st->stream);
	} else if (st->result < 0) {
		if (st->result == -ETIMEDOUT && !*st->err.text)
			err_set(&st->err, 0, "%s did not start in time",
				c->request.sandbox.bk ? c->request.sandbox.name : "what was asked");
		conn_end_with_error(c, st->result, &st->err);
	} else if (st->reply) {
		conn_end_with(c, PROTO_REPLY, st->reply);
	} else {
		use_stream(c, st->stream);
	}
	starter_put(s, st->starter);
	bk_req_done(&st->req);
	free(st->reply);
	free(st);
	conn_update(c);
	server_started(s);
}

int conn_start(struct conn *c, struct err *err)
{
	struct server *s = c->server;
	struct start *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	st->work.run = start_run;
	st->task.run = start_done;
	st->conn = c;
	r = starter_get(s, c->request.sandbox.bk, &st->starter);
	if (r < 0) {
		free(st);
		return r;
	}
	bk_req_init(&st->req, c->uid, 0, 0, s->conf.start_timeout_ms);
	r = pool_submit(st->starter->pool, &st->work, false);
	if (r < 0) {
		starter_put(s, st->starter);
		bk_req_done(&st->req);
		free(st);
		return err_set(err, r, "%s: too many commands wait to start",
			       c->request.sandbox.bk ? c->request.sandbox.name : "sessions");
	}
	c->start = st;
	c->state = STARTING;
	return 0;
}

void conn_start_cancel(struct start *st)
{
	bk_req_cancel(&st->req);
}
