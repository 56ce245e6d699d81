/* Threads that take turns at waiting, and when one looks before it sleeps. */
#include "base/clock.h"
#include "base/spin.h"
#include "base/turns.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define THREADS 4
#define PROCESSORS 3

/* What threads do with their turns: each takes one and waits in it for a byte. */
static struct turns turns;
static atomic_int holders, taken, ended;
static int gate[2];

static void *take_one(void *arg)
{
	char byte;

	(void)arg;
	turns_join(&turns);
	if (turns_take(&turns)) {
		CHECK_EQ(atomic_fetch_add(&holders, 1), 0);
		atomic_fetch_add(&taken, 1);
		CHECK_EQ(read(gate[0], &byte, 1), 1);
		atomic_fetch_sub(&holders, 1);
		(void)turns_leave(&turns, 0, false);
	}
	atomic_fetch_add(&ended, 1);
	return NULL;
}

static void begin(pthread_t *threads, size_t n)
{
	turns_init(&turns, PROCESSORS);
	CHECK_EQ(pipe(gate), 0);
	atomic_store(&taken, 0);
	atomic_store(&ended, 0);
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, take_one, NULL), 0);
}

static void end(pthread_t *threads, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	close(gate[0]);
	close(gate[1]);
	turns_done(&turns);
}

static void wait_until(atomic_int *value, int is)
{
	while (atomic_load(value) != is)
		usleep(1000);
}

static void wait_for_waiting(unsigned n)
{
	unsigned waiting;

	do {
		usleep(1000);
		pthread_mutex_lock(&turns.lock);
		waiting = turns.waiting;
		pthread_mutex_unlock(&turns.lock);
	} while (waiting != n);
}

/* Whoever works is not back: the one that watches takes the turn, and so on, also after a long
 * silence. */
static void a_turn_that_nobody_takes_is_taken(void)
{
	pthread_t threads[THREADS];

	begin(threads, THREADS);
	wait_for_waiting(THREADS - 1);
	usleep(300000);
	for (int i = 1; i <= THREADS; i++) {
		wait_until(&taken, i);
		CHECK_EQ(write(gate[1], "x", 1), 1);
	}
	end(threads, THREADS);
}

/* Without a tick: none watches before there was anything. */
static void more_to_do_twice_is_for_another(void)
{
	pthread_t thread;

	begin(&thread, 0);
	turns_join(&turns);
	CHECK(turns_take(&turns));
	CHECK_EQ(pthread_create(&thread, NULL, take_one, NULL), 0);
	wait_for_waiting(1);
	CHECK(!turns_leave(&turns, 0, true));
	CHECK(turns_take(&turns));
	CHECK(!turns_leave(&turns, 0, true));
	wait_until(&taken, 1);
	CHECK_EQ(write(gate[1], "x", 1), 1);
	end(&thread, 1);
}

static void who_leaves_hears_that_nobody_waits(void)
{
	begin(NULL, 0);
	turns_join(&turns);
	CHECK(turns_take(&turns));
	CHECK(turns_leave(&turns, 0, false));
	CHECK(turns_take(&turns));
	CHECK(turns_leave(&turns, 0, true));
	end(NULL, 0);
}

/* Requests of CALLERS, each TIMES in a row, many of them. */
static void ask(int callers, int times)
{
	for (int i = 0; i < 1000; i++) {
		CHECK(turns_take(&turns) > 0);
		(void)turns_leave(&turns, 1 + i / times % callers, false);
	}
}

static unsigned at_once(void)
{
	unsigned n = turns_take(&turns);

	(void)turns_leave(&turns, 0, false);
	return n;
}

/* As many threads wait as callers ask in turn; not for those who come one after the other. */
static void callers_in_turn_have_a_thread_each(void)
{
	begin(NULL, 0);
	turns_join(&turns);
	ask(1, 1);
	CHECK_EQ(at_once(), 1);
	ask(8, 50);
	CHECK_EQ(at_once(), 1);
	ask(2, 1);
	CHECK_EQ(at_once(), 2);
	ask(8, 1);
	CHECK_EQ(at_once(), PROCESSORS);
	ask(1000, 1); /* of which none comes again */
	CHECK_EQ(at_once(), 1);
	end(NULL, 0);
}

static void a_second_one_waits_beside_the_first(void)
{
	pthread_t thread;

	begin(&thread, 0);
	turns_join(&turns);
	CHECK_EQ(turns_take(&turns), 1);
	CHECK_EQ(pthread_create(&thread, NULL, take_one, NULL), 0);
	wait_for_waiting(1);
	(void)turns_leave(&turns, 0, false);
	ask(2, 1);
	wait_until(&taken, 1); /* and has it until there is a byte */
	CHECK_EQ(at_once(), 2);
	CHECK_EQ(write(gate[1], "x", 1), 1);
	end(&thread, 1);
}

static void the_end_is_for_all(void)
{
	pthread_t threads[THREADS];

	begin(threads, THREADS);
	wait_for_waiting(THREADS - 1);
	turns_end(&turns);
	wait_until(&ended, THREADS - 1);
	CHECK_EQ(atomic_load(&taken), 1);
	CHECK(!turns_take(&turns));
	CHECK_EQ(write(gate[1], "x", 1), 1);
	end(threads, THREADS);
}

/* ---- Looking before sleeping ---- */

static struct pollfd readable(int pair[2])
{
	CHECK_EQ(pipe(pair), 0);
	CHECK_EQ(write(pair[1], "x", 1), 1);
	return (struct pollfd){.fd = pair[0], .events = POLLIN};
}

static void one_looks_where_the_last_wait_was_short(void)
{
	struct spin s = {.worth = false};
	int pair[2];
	struct pollfd p = readable(pair);

	spin_limit(1000000);
	CHECK(!spin_look(&s, &p, 1));
	spin_came(&s);
	CHECK(spin_look(&s, &p, 1));
	CHECK_EQ(p.revents, POLLIN);
	CHECK_EQ(spin_poll(&s, &p, 1, -1), 1);
	spin_limit(100);
	(void)spin_look(&s, &p, 1);
	usleep(1000);
	spin_came(&s);
	CHECK(!spin_look(&s, &p, 1));
	spin_limit(0);
	spin_came(&s);
	CHECK(!spin_look(&s, &p, 1));
	spin_limit(SPIN_US);
	close(pair[0]);
	close(pair[1]);
}

static void looking_has_an_end(void)
{
	struct spin s = {.worth = true};
	int pair[2];
	struct pollfd p = readable(pair);
	char byte;

	CHECK_EQ(read(pair[0], &byte, 1), 1);
	CHECK(!spin_look(&s, &p, 1));
	CHECK_EQ(spin_poll(&s, &p, 1, 1), 0);
	CHECK(!s.worth);
	CHECK_EQ(spin_poll(&s, &p, 1, 0), 0); /* tells nothing of how long a wait is */
	CHECK(!s.worth);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	a_turn_that_nobody_takes_is_taken();
	more_to_do_twice_is_for_another();
	callers_in_turn_have_a_thread_each();
	a_second_one_waits_beside_the_first();
	who_leaves_hears_that_nobody_waits();
	the_end_is_for_all();
	one_looks_where_the_last_wait_was_short();
	looking_has_an_end();
	return 0;
}
