/* See watch.h. */
#include "watch.h"

#include "call.h"

#include "base/clock.h"
#include "base/procpid.h"
#include "base/thread.h"

#include <signal.h>
#include <string.h>

void watch_init(struct watch *w)
{
	*w = (struct watch){.woken_end = &w->woken, .later_at_ms = UINT64_MAX};
	pthread_mutex_init(&w->lock, NULL);
	cond_init(&w->cond);
}

void watch_done(struct watch *w)
{
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
}

/* ---- The list ---- */

static void look_at_locked(struct watch *w, struct call *c, uint64_t check_ms)
{
	if (check_ms < c->check_ms)
		c->check_ms = check_ms;
	if (c->check_ms < w->sleeps_until_ms)
		pthread_cond_signal(&w->cond);
}

void watch_add(struct watch *w, struct call *c, uint64_t check_ms)
{
	pthread_mutex_lock(&w->lock);
	c->watched = true;
	c->prev = NULL;
	c->next = w->all;
	if (c->next)
		c->next->prev = c;
	w->all = c;
	c->check_ms = UINT64_MAX;
	look_at_locked(w, c, c->interrupted ? 0 : check_ms);
	pthread_mutex_unlock(&w->lock);
}

bool watch_claim(struct watch *w, struct call *c)
{
	bool won;

	pthread_mutex_lock(&w->lock);
	won = !c->claimed;
	c->claimed = true;
	if (c->watched) {
		c->watched = false;
		if (c->prev)
			c->prev->next = c->next;
		else
			w->all = c->next;
		if (c->next)
			c->next->prev = c->prev;
	}
	pthread_mutex_unlock(&w->lock);
	return won;
}

void watch_interrupt_locked(struct watch *w, struct call *c)
{
	c->interrupted = true;
	if (c->watched)
		look_at_locked(w, c, 0);
}

void watch_interrupt(struct watch *w, struct call *c)
{
	pthread_mutex_lock(&w->lock);
	watch_interrupt_locked(w, c);
	pthread_mutex_unlock(&w->lock);
}

void watch_again(struct watch *w, struct call *c, uint64_t check_ms)
{
	pthread_mutex_lock(&w->lock);
	look_at_locked(w, c, check_ms);
	pthread_mutex_unlock(&w->lock);
}

void watch_resume_locked(struct watch *w, struct call *c)
{
	c->next_woken = NULL;
	*w->woken_end = c;
	w->woken_end = &c->next_woken;
	pthread_cond_signal(&w->cond);
}

void watch_later(struct watch *w, uint64_t ms)
{
	pthread_mutex_lock(&w->lock);
	w->later_at_ms = clock_ms() + ms;
	if (w->later_at_ms < w->sleeps_until_ms)
		pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

/* ---- Looking ---- */

bool watch_is_killed(pid_t tid)
{
	char text[4096], *at;

	if (procpid_read(tid, "status", text, sizeof(text)) < 0)
		return true;
	at = strstr(text, "\nSigPnd:");
	return !at || strtoull(at + 8, NULL, 16) & 1ULL << (SIGKILL - 1);
}

/* A call to look at now, or NULL with the time of the next one. */
static struct call *due_locked(struct watch *w, uint64_t now, uint64_t *ret_next)
{
	*ret_next = UINT64_MAX;
	for (struct call *c = w->all; c; c = c->next) {
		if (c->check_ms <= now)
			return c;
		if (c->check_ms < *ret_next)
			*ret_next = c->check_ms;
	}
	return NULL;
}

static void look(struct watch *w, struct call *c, uint64_t now)
{
	uint64_t deadline, next;
	bool was_interrupted, parked;

	pthread_mutex_lock(&w->lock);
	was_interrupted = c->interrupted;
	parked = c->park != PARK_NONE;
	deadline = c->req.deadline_ms ? c->req.deadline_ms : UINT64_MAX;
	pthread_mutex_unlock(&w->lock);

	if (now >= deadline) {
		call_end(c, -ETIMEDOUT);
	} else if (was_interrupted && (parked || watch_is_killed(c->req.pid))) {
		call_end(c, -EINTR);
	} else {
		next = was_interrupted ? now + WATCH_TICK_MS : deadline;
		watch_again(w, c, next < deadline ? next : deadline);
	}
}

static struct call *take_woken_locked(struct watch *w)
{
	struct call *c = w->woken;

	if (c) {
		w->woken = c->next_woken;
		if (!w->woken)
			w->woken_end = &w->woken;
	}
	return c;
}

static void sleep_locked(struct watch *w, uint64_t until_ms)
{
	struct timespec until = clock_timespec(until_ms);

	w->sleeps_until_ms = until_ms;
	if (until_ms == UINT64_MAX)
		pthread_cond_wait(&w->cond, &w->lock);
	else
		pthread_cond_timedwait(&w->cond, &w->lock, &until);
	w->sleeps_until_ms = 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void *watch_thread(void *arg)
{
	struct watch *w = arg;
	uint64_t now, next;
	struct call *c;

	pthread_mutex_lock(&w->lock);
	while (!w->stop || w->woken) {
		now = clock_ms();
		if (w->beat_ms && now >= w->beat_at_ms) {
			w->beat_at_ms = now + w->beat_ms;
			pthread_mutex_unlock(&w->lock);
			w->beat(w);
			pthread_mutex_lock(&w->lock);
		} else if (now >= w->later_at_ms) {
			w->later_at_ms = UINT64_MAX;
			pthread_mutex_unlock(&w->lock);
			w->later(w);
			pthread_mutex_lock(&w->lock);
		} else if ((c = take_woken_locked(w))) {
			pthread_mutex_unlock(&w->lock);
			call_resume(c);
			pthread_mutex_lock(&w->lock);
		} else if ((c = due_locked(w, now, &next))) {
			c->check_ms = UINT64_MAX;
			call_ref(c);
			pthread_mutex_unlock(&w->lock);
			look(w, c, now);
			call_unref(c);
			pthread_mutex_lock(&w->lock);
		} else {
			next = least(next, w->beat_ms ? w->beat_at_ms : UINT64_MAX);
			sleep_locked(w, least(next, w->later_at_ms));
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int watch_start(struct watch *w)
{
	int r = thread_start(&w->thread, NULL, watch_thread, w);

	w->running = r == 0;
	return r;
}

void watch_stop(struct watch *w)
{
	if (!w->running)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->running = false;
}

void watch_end_all(struct watch *w, int err)
{
	struct call *c;

	for (;;) {
		pthread_mutex_lock(&w->lock);
		for (c = w->all; c && c->ending; c = c->next)
			;
		if (c) {
			c->ending = true;
			call_ref(c);
		}
		pthread_mutex_unlock(&w->lock);
		if (!c)
			return;
		call_end(c, err);
		call_unref(c);
	}
}
