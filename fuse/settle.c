/* See settle.h. */
#include "settle.h"

#include "fs.h"
#include "recall.h"

#include "base/clock.h"
#include "base/thread.h"

/* No file has it: the kernel looks for it, with the directory locked, and finds nothing. */
#define NOWHERE "/"

void settle_init(struct settle *s, struct fs *fs)
{
	*s = (struct settle){.fs = fs};
	pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->changed);
}

void settle_done(struct settle *s)
{
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}

/* ---- Listings ---- */

void settle_listing(struct settle *s, struct listing *l, const struct bk *bk, uint64_t number)
{
	pthread_mutex_lock(&s->lock);
	if (!l->on && !s->ending) {
		*l = (struct listing){.on = true, .bk = bk, .number = number, .next = s->listings};
		if (l->next)
			l->next->prev = l;
		s->listings = l;
	}
	pthread_mutex_unlock(&s->lock);
}

void settle_listed(struct settle *s, struct listing *l)
{
	pthread_mutex_lock(&s->lock);
	if (l->on && !s->ending) {
		if (l->next)
			l->next->prev = l->prev;
		if (l->prev)
			l->prev->next = l->next;
		else
			s->listings = l->next;
		l->on = false;
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- The thread ---- */

static size_t numbers_locked(const struct settle *s, uint64_t **ret)
{
	size_t n = 0;

	for (const struct listing *l = s->listings; l; l = l->next)
		n++;
	*ret = calloc(n + 1, sizeof(**ret));
	n = 0;
	for (const struct listing *l = *ret ? s->listings : NULL; l; l = l->next)
		(*ret)[n++] = l->number;
	return n;
}

/* With the lock held, which is let go meanwhile. */
static void settle_round(struct settle *s)
{
	_cleanup_free_ uint64_t *numbers = NULL;
	size_t n = numbers_locked(s, &numbers);
	uint64_t round = s->wanted;

	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n; i++)
		(void)fuse_lowlevel_notify_inval_entry(s->fs->se, numbers[i], NOWHERE,
						       sizeof(NOWHERE) - 1);
	recall_names(s->fs);
	pthread_mutex_lock(&s->lock);
	s->settled = round;
	pthread_cond_broadcast(&s->changed);
}

static void *settle_thread(void *arg)
{
	struct settle *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->ending) {
		if (s->settled == s->wanted)
			pthread_cond_wait(&s->changed, &s->lock);
		else
			settle_round(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int settle_start(struct settle *s)
{
	int r = thread_start(&s->thread, NULL, settle_thread, s);

	s->has_thread = r == 0;
	return r;
}

void settle_end(struct settle *s)
{
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	s->listings = NULL;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void settle_stop(struct settle *s)
{
	if (s->has_thread)
		pthread_join(s->thread, NULL);
	s->has_thread = false;
}

/* ---- Waiting ---- */

static bool is_listed_locked(const struct settle *s, const struct bk *bk)
{
	for (const struct listing *l = s->listings; l; l = l->next)
		if (l->bk == bk)
			return true;
	return false;
}

bool settle_wait(struct settle *s, const struct bk *bk, uint64_t max_ms)
{
	uint64_t at = clock_ms() + max_ms, round;
	const struct timespec until = clock_timespec(at);
	bool settled = false;

	pthread_mutex_lock(&s->lock);
	if (s->has_thread && !s->ending && is_listed_locked(s, bk)) {
		round = ++s->wanted;
		pthread_cond_broadcast(&s->changed);
		while (s->settled < round && !s->ending && clock_ms() < at)
			(void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
		settled = s->settled >= round;
	}
	pthread_mutex_unlock(&s->lock);
	return settled;
}
