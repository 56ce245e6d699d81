/* See turns.h. */
#include "turns.h"

#include "clock.h"
#include "thread.h"

#include <errno.h>

#define QUIET_TICKS 20

void turns_init(struct turns *t)
{
	*t = (struct turns){.quiet = true};
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
		t->wanted |= !t->taken && t->count == count;
		t->quiet = t->quiet_ticks >= QUIET_TICKS;
	}
	t->watched = false;
}

static void wait_locked(struct turns *t)
{
	t->waiting++;
	while (!t->over && (t->taken || !t->wanted)) {
		if (t->watched || t->quiet)
			pthread_cond_wait(&t->rest, &t->lock);
		else
			watch_locked(t);
	}
	t->waiting--;
	if (!t->watched && !t->quiet)
		pthread_cond_signal(&t->rest);
}

bool turns_take(struct turns *t)
{
	bool over;

	pthread_mutex_lock(&t->lock);
	if (t->taken)
		wait_locked(t);
	over = t->over;
	if (!over) {
		t->taken = true;
		t->wanted = false;
		t->count++;
	}
	pthread_mutex_unlock(&t->lock);
	return !over;
}

/* Who is to be woken, if anybody, now that nobody has the turn. */
static pthread_cond_t *left_locked(struct turns *t, bool more)
{
	t->crowded = more ? t->crowded + 1 : 0;
	if (t->waiting == 0)
		return NULL;
	if (t->crowded > 1) {
		t->wanted = true;
		return t->waiting > 1 || !t->watched ? &t->rest : &t->watch;
	}
	if (!t->quiet)
		return NULL;
	t->quiet = false;
	t->quiet_ticks = 0;
	return &t->rest;
}

bool turns_leave(struct turns *t, bool more)
{
	pthread_cond_t *wake;
	bool none;

	pthread_mutex_lock(&t->lock);
	t->taken = false;
	t->count++;
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
