/* See park.h. The state of a parked call moves under watch.lock; the backend is never called with
 * it held, and may call park_wake from anywhere. */
#include "park.h"

#include "base/clock.h"
#include "reply.h"
#include "uring.h"

#include <poll.h>

static void wait_op(struct call *c, bool remove)
{
	struct bk_file *file = c->handle->file;

	file->node->bk->ops->wait(file, &c->waiter, remove);
}

static void park_wake(struct bk_waiter *waiter)
{
	struct call *c = container_of(waiter, struct call, waiter);
	struct watch *w = &c->fs->watch;

	pthread_mutex_lock(&w->lock);
	if (c->park == PARK_GOING) {
		c->park = PARK_WOKEN;
	} else if (c->park == PARK_WAITING) {
		c->park = PARK_NONE;
		watch_resume_locked(w, c);
	}
	pthread_mutex_unlock(&w->lock);
}

/* The state before the backend gets it; from here on it has no deadline. False where the caller
 * has been answered meanwhile. */
static bool going(struct call *c)
{
	struct watch *w = &c->fs->watch;
	bool ok;

	pthread_mutex_lock(&w->lock);
	ok = !c->claimed;
	c->park = ok ? PARK_GOING : PARK_NONE;
	c->req.deadline_ms = 0;
	c->stage = 0;
	c->waited = true;
	c->waiter = (struct bk_waiter){.wake = park_wake};
	pthread_mutex_unlock(&w->lock);
	return ok;
}

static void gone(struct call *c)
{
	struct watch *w = &c->fs->watch;

	pthread_mutex_lock(&w->lock);
	if (c->park == PARK_WOKEN) {
		c->park = PARK_NONE;
		watch_resume_locked(w, c);
	} else {
		c->park = PARK_WAITING;
		if (c->interrupted)
			watch_interrupt_locked(w, c);
	}
	pthread_mutex_unlock(&w->lock);
}

bool park_briefly(struct call *c, uint64_t *until, uint64_t max_ms)
{
	uint64_t now = clock_ms();

	if (!uring_is(c->fuse))
		return false;
	if (!*until)
		*until = now + max_ms;
	if (now >= *until)
		return false;
	(void)poll(NULL, 0, 1);
	return true;
}

void park(struct call *c)
{
	struct call *k = c;

	if (uring_is(c->fuse)) {
		reply_err(c, -EAGAIN);
		return;
	}
	if (c->kept)
		call_ref(k);
	else
		k = call_keep(c);
	if (!k) {
		reply_err(c, -ENOMEM);
		return;
	}
	if (!going(k)) {
		call_unref(k);
		return;
	}
	if (k != c)
		call_watch(k);
	call_ref(k); /* whoever wakes or ends it may be done with it before it is gone */
	wait_op(k, false);
	gone(k);
	call_unref(k);
}

bool park_remove(struct call *c)
{
	struct watch *w = &c->fs->watch;
	bool was;

	pthread_mutex_lock(&w->lock);
	was = c->park == PARK_WAITING;
	if (was)
		c->park = PARK_NONE;
	pthread_mutex_unlock(&w->lock);
	if (was)
		wait_op(c, true);
	return was;
}
