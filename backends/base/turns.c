/* See turns.h. */
#include "turns.h"

#include "clock.h"
#include "thread.h"

#include <errno.h>

#define QUIET_TICKS 20

void turns_init(struct turns *t, unsigned most)
{
	*t = (struct turns){.at_once = 1, .most = most, .quiet = true};
	pthread_mutex_init(&t->lock, NULL);
	cond_init(&t->watch);
	cond_init(&t->rest);
}

void turns_done(struct turns *t)
{
	pthread_cond_destroy(&t->rest);
	pthread_cond_destroy(&t->watch);
	pthread_mutex_destroy(&t->lock);
}

/* One tick. */
static void watch_locked(struct turns *t)
{
	const struct timespec until = clock_timespec(clock_ms() + TURNS_TICK_MS + 1);
	const unsigned long count = t->count;

	t->watched = true;
	if (pthread_cond_timedwait(&t->watch, &t->lock, &until) == ETIMEDOUT) {
		t->quiet_ticks = t->count == count ? t->quiet_ticks + 1 : 0;
		t->wanted |= t->taken == 0 && t->count == count;
		t->quiet = t->quiet_ticks >= QUIET_TICKS;
	}
	t->watched = false;
}

static void wait_locked(struct turns *t)
{
	t->waiting++;
	while (!t->over && (t->taken >= t->at_once || !t->wanted)) {
		if (t->watched || t->quiet)
			pthread_cond_wait(&t->rest, &t->lock);
		else
			watch_locked(t);
	}
	t->waiting--;
	if (!t->watched && !t->quiet)
		pthread_cond_signal(&t->rest);
}

void turns_join(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	t->threads++;
	pthread_mutex_unlock(&t->lock);
}

/* Fewer threads wait for input or work than may wait at once. */
static bool too_few_locked(const struct turns *t)
{
	return t->threads - t->waiting < t->at_once;
}

unsigned turns_take(struct turns *t)
{
	unsigned at_once;

	pthread_mutex_lock(&t->lock);
	if (t->taken >= t->at_once)
		wait_locked(t);
	at_once = t->over ? 0 : t->at_once;
	if (!t->over) {
		t->taken++;
		t->wanted &= too_few_locked(t);
		t->count++;
	}
	pthread_mutex_unlock(&t->lock);
	return at_once;
}

/* Who is to be woken, if anybody, now that one turn was left. */
static pthread_cond_t *left_locked(struct turns *t, bool more)
{
	t->crowded = more ? t->crowded + 1 : 0;
	if (t->waiting == 0)
		return NULL;
	if (t->crowded > 1 || too_few_locked(t)) {
		t->wanted = true;
		return t->waiting > 1 || !t->watched ? &t->rest : &t->watch;
	}
	if (!t->quiet)
		return NULL;
	t->quiet = false;
	t->quiet_ticks = 0;
	return &t->rest;
}

bool turns_leave(struct turns *t, pid_t caller, bool more)
{
	pthread_cond_t *wake;
	unsigned n;
	bool none;

	pthread_mutex_lock(&t->lock);
	t->taken--;
	t->count++;
	n = callers_ask(&t->callers, caller);
	t->at_once = n < t->most ? n : t->most;
	none = t->waiting == 0;
	wake = left_locked(t, more);
	pthread_mutex_unlock(&t->lock);
	if (wake)
		pthread_cond_signal(wake);
	return none;
}

void turns_end(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	t->over = true;
	pthread_cond_broadcast(&t->watch);
	pthread_cond_broadcast(&t->rest);
	pthread_mutex_unlock(&t->lock);
}
