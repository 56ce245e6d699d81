/* See turns.h. */
#include "turns.h"

#include "clock.h"
#include "thread.h"

#include <errno.h>

#define QUIET_TICKS 100

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

static void want_locked(struct turns *t)
{
	t->wanted = true;
	pthread_cond_signal(t->waiting > 1 || !t->watched ? &t->rest : &t->watch);
}

bool turns_leave(struct turns *t, bool more)
{
	bool none;

	pthread_mutex_lock(&t->lock);
	t->taken = false;
	t->count++;
	none = t->waiting == 0;
	t->crowded = more ? t->crowded + 1 : 0;
	if (!none && t->crowded > 1) {
		want_locked(t);
	} else if (!none && t->quiet) {
		t->quiet = false;
		t->quiet_ticks = 0;
		pthread_cond_signal(&t->rest);
	}
	pthread_mutex_unlock(&t->lock);
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
