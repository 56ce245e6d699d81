/* See near.h. */
#include "near.h"

#include "clock.h"
#include "processors.h"
#include "procpid.h"
#include "thread.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define AFTER 16	  /* requests of one caller until the thread goes there, at first */
#define AFTER_MAX 1024	  /* and at most */
#define WORTH 64	  /* fewer served there: it was of no use */
#define LOOK_AGAIN 64	  /* requests until it looks where its caller is by now */
#define STAT_PROCESSOR 39 /* field of /proc/PID/stat, proc_pid_stat(5) */
#define STAT_STATE 3	  /* the first one after the name, which may have any byte in it */

struct server {
	pthread_t thread;
	pid_t caller;
	unsigned row;	    /* requests of its, one after the other */
	unsigned look_at;   /* so many of them: look where it is */
	bool was_near;	    /* at the last look */
	atomic_ulong count; /* requests of anybody's */
	atomic_uint after;  /* so many in a row it goes there */
	atomic_bool near;   /* changes with the lock held */

	/* Guarded by the lock. */
	unsigned long came_at, seen; /* of count: when it came near, and at the last tick */
	bool bound;
	int processor;
	cpu_set_t home; /* where it may be otherwise */
	struct server *prev, *next;
};

static struct {
	pthread_once_t once;
	pthread_key_t mine; /* struct server */
	atomic_bool on;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct server *all;
	unsigned near; /* of these */
	bool over, started;
	int error;
	pthread_t ticker;
} g = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- One thread's way ---- */

static int set_policy(pthread_t thread, int policy)
{
	return -pthread_setschedparam(thread, policy, &(struct sched_param){.sched_priority = 0});
}

static bool move_locked(struct server *s, int processor)
{
	cpu_set_t there;

	if (s->near && s->processor == processor)
		return true;
	CPU_ZERO(&there);
	CPU_SET(processor, &there);
	s->processor = processor;
	return CPU_ISSET(processor, &s->home) &&
	       pthread_setaffinity_np(s->thread, sizeof(there), &there) == 0;
}

static void go_locked(struct server *s, int processor, bool bound)
{
	if (!s->near && pthread_getaffinity_np(s->thread, sizeof(s->home), &s->home) != 0)
		return;
	if (!bound && !move_locked(s, processor))
		return;
	if (s->near)
		return;
	s->bound = bound;
	(void)set_policy(s->thread, SCHED_IDLE);
	s->near = true;
	s->came_at = atomic_load(&s->count);
	s->seen = s->came_at - 1;
	if (g.near++ == 0)
		pthread_cond_signal(&g.changed);
}

static void back_locked(struct server *s)
{
	const bool worth = atomic_load(&s->count) - s->came_at >= WORTH;

	(void)set_policy(s->thread, SCHED_OTHER);
	if (!s->bound)
		(void)pthread_setaffinity_np(s->thread, sizeof(s->home), &s->home);
	s->after = worth ? AFTER : s->after * 2 < AFTER_MAX ? s->after * 2 : AFTER_MAX;
	s->near = false;
	g.near--;
}

/* ---- The ticker ---- */

static void tick_locked(void)
{
	const struct timespec until = clock_timespec(clock_ms() + NEAR_TICK_MS + 1);
	unsigned long count;

	if (pthread_cond_timedwait(&g.changed, &g.lock, &until) != ETIMEDOUT)
		return;
	for (struct server *s = g.all; s; s = s->next) {
		count = atomic_load(&s->count);
		if (s->near && count == s->seen)
			back_locked(s);
		s->seen = count;
	}
}

/* Whether this process may come back from SCHED_IDLE can only be tried. */
static int try_policy(void)
{
	int r = set_policy(pthread_self(), SCHED_IDLE);

	return r < 0 ? r : set_policy(pthread_self(), SCHED_OTHER);
}

static void *ticker_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&g.lock);
	g.error = try_policy();
	g.started = true;
	pthread_cond_signal(&g.changed);
	while (!g.over && g.error == 0) {
		if (g.near == 0)
			pthread_cond_wait(&g.changed, &g.lock);
		else
			tick_locked();
	}
	for (struct server *s = g.all; s; s = s->next) {
		if (s->near)
			back_locked(s);
	}
	pthread_mutex_unlock(&g.lock);
	return NULL;
}

/* ---- Starting and ending ---- */

static void forget_server(void *arg)
{
	struct server *s = arg;

	pthread_mutex_lock(&g.lock);
	if (s->near)
		back_locked(s);
	if (s->next)
		s->next->prev = s->prev;
	if (s->prev)
		s->prev->next = s->next;
	else
		g.all = s->next;
	pthread_mutex_unlock(&g.lock);
	free(s);
}

static void init_once(void)
{
	cond_init(&g.changed);
	pthread_key_create(&g.mine, forget_server);
}

static bool is_of_use(void)
{
	return sched_getscheduler(0) == SCHED_OTHER && processors(1) > 1;
}

int near_start(void)
{
	int r;

	if (!is_of_use())
		return -ENOTSUP;
	pthread_once(&g.once, init_once);
	g.over = g.started = false;
	r = thread_start(&g.ticker, NULL, ticker_main, NULL);
	if (r < 0)
		return r;
	pthread_mutex_lock(&g.lock);
	while (!g.started)
		pthread_cond_wait(&g.changed, &g.lock);
	r = g.error;
	pthread_mutex_unlock(&g.lock);
	if (r < 0)
		pthread_join(g.ticker, NULL);
	atomic_store(&g.on, r == 0);
	return r;
}

void near_stop(void)
{
	if (!atomic_exchange(&g.on, false))
		return;
	pthread_mutex_lock(&g.lock);
	g.over = true;
	pthread_cond_signal(&g.changed);
	pthread_mutex_unlock(&g.lock);
	pthread_join(g.ticker, NULL);
}

/* ---- Serving ---- */

/* The processor that thread TID runs on, or ran on last; -1: it is gone. */
static int processor_of(pid_t tid)
{
	char text[1024], *at;

	if (procpid_read(tid, "stat", text, sizeof(text)) < 0)
		return -1;
	at = strrchr(text, ')');
	for (int field = STAT_STATE - 1; at && field < STAT_PROCESSOR; field++)
		at = strchr(at + 1, ' ');
	return at ? atoi(at + 1) : -1;
}

static struct server *server_of_this_thread(void)
{
	struct server *s = pthread_getspecific(g.mine);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s || pthread_setspecific(g.mine, s) != 0) {
		free(s);
		return NULL;
	}
	s->thread = pthread_self();
	s->after = AFTER;
	pthread_mutex_lock(&g.lock);
	s->next = g.all;
	if (s->next)
		s->next->prev = s;
	g.all = s;
	pthread_mutex_unlock(&g.lock);
	return s;
}

static void look(struct server *s, bool bound)
{
	const int processor = bound ? sched_getcpu() : processor_of(s->caller);

	pthread_mutex_lock(&g.lock);
	if (!g.over && processor >= 0 && s->was_near == s->near)
		go_locked(s, processor, bound);
	s->was_near = s->near;
	s->row = 0;
	s->look_at = s->near ? LOOK_AGAIN : s->after;
	pthread_mutex_unlock(&g.lock);
}

void near_served(pid_t caller, bool bound)
{
	struct server *s;

	if (!atomic_load_explicit(&g.on, memory_order_relaxed))
		return;
	s = server_of_this_thread();
	if (!s)
		return;
	atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
	if (caller == 0)
		return;
	if (caller != s->caller) {
		near_leave();
		s->caller = caller;
		s->row = 0;
		s->was_near = false;
		s->look_at = s->after;
	}
	if (++s->row >= s->look_at)
		look(s, bound);
}

/* This thread's, if it is near. */
static struct server *near_one(void)
{
	struct server *s;

	if (!atomic_load_explicit(&g.on, memory_order_relaxed))
		return NULL;
	s = pthread_getspecific(g.mine);
	return s && s->near ? s : NULL;
}

bool near_is(void)
{
	return near_one();
}

void near_leave(void)
{
	struct server *s = near_one();

	if (!s)
		return;
	pthread_mutex_lock(&g.lock);
	if (s->near)
		back_locked(s);
	pthread_mutex_unlock(&g.lock);
}
