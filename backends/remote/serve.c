/*
 * The life of a served connection: threads that take turns at reading, requests that run, answers.
 */
#include "serve.h"

#include "base/log.h"
#include "base/thread.h"
#include "server.h"

#include <string.h>
#include <sys/eventfd.h>

#define DEFAULT_THREADS 32
#define STACK_SIZE (1 << 20)

void serve_end(struct server *s, int result)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&s->lock);
	if (!s->end) {
		s->end = true;
		s->result = result;
		for (struct server_call *c = s->calls; c; c = c->next)
			bk_req_cancel(&c->req);
	}
	pthread_mutex_unlock(&s->lock);
	remote_stream_shutdown(&s->stream);
	turns_end(&s->turns);
	/* It fails where the counter is full, and then it is set. */
	if (write(s->over, &one, sizeof(one)) < 0)
		return;
}

/* Whether R only says that the client is not there any more. */
static bool is_gone(int r)
{
	return r == -ECONNRESET || r == -EPIPE;
}

/* ---- Requests that run ---- */

static void call_begin(struct server_call *c)
{
	struct server *s = c->s;

	c->out = (struct remote_msg){.data = NULL};
	c->fd = -1;
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
	closep(&c->fd);
	serve_call_unref(c);
}

static void cancel(struct server *s, uint64_t id)
{
	pthread_mutex_lock(&s->lock);
	for (struct server_call *c = s->calls; c; c = c->next)
		if (c->head.id == id)
			bk_req_cancel(&c->req);
	pthread_mutex_unlock(&s->lock);
}

static int send_answer(struct server_call *c, int r)
{
	struct server *s = c->s;
	uint8_t head[REMOTE_MAX_HEAD];
	/* An errno beyond those there are is a fault of the backend's. */
	unsigned error = r == 0 ? 0 : -r <= REMOTE_MAX_ERRNO ? -r : EIO;
	size_t len = remote_encode(head, c->head.op, REMOTE_ANSWER, c->head.id, error, &c->out);
	struct iovec iov[] = {{head, len}, {(void *)c->out.data, error ? 0 : c->out.data_len}};

	pthread_mutex_lock(&s->sending);
	r = remote_stream_write(&s->stream, iov, ARRAY_SIZE(iov), error ? -1 : c->fd);
	pthread_mutex_unlock(&s->sending);
	return r;
}

static void answer(struct server_call *c, int r)
{
	int sent = send_answer(c, r);

	/* The kernel counts all that are under way of one user: without, then. */
	if (sent == -ETOOMANYREFS) {
		c->out.flags &= ~(uint32_t)REMOTE_HAS_FD;
		closep(&c->fd);
		c->fd = -1;
		sent = send_answer(c, r);
	}
	if (sent < 0)
		serve_end(c->s, is_gone(sent) ? 0 : sent);
}

static void run(struct server_call *c)
{
	if (remote_has_answer(c->head.op))
		answer(c, serve_run(c));
	call_end(c);
}

/* ---- Reading: this thread has the turn ---- */

/* 0 where something may have come, -EPIPE at the end. A pipe's other end may close only what it
 * took. */
static int wait_for_input(struct server *s)
{
	struct pollfd p[] = {{.fd = s->stream.in, .events = POLLIN},
			     {.fd = s->over, .events = POLLIN},
			     {.fd = s->stream.out}};

	(void)spin_poll(&s->spin, p, ARRAY_SIZE(p), -1);
	return p[1].revents || (p[2].revents && !p[0].revents) ? -EPIPE : 0;
}

static int read_part(struct server *s, void *data, size_t size)
{
	size_t got = 0;
	int r;

	do
		r = remote_input_fill(&s->input, &s->stream, data, size, &got);
	while (r == -EAGAIN && (r = wait_for_input(s)) == 0);
	return is_gone(r) && got > 0 ? -EPROTO : r;
}

/* -ENOTCONN where the client has ended between two frames. */
static int read_frame(struct server_call *c)
{
	struct server *s = c->s;
	uint8_t head[REMOTE_HEADER];
	int r = read_part(s, head, sizeof(head));

	if (r < 0)
		return is_gone(r) ? -ENOTCONN : r;
	if (remote_decode_head(head, &c->head) < 0 || c->head.error)
		return -EPROTO;
	r = read_part(s, c->payload, c->head.len);
	if (r < 0)
		return is_gone(r) ? -EPROTO : r;
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
	s->passes_fds = s->stream.local && c->in.flags & REMOTE_CAN_PASS_FDS;
	s->searches = s->conf.search && c->in.flags & REMOTE_CAN_SEARCH;
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
			r = serve_forget_all(s, &c->in);
			break;
		default:
			r = serve_resolve(c);
			if (r == 0)
				return 0;
			serve_call_unref(c);
		}
		if (r < 0)
			return r;
	}
}

/* ---- Threads ---- */

static void *thread_main(void *arg);

static bool start_thread(struct server *s)
{
	return thread_start_detached(STACK_SIZE, thread_main, s) == 0;
}

static bool has_more(struct server *s)
{
	struct pollfd p = {.fd = s->stream.in, .events = POLLIN};

	return remote_input_pending(&s->input, &s->stream) || poll(&p, 1, 0) > 0;
}

/* This thread has a request: another may wait for input, where there is one to be had. */
static void leave_turn(struct server *s)
{
	if (!turns_leave(&s->turns, 0, has_more(s)))
		return;
	pthread_mutex_lock(&s->lock);
	if (s->threads <= s->inflight && start_thread(s))
		s->threads++;
	pthread_mutex_unlock(&s->lock);
}

/* Take requests and run them until the end. */
static void work(struct server *s)
{
	_cleanup_free_ uint8_t *payload = malloc(REMOTE_MAX_PAYLOAD);
	_cleanup_free_ uint8_t *data = malloc(REMOTE_MAX_DATA);
	struct server_call c = {.s = s, .payload = payload, .data = data, .fd = -1};

	if (!payload || !data)
		serve_end(s, -ENOMEM);
	turns_join(&s->turns);
	while (turns_take(&s->turns) > 0) {
		int r = next_request(&c);

		if (r < 0) {
			serve_end(s, r == -ENOTCONN ? 0 : r);
			return;
		}
		call_begin(&c);
		leave_turn(s);
		run(&c);
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

static int server_init(struct server *s, struct bk *bk, const struct remote_serve_conf *conf)
{
	s->bk = bk;
	if (conf)
		s->conf = *conf;
	s->inflight = s->conf.threads ? s->conf.threads : DEFAULT_THREADS;
	s->nodes.max = SERVER_MAX_NODES;
	s->files.max = SERVER_MAX_FILES;
	s->threads = 1;
	pthread_mutex_init(&s->sending, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->ended, NULL);
	turns_init(&s->turns, 1);
	remote_input_init(&s->input);
	s->over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->over < 0 ? -errno : 0;
}

static void server_done(struct server *s)
{
	serve_objects_done(s);
	remote_input_done(&s->input);
	closep(&s->over);
	turns_done(&s->turns);
	pthread_cond_destroy(&s->ended);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->sending);
}

/* This thread works too, then waits for the others. */
static int serve(struct server *s)
{
	int r;

	work(s);
	pthread_mutex_lock(&s->lock);
	s->threads--;
	while (s->threads > 0)
		pthread_cond_wait(&s->ended, &s->lock);
	r = s->result;
	pthread_mutex_unlock(&s->lock);
	return r;
}

int remote_serve(struct bk *bk, int in, int out, const struct remote_serve_conf *conf)
{
	struct remote_stream stream;
	struct server *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	remote_stream_init(&stream, in, out);
	if (s) {
		s->stream = stream;
		r = server_init(s, bk, conf);
		if (r == 0)
			r = serve(s);
		server_done(s);
	}
	if (r < 0)
		log_error("remote: the connection ended: %s", strerror(-r));
	remote_stream_done(&stream);
	free(s);
	return r;
}
