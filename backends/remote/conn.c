/*
 * The bytes of the client end: frames out, as far as the stream takes them and the rest by the
 * connection's own thread; frames in, on that thread. It ends when the connection is over.
 */
#include "client.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

/* The most that may wait to be sent: every slot's longest frame, and room for what has no slot. A
 * peer that lets more come together does not read. */
#define MAX_OUT ((CLIENT_SLOTS + 16) * (size_t)(REMOTE_MAX_PAYLOAD + REMOTE_HEADER))
/* Forgets are sent when so many have come together, or so long after the first. */
#define FORGETS 128
#define FORGET_MS 20
/* After so long without a caller that received, the connection's thread does. */
#define IDLE_MS 10
/* Frames that are received before sending has its turn. */
#define FRAMES_AT_ONCE 64

static void set_event(int fd)
{
	const uint64_t one = 1;

	/* It fails where the counter is full, and then it is set. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

static void clear_event(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return;
}

static void wake_up(struct remote *r)
{
	set_event(r->wake);
}

static bool is_over(struct remote *r)
{
	bool over;

	pthread_mutex_lock(&r->lock);
	over = r->over;
	pthread_mutex_unlock(&r->lock);
	return over;
}

int remote_conn_fail(struct remote *r, const char *why)
{
	bool first;

	pthread_mutex_lock(&r->lock);
	first = !r->over;
	r->over = true;
	for (size_t i = 0; first && i < ARRAY_SIZE(r->slots); i++)
		pthread_cond_broadcast(&r->slots[i].answered);
	pthread_cond_broadcast(&r->slot_free);
	pthread_mutex_unlock(&r->lock);
	if (first) {
		log_error("route %s: the connection to its server ended: %s", r->bk.route, why);
		remote_stream_shutdown(&r->stream);
		set_event(r->nudge);
		wake_up(r);
	}
	return -EIO;
}

/* ---- Out ---- */

/* Send or keep all of IOV. */
static int send_locked(struct remote *r, const struct iovec *iov, int n)
{
	ssize_t taken = -EAGAIN;
	int e = 0;

	if (r->out_pos == r->out.len)
		taken = remote_stream_send(&r->stream, iov, n);
	if (taken < 0 && taken != -EAGAIN)
		return taken;
	if (taken < 0)
		taken = 0;
	for (int i = 0; i < n && e == 0; i++) {
		size_t skip = (size_t)taken < iov[i].iov_len ? (size_t)taken : iov[i].iov_len;

		if (skip < iov[i].iov_len)
			e = buf_add(&r->out, (const char *)iov[i].iov_base + skip,
				    iov[i].iov_len - skip);
		taken -= skip;
	}
	return e;
}

static int send_frame_locked(struct remote *r, enum remote_op op, uint64_t id,
			     const struct remote_msg *m)
{
	uint8_t head[REMOTE_MAX_HEAD];
	size_t len = remote_encode(head, op, REMOTE_REQUEST, id, 0, m);
	const struct iovec iov[] = {{head, len}, {(void *)m->data, m->data_len}};

	return send_locked(r, iov, ARRAY_SIZE(iov));
}

static int flush_forgets_locked(struct remote *r)
{
	struct remote_msg m = {.data = r->forgets.data, .data_len = r->forgets.len};
	int e = m.data_len > 0 ? send_frame_locked(r, REMOTE_FORGET, 0, &m) : 0;

	r->forgets.len = 0;
	return e;
}

static int flush_out_locked(struct remote *r)
{
	ssize_t n = 0;

	while (r->out_pos < r->out.len && n >= 0) {
		const struct iovec iov = {r->out.data + r->out_pos, r->out.len - r->out_pos};

		n = remote_stream_send(&r->stream, &iov, 1);
		if (n > 0)
			r->out_pos += n;
	}
	/* What was sent is never more than what waits, which it is moved over. */
	if (r->out_pos >= r->out.len - r->out_pos) {
		buf_consume(&r->out, r->out_pos);
		r->out_pos = 0;
	}
	return n == -EAGAIN || n > 0 ? 0 : n;
}

static int sent(struct remote *r, int e)
{
	return e < 0 ? remote_conn_fail(r, strerror(-e)) : 0;
}

void remote_conn_send(struct remote *r, enum remote_op op, uint64_t id, const struct remote_msg *m)
{
	bool kept;
	int e;

	pthread_mutex_lock(&r->sending);
	kept = r->out_pos < r->out.len;
	e = send_frame_locked(r, op, id, m);
	kept = !kept && r->out_pos < r->out.len;
	pthread_mutex_unlock(&r->sending);
	if (sent(r, e) == 0 && kept)
		wake_up(r);
}

void remote_conn_forget(struct remote *r, uint64_t id, uint64_t count)
{
	uint8_t bytes[REMOTE_FORGET_SIZE];
	const struct remote_forget f = {id, count};
	bool first;
	int e = 0;

	remote_put_forget(bytes, &f);
	pthread_mutex_lock(&r->sending);
	first = r->forgets.len == 0;
	/* Without memory the server keeps a node until the end. */
	(void)buf_add(&r->forgets, bytes, sizeof(bytes));
	if (r->forgets.len >= FORGETS * sizeof(bytes))
		e = flush_forgets_locked(r);
	pthread_mutex_unlock(&r->sending);
	if (sent(r, e) == 0 && first)
		wake_up(r);
}

/* ---- In ---- */

static int receive_head(struct remote *r)
{
	int e = remote_input_fill(&r->input, &r->stream, r->head_bytes, REMOTE_HEADER, &r->got);

	if (e == 0)
		e = remote_decode_head(r->head_bytes, &r->head);
	if (e < 0)
		return e;
	r->payload = malloc(r->head.len + 1);
	r->got = 0;
	return r->payload ? 0 : -ENOMEM;
}

static int receive_frame(struct remote *r)
{
	int e = r->payload ? 0 : receive_head(r);

	if (e == 0)
		e = remote_input_fill(&r->input, &r->stream, r->payload, r->head.len, &r->got);
	if (e < 0)
		return e;
	r->got = 0;
	return remote_call_answered(r, &r->head, TAKE(r->payload), remote_input_take_fd(&r->input));
}

static int receive(struct remote *r)
{
	int e = 0;

	for (int i = 0; i < FRAMES_AT_ONCE && e == 0; i++)
		e = receive_frame(r);
	return e == -EAGAIN ? 0 : e;
}

static void fail(struct remote *r, int e)
{
	remote_conn_fail(r, e == -EPROTO ? "it broke the protocol" : strerror(-e));
}

/* ---- In, by a caller ---- */

void remote_conn_nudge_locked(struct remote *r)
{
	if (r->receiving)
		set_event(r->nudge);
}

void remote_conn_hand_on_locked(struct remote *r)
{
	for (unsigned i = 0; i < r->n_slots && !r->receiving; i++)
		if (r->slots[i].state == SLOT_SENT && r->slots[i].waited) {
			pthread_cond_signal(&r->slots[i].answered);
			return;
		}
}

/* Frames until DONE, or none is left here. */
static int receive_until(struct remote *r, bool (*done)(void *), void *arg)
{
	bool enough = false;
	int e = 0;

	while (e == 0 && !enough) {
		e = receive_frame(r);
		pthread_mutex_lock(&r->lock);
		enough = done(arg);
		pthread_mutex_unlock(&r->lock);
	}
	return e;
}

/* 0 where something may have come, -ETIMEDOUT, -EINTR after a nudge. */
static int wait_for_input(struct remote *r, struct bk_req *req)
{
	struct pollfd p[] = {{.fd = r->stream.in, .events = POLLIN},
			     {.fd = r->nudge, .events = POLLIN}};
	uint64_t left = bk_req_left_ms(req, 60000);
	bool pending = remote_stream_pending(&r->stream);

	/* A stream that always has something is not waited for any longer than a silent one. */
	if (left == 0 ||
	    (spin_poll(&r->spin, p, ARRAY_SIZE(p), pending ? 0 : left) == 0 && !pending))
		return -ETIMEDOUT;
	if (!p[1].revents)
		return 0;
	clear_event(r->nudge);
	return -EINTR;
}

void remote_conn_receive_locked(struct remote *r, struct bk_req *req, bool (*done)(void *),
				void *arg)
{
	int e;

	r->receiving = true;
	pthread_mutex_unlock(&r->lock);
	/* What came with an earlier frame is here already. */
	do
		e = receive_until(r, done, arg);
	while (e == -EAGAIN && wait_for_input(r, req) == 0);
	if (e < 0 && e != -EAGAIN)
		fail(r, e);
	pthread_mutex_lock(&r->lock);
	r->receiving = false;
	r->received_ms = clock_ms();
}

/* ---- The thread ---- */

struct waiting {
	bool out, forgets;
};

static struct waiting what_waits(struct remote *r)
{
	struct waiting w;

	pthread_mutex_lock(&r->sending);
	w.out = r->out_pos < r->out.len;
	w.forgets = r->forgets.len > 0;
	pthread_mutex_unlock(&r->sending);
	return w;
}

static int send_waiting(struct remote *r, bool forgets)
{
	int e;

	pthread_mutex_lock(&r->sending);
	e = flush_out_locked(r);
	if (e == 0 && forgets)
		e = flush_forgets_locked(r);
	pthread_mutex_unlock(&r->sending);
	return e;
}

/* Whether this thread receives, since nobody else does or has lately. */
static bool begin_receiving(struct remote *r)
{
	bool mine;

	pthread_mutex_lock(&r->lock);
	mine = !r->receiving && clock_ms() - r->received_ms >= IDLE_MS;
	r->receiving |= mine;
	pthread_mutex_unlock(&r->lock);
	return mine;
}

static void end_receiving(struct remote *r)
{
	pthread_mutex_lock(&r->lock);
	r->receiving = false;
	r->received_ms = clock_ms();
	remote_conn_hand_on_locked(r);
	pthread_mutex_unlock(&r->lock);
}

/* One round: wait for something to do, and do it. */
static int turn(struct remote *r, uint64_t *forgets_at)
{
	struct waiting w = what_waits(r);
	bool mine = begin_receiving(r), due, more;
	struct pollfd p[] = {
	    {.fd = mine ? r->stream.in : -1, .events = POLLIN},
	    {.fd = r->wake, .events = POLLIN},
	    {.fd = w.out ? r->stream.out : -1, .events = POLLOUT},
	};
	int e = mine ? receive(r) : 0; /* what is here already */

	more = mine && remote_input_pending(&r->input, &r->stream);
	if (!w.forgets)
		*forgets_at = 0;
	else if (*forgets_at == 0)
		*forgets_at = clock_ms() + FORGET_MS;
	due = *forgets_at && clock_ms() >= *forgets_at;
	if (e == 0)
		(void)poll(p, ARRAY_SIZE(p),
			   due || more ? 0
			   : !mine     ? IDLE_MS
			   : w.forgets ? FORGET_MS
				       : -1);
	if (p[1].revents)
		clear_event(r->wake);
	if (e == 0 && (p[0].revents || more))
		e = receive(r);
	if (mine)
		end_receiving(r);
	if (e == 0 && (p[2].revents || due))
		e = send_waiting(r, due);
	return e;
}

static void *thread_main(void *arg)
{
	struct remote *r = arg;
	uint64_t forgets_at = 0;
	int e = 0;

	while (e == 0 && !is_over(r))
		e = turn(r, &forgets_at);
	if (e < 0)
		fail(r, e);
	return NULL;
}

int remote_conn_start(struct remote *r)
{
	int e;

	r->out.cap = 2 * MAX_OUT; /* with what was sent */
	r->forgets.cap = FORGETS * REMOTE_FORGET_SIZE;
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake < 0 || r->nudge < 0)
		return -errno;
	e = thread_start(&r->thread, NULL, thread_main, r);
	r->has_thread = e == 0;
	return e;
}

void remote_conn_stop(struct remote *r)
{
	pthread_mutex_lock(&r->lock);
	r->over = true;
	pthread_mutex_unlock(&r->lock);
	if (r->has_thread) {
		wake_up(r);
		pthread_join(r->thread, NULL);
	}
	closep(&r->wake);
	closep(&r->nudge);
	remote_stream_done(&r->stream);
	remote_input_done(&r->input);
	free(TAKE(r->payload));
	buf_done(&r->out);
	buf_done(&r->forgets);
}
