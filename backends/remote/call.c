/*
 * Requests and answers of the client end: slots, waiting at them, and what becomes of an answer
 * that nobody waits for any more.
 */
#include "client.h"

#include "base/clock.h"

#include <fcntl.h>

#define INDEX_BITS 8

void remote_answer_done(struct answer *a)
{
	free(TAKE(a->payload));
	closep(&a->fd);
	a->fd = -1;
}

/*
 * An errno as the mount may answer it. Two mean more than they say: a read that has to wait, which
 * this backend has none of, and a call that the kernel is never to make again, on any route.
 */
static int errno_of(unsigned error)
{
	switch (error) {
	case EAGAIN:
		return -EIO;
	case ENOSYS:
		return -EOPNOTSUPP;
	default:
		return -(int)error;
	}
}

/* ---- Waiting ---- */

struct waiter {
	struct remote *r;
	pthread_cond_t *cond;
	bool cancelled; /* guarded by remote.lock */
};

static void wake_waiter(void *arg)
{
	struct waiter *w = arg;

	pthread_mutex_lock(&w->r->lock);
	w->cancelled = true;
	pthread_cond_broadcast(w->cond);
	remote_conn_nudge_locked(w->r);
	pthread_mutex_unlock(&w->r->lock);
}

static bool is_late(const struct bk_req *req)
{
	uint64_t at = req ? req->deadline_ms : 0;

	return at && clock_ms() >= at;
}

/* -ETIMEDOUT where REQ's deadline has passed. */
static int wait_once_locked(struct remote *r, struct bk_req *req, pthread_cond_t *cond)
{
	uint64_t at = req ? req->deadline_ms : 0;
	const struct timespec ts = clock_timespec(at);

	if (!at)
		return -pthread_cond_wait(cond, &r->lock);
	if (is_late(req))
		return -ETIMEDOUT;
	(void)pthread_cond_timedwait(cond, &r->lock, &ts);
	return 0;
}

/* Wait at COND until READY(ARG), called with the lock held, returns true: 0, -EINTR, -ETIMEDOUT, or
 * -EIO once the connection is over. */
static int wait_for(struct remote *r, struct bk_req *req, pthread_cond_t *cond,
		    bool (*ready)(void *), void *arg)
{
	struct waiter w = {.r = r, .cond = cond};
	int e = 0;

	bk_req_on_cancel(req, wake_waiter, &w);
	pthread_mutex_lock(&r->lock);
	while (e == 0 && !ready(arg)) {
		if (r->over)
			e = -EIO;
		else if (w.cancelled)
			e = -EINTR;
		else
			e = wait_once_locked(r, req, cond);
	}
	pthread_mutex_unlock(&r->lock);
	bk_req_on_cancel(req, NULL, NULL);
	return e;
}

/* ---- Slots ---- */

struct taking {
	struct remote *r;
	enum remote_op op;
	bool changes;
	struct slot *slot;
};

/* A free slot, if there is one. */
static bool take_slot_locked(void *arg)
{
	struct taking *t = arg;

	for (unsigned i = 0; i < t->r->n_slots && !t->r->over; i++) {
		struct slot *s = &t->r->slots[i];

		if (s->state != SLOT_FREE)
			continue;
		s->state = SLOT_SENT;
		s->id = ((s->id >> INDEX_BITS) + 1) << INDEX_BITS | (i + 1);
		s->op = t->op;
		s->changes = t->changes;
		t->slot = s;
		return true;
	}
	return false;
}

static void free_slot_locked(struct remote *r, struct slot *s)
{
	s->state = SLOT_FREE;
	pthread_cond_signal(&r->slot_free);
}

static int take_slot(struct taking *t, struct bk_req *req, bool wait)
{
	struct remote *r = t->r;
	bool taken;
	int e = 0;

	pthread_mutex_lock(&r->lock);
	taken = take_slot_locked(t);
	if (!taken)
		e = r->over ? -EIO : wait ? 0 : -EAGAIN;
	pthread_mutex_unlock(&r->lock);
	if (taken || e < 0)
		return e;
	return wait_for(r, req, &r->slot_free, take_slot_locked, t);
}

/* ---- Calls ---- */

static bool changes(enum remote_op op, const struct remote_msg *m)
{
	return remote_changes(op) || (op == REMOTE_OPEN && m->flags & O_TRUNC);
}

int remote_call_start(struct remote *r, struct bk_req *req, bool wait, enum remote_op op,
		      struct remote_msg *m, struct slot **ret)
{
	struct taking t = {.r = r, .op = op, .changes = changes(op, m)};
	int e = bk_req_check(req);

	if (e == 0)
		e = take_slot(&t, req, wait);
	if (e < 0)
		return e;
	if (req) {
		m->uid = req->uid;
		m->gid = req->gid;
		m->caller_flags = req->writeback ? REMOTE_FROM_WRITEBACK : 0;
	}
	if (t.changes)
		remote_changed(&r->bk);
	remote_conn_send(r, op, t.slot->id, m);
	*ret = t.slot;
	return 0;
}

static bool slot_is_answered(void *arg)
{
	return ((struct slot *)arg)->state == SLOT_ANSWERED;
}

static int sleep_at_locked(struct remote *r, struct bk_req *req, struct slot *slot)
{
	int e;

	slot->waited = true;
	e = wait_once_locked(r, req, &slot->answered);
	slot->waited = false;
	return e;
}

/* Until SLOT is answered; whoever finds that nobody receives does, for all. */
static int wait_for_answer(struct remote *r, struct bk_req *req, struct slot *slot)
{
	struct waiter w = {.r = r, .cond = &slot->answered};
	int e = 0;

	bk_req_on_cancel(req, wake_waiter, &w);
	pthread_mutex_lock(&r->lock);
	while (e == 0 && !slot_is_answered(slot)) {
		if (r->over)
			e = -EIO;
		else if (w.cancelled)
			e = -EINTR;
		else if (is_late(req))
			e = -ETIMEDOUT;
		else if (!r->receiving)
			remote_conn_receive_locked(r, req, slot_is_answered, slot);
		else
			e = sleep_at_locked(r, req, slot);
	}
	remote_conn_hand_on_locked(r);
	pthread_mutex_unlock(&r->lock);
	bk_req_on_cancel(req, NULL, NULL);
	return e;
}

struct arrived {
	unsigned error;
	uint8_t *payload;
	size_t len;
	int fd;
};

/* Leave SLOT, with its answer where that has come. Returns whether it is to be cancelled. */
static bool leave_slot(struct remote *r, struct slot *slot, struct arrived *ret)
{
	bool pending;

	*ret = (struct arrived){.payload = NULL, .fd = -1};
	pthread_mutex_lock(&r->lock);
	pending = slot->state == SLOT_SENT && !r->over;
	if (pending) {
		slot->state = SLOT_ABANDONED;
	} else {
		*ret = (struct arrived){slot->error, TAKE(slot->payload), slot->len,
					TAKE_FD(slot->fd)};
		free_slot_locked(r, slot);
	}
	pthread_mutex_unlock(&r->lock);
	return pending;
}

/* Whether an answer has a descriptor where it says so: it may be missing, since this process may
 * not have had room for it, but none comes unannounced or where that was not agreed. */
static int check_fd(const struct remote *r, enum remote_op op, const struct answer *a)
{
	bool told = remote_may_have_fd(op) && a->msg.flags & REMOTE_HAS_FD;

	return (told && !r->passes_fds) || (a->fd >= 0 && !told) ? -EPROTO : 0;
}

int remote_call_finish(struct remote *r, struct bk_req *req, struct slot *slot, struct answer *ret)
{
	const struct remote_msg none = {.data = NULL};
	struct answer a = ANSWER_NONE;
	uint64_t id = slot->id;
	enum remote_op op = slot->op;
	struct arrived in;
	int e = wait_for_answer(r, req, slot);

	/* What came in the last moment counts. */
	if (leave_slot(r, slot, &in))
		remote_conn_send(r, REMOTE_CANCEL, id, &none);
	if (!in.payload)
		return e < 0 ? e : -EIO;
	a.payload = in.payload;
	a.fd = in.fd;
	if (in.error) {
		e = errno_of(in.error);
	} else {
		e = remote_decode(in.payload, in.len, op, REMOTE_ANSWER, &a.msg);
		if (e == 0)
			e = check_fd(r, op, &a);
		if (e < 0)
			e = remote_conn_fail(r, "an answer broke the protocol");
	}
	if (e < 0)
		remote_answer_done(&a);
	else
		*ret = a;
	return e;
}

int remote_call_run(struct remote *r, struct bk_req *req, enum remote_op op, struct remote_msg *m,
		    struct answer *ret)
{
	struct slot *slot;
	int e = remote_call_start(r, req, true, op, m, &slot);

	return e < 0 ? e : remote_call_finish(r, req, slot, ret);
}

int remote_call_plain(struct remote *r, struct bk_req *req, enum remote_op op, struct remote_msg *m)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;

	return remote_call_run(r, req, op, m, &a);
}

/* ---- Answers, by who receives ---- */

/* Nobody waits for M any more: what it gave goes back. */
static void drop_answer(struct remote *r, enum remote_op op, const struct remote_msg *m)
{
	const struct remote_msg release = {.file = m->file, .dir = m->dir, .search = m->search};

	if (m->node)
		remote_conn_forget(r, m->node, 1);
	if (m->file)
		remote_conn_send(r, REMOTE_RELEASE, 0, &release);
	if (m->dir)
		remote_conn_send(r, REMOTE_RELEASEDIR, 0, &release);
	if (m->search)
		remote_conn_send(r, REMOTE_END_SEARCH, 0, &release);
	if (op == REMOTE_OPENDIR || op == REMOTE_READDIR)
		remote_drop_entries(r, m);
}

static int drop(struct remote *r, const struct remote_head *head, const uint8_t *payload)
{
	struct remote_msg m;
	int e;

	if (head->error)
		return 0;
	e = remote_decode(payload, head->len, head->op, REMOTE_ANSWER, &m);
	if (e == 0)
		drop_answer(r, head->op, &m);
	return e;
}

/* The slot that waits for an answer with this head, or NULL. */
static struct slot *find_slot_locked(struct remote *r, const struct remote_head *head)
{
	unsigned index = head->id & ((1 << INDEX_BITS) - 1);
	struct slot *s;

	if (index < 1 || index > r->n_slots)
		return NULL;
	s = &r->slots[index - 1];
	if (s->id != head->id || s->op != head->op)
		return NULL;
	return s->state == SLOT_SENT || s->state == SLOT_ABANDONED ? s : NULL;
}

static void put_answer_locked(struct slot *s, const struct remote_head *head, uint8_t *payload,
			      int fd)
{
	s->state = SLOT_ANSWERED;
	s->error = head->error;
	s->payload = payload;
	s->len = head->len;
	s->fd = fd;
	pthread_cond_signal(&s->answered);
}

int remote_call_answered(struct remote *r, const struct remote_head *head, uint8_t *payload, int fd)
{
	_cleanup_free_ uint8_t *held = payload;
	_cleanup_close_ int held_fd = fd;
	struct slot *s;
	int e = 0;

	if (fd >= 0 && (head->error || !remote_may_have_fd(head->op)))
		return -EPROTO;
	pthread_mutex_lock(&r->lock);
	s = find_slot_locked(r, head);
	if (s && s->changes)
		remote_changed(&r->bk);
	if (!s)
		e = -EPROTO;
	else if (s->state == SLOT_SENT)
		put_answer_locked(s, head, TAKE(held), TAKE_FD(held_fd));
	else
		free_slot_locked(r, s);
	pthread_mutex_unlock(&r->lock);
	return e == 0 && held ? drop(r, head, held) : e;
}
