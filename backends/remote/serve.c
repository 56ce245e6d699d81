/*
 * The life of a served connection: threads that take turns at reading, requests that run, answers.
 */
#include "serve.h"

#include "base/log.h"
#include "server.h"

#include <signal.h>
#include <string.h>

#define DEFAULT_THREADS 32
#define STACK_SIZE (1 << 20)

void server_end(struct server *s, int result)
{
	pthread_mutex_lock(&s->lock);
	if (!s->end) {
		s->end = true;
		s->result = result;
		for (struct server_call *c = s->calls; c; c = c->next)
			bk_req_cancel(&c->req);
	}
	pthread_mutex_unlock(&s->lock);
	remote_stream_shutdown(&s->stream);
}

/* Whether R only says that the client is not there any more. */
static bool is_gone(int r)
{
	return r == -ECONNRESET || r == -EPIPE;
}

static bool has_ended(struct server *s)
{
	bool end;

	pthread_mutex_lock(&s->lock);
	end = s->end;
	pthread_mutex_unlock(&s->lock);
	return end;
}

/* ---- Requests that run ---- */

static void call_begin(struct server_call *c)
{
	struct server *s = c->s;

	c->out = (struct remote_msg){.data = NULL};
	bk_req_init(&c->req, c->in.uid, c->in.gid, c->in.pid, 0);
	c->req.writeback = c->in.caller_flags & REMOTE_FROM_WRITEBACK;
	pthread_mutex_lock(&s->lock);
	c->prev = NULL;
	c->next = s->calls;
	if (c->next)
		c->next->prev = c;
	s->calls = c;
	if (s->end)
		bk_req_cancel(&c->req);
	pthread_mutex_unlock(&s->lock);
}

static void call_end(struct server_call *c)
{
	struct server *s = c->s;

	pthread_mutex_lock(&s->lock);
	*(c->prev ? &c->prev->next : &s->calls) = c->next;
	if (c->next)
		c->next->prev = c->prev;
	pthread_mutex_unlock(&s->lock);
	bk_req_done(&c->req);
	server_call_unref(c);
}

static void cancel(struct server *s, uint64_t id)
{
	pthread_mutex_lock(&s->lock);
	for (struct server_call *c = s->calls; c; c = c->next)
		if (c->head.id == id)
			bk_req_cancel(&c->req);
	pthread_mutex_unlock(&s->lock);
}

static void answer(struct server_call *c, int r)
{
	struct server *s = c->s;
	uint8_t head[REMOTE_MAX_HEAD];
	/* An errno beyond those there are is a fault of the backend's. */
	unsigned error = r == 0 ? 0 : -r <= REMOTE_MAX_ERRNO ? -r : EIO;
	size_t len = remote_encode(head, c->head.op, REMOTE_ANSWER, c->head.id, error, &c->out);
	struct iovec iov[] = {{head, len}, {(void *)c->out.data, error ? 0 : c->out.data_len}};

	pthread_mutex_lock(&s->sending);
	r = remote_stream_send_wait(&s->stream, iov, ARRAY_SIZE(iov));
	pthread_mutex_unlock(&s->sending);
	if (r < 0)
		server_end(s, is_gone(r) ? 0 : r);
}

static void run(struct server_call *c)
{
	if (remote_has_answer(c->head.op))
		answer(c, server_run(c));
	call_end(c);
}

/* ---- Reading: the turn is held ---- */

/* -ENOTCONN where the client has ended between two frames. */
static int read_frame(struct server_call *c)
{
	struct server *s = c->s;
	uint8_t head[REMOTE_HEADER];
	size_t got = 0;
	int r = remote_input_fill(&s->input, &s->stream, true, head, sizeof(head), &got);

	if (r < 0)
		return is_gone(r) && got == 0 ? -ENOTCONN : r;
	r = remote_decode_head(head, &c->head);
	if (r < 0 || c->head.error)
		return -EPROTO;
	got = 0;
	r = remote_input_fill(&s->input, &s->stream, true, c->payload, c->head.len, &got);
	if (r < 0)
		return r;
	return remote_decode(c->payload, c->head.len, c->head.op, REMOTE_REQUEST, &c->in);
}

static int check_order(struct server *s, const struct server_call *c)
{
	if (s->greeted || c->head.op != REMOTE_HELLO)
		return s->greeted && c->head.op != REMOTE_HELLO ? 0 : -EPROTO;
	if (c->in.magic != REMOTE_MAGIC || c->in.version < 1 || c->in.inflight < 1)
		return -EPROTO;
	if (s->inflight > c->in.inflight)
		s->inflight = c->in.inflight;
	s->greeted = true;
	return 0;
}

/* Read until there is a request to run, resolved. What only concerns the server is done at once. */
static int next_request(struct server_call *c)
{
	struct server *s = c->s;

	for (;;) {
		int r = read_frame(c);

		if (r == 0)
			r = check_order(s, c);
		if (r < 0)
			return r;
		switch (c->head.op) {
		case REMOTE_CANCEL:
			cancel(s, c->head.id);
			break;
		case REMOTE_FORGET:
			r = server_forget_all(s, &c->in);
			break;
		default:
			r = server_resolve(c);
			if (r == 0)
				return 0;
			server_call_unref(c);
		}
		if (r < 0)
			return r;
	}
}

/* ---- Threads ---- */

static void *thread_main(void *arg);

/* Signals are for the program's main thread. */
static bool start_thread(struct server *s)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t id;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&id, &attr, thread_main, s);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r == 0;
}

/* Somebody is to read while this thread works; without a thread to be had, nobody is. */
static void leave_turn(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->waiting--;
	if (s->waiting == 0 && s->threads <= s->inflight && start_thread(s)) {
		s->threads++;
		s->waiting++;
	}
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&s->turn);
}

static void wait_again(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->waiting++;
	pthread_mutex_unlock(&s->lock);
}

/* Take requests and run them until the end. The thread counts as waiting for the turn at first. */
static void work(struct server *s)
{
	_cleanup_free_ uint8_t *payload = malloc(REMOTE_MAX_PAYLOAD);
	_cleanup_free_ uint8_t *data = malloc(REMOTE_MAX_DATA);
	struct server_call c = {.s = s, .payload = payload, .data = data};

	if (!payload || !data)
		server_end(s, -ENOMEM);
	for (;;) {
		int r;

		pthread_mutex_lock(&s->turn);
		r = has_ended(s) ? -ENOTCONN : next_request(&c);
		if (r < 0) {
			server_end(s, r == -ENOTCONN ? 0 : r);
			pthread_mutex_unlock(&s->turn);
			return;
		}
		call_begin(&c);
		leave_turn(s);
		run(&c);
		wait_again(s);
	}
}

static void thread_ended(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->threads--;
	pthread_cond_signal(&s->ended);
	pthread_mutex_unlock(&s->lock);
}

static void *thread_main(void *arg)
{
	work(arg);
	thread_ended(arg);
	return NULL;
}

/* ---- The connection ---- */

static void server_init(struct server *s, struct bk *bk, int in, int out, unsigned threads)
{
	remote_stream_init(&s->stream, in, out);
	s->bk = bk;
	s->inflight = threads ? threads : DEFAULT_THREADS;
	s->nodes.max = SERVER_MAX_NODES;
	s->files.max = SERVER_MAX_FILES;
	s->threads = s->waiting = 1;
	pthread_mutex_init(&s->turn, NULL);
	pthread_mutex_init(&s->sending, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->ended, NULL);
}

static void server_done(struct server *s)
{
	server_objects_done(s);
	remote_stream_done(&s->stream);
	pthread_cond_destroy(&s->ended);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->sending);
	pthread_mutex_destroy(&s->turn);
}

int remote_serve(struct bk *bk, int in, int out, const struct remote_serve_conf *conf)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		if (out != in)
			closep(&out);
		closep(&in);
		return -ENOMEM;
	}
	server_init(s, bk, in, out, conf ? conf->threads : 0);
	work(s);
	pthread_mutex_lock(&s->lock);
	s->threads--;
	while (s->threads > 0)
		pthread_cond_wait(&s->ended, &s->lock);
	r = s->result;
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		log_error("remote: the connection ended: %s", strerror(-r));
	server_done(s);
	free(s);
	return r;
}
