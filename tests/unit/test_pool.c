/* The pool of a route: bounded, lazy, in order. */
#include "base/clock.h"
#include "base/macros.h"
#include "base/pool.h"
#include "test.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

struct job {
	struct work work;
	sem_t *gate; /* waits for it, unless NULL */
	int number;
};

static atomic_int running, most, done;
static int order[100];

static void run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	int now = atomic_fetch_add(&running, 1) + 1, before = atomic_load(&most);

	while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
		;
	if (j->gate)
		sem_wait(j->gate);
	order[atomic_fetch_add(&done, 1)] = j->number;
	atomic_fetch_sub(&running, 1);
}

static struct pool *new_pool(unsigned threads, unsigned queue, uint64_t idle_ms)
{
	struct pool_conf conf = {.threads = threads, .queue = queue, .idle_ms = idle_ms};
	struct pool *p;

	CHECK_EQ(pool_new(&conf, &p), 0);
	atomic_store(&most, 0);
	atomic_store(&done, 0);
	return p;
}

static void wait_until(atomic_int *value, int is)
{
	while (atomic_load(value) != is)
		usleep(1000);
}

static void no_more_run_than_there_are_threads_and_no_more_wait_than_may(void)
{
	struct pool *p = new_pool(3, 4, 1000);
	struct job jobs[8];
	sem_t gate;

	sem_init(&gate, 0, 0);
	for (int i = 0; i < 8; i++)
		jobs[i] = (struct job){.work.run = run, .gate = &gate, .number = i};
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pool_submit(p, &jobs[i].work, false), 0);
	wait_until(&running, 3);
	for (int i = 3; i < 7; i++)
		CHECK_EQ(pool_submit(p, &jobs[i].work, false), 0);
	CHECK_EQ(pool_submit(p, &jobs[7].work, false), -EBUSY);
	CHECK_EQ(pool_submit(p, &jobs[7].work, true), 0);
	for (int i = 0; i < 8; i++)
		sem_post(&gate);
	CHECK(pool_stop(p, 5000));
	CHECK_EQ(done, 8);
	CHECK_EQ(most, 3);
	pool_free(p);
	sem_destroy(&gate);
}

static void one_thread_keeps_the_order_and_what_waits_can_be_taken_back(void)
{
	struct pool *p = new_pool(1, 100, 1000);
	struct job jobs[5];
	sem_t gate;

	sem_init(&gate, 0, 0);
	for (int i = 0; i < 5; i++) {
		jobs[i] = (struct job){.work.run = run, .gate = i ? NULL : &gate, .number = i};
		CHECK_EQ(pool_submit(p, &jobs[i].work, false), 0);
	}
	wait_until(&running, 1);
	CHECK(!pool_remove(p, &jobs[0].work));
	CHECK(pool_remove(p, &jobs[2].work));
	CHECK(!pool_remove(p, &jobs[2].work));
	CHECK(pool_remove(p, &jobs[4].work));
	sem_post(&gate);
	CHECK(pool_stop(p, 5000));
	CHECK_EQ(done, 3);
	CHECK_EQ(order[1], 1);
	CHECK_EQ(order[2], 3);
	pool_free(p);
	sem_destroy(&gate);
}

static void idle_threads_end_and_others_start_later(void)
{
	struct pool *p = new_pool(2, 10, 20);
	struct job job = {.work.run = run};

	CHECK_EQ(pool_submit(p, &job.work, false), 0);
	wait_until(&done, 1);
	usleep(100000);
	CHECK_EQ(pool_submit(p, &job.work, false), 0);
	wait_until(&done, 2);
	CHECK(pool_stop(p, 5000));
	CHECK_EQ(pool_submit(p, &job.work, true), -EBUSY);
	pool_free(p);
}

static void stopping_does_not_wait_for_ever(void)
{
	struct pool *p = new_pool(1, 10, 1000);
	struct job job = {.work.run = run};
	uint64_t start = clock_ms();
	sem_t gate;

	sem_init(&gate, 0, 0);
	job.gate = &gate;
	CHECK_EQ(pool_submit(p, &job.work, false), 0);
	CHECK(!pool_stop(p, 50));
	CHECK(clock_ms() - start < 5000);
	sem_post(&gate);
	CHECK(pool_stop(p, 5000));
	pool_free(p);
	sem_destroy(&gate);
}

static void who_enters_counts_as_a_thread(void)
{
	struct pool *p = new_pool(2, 10, 20);
	struct job job = {.work.run = run};

	CHECK(pool_enter(p));
	CHECK(pool_enter(p));
	CHECK(!pool_enter(p));
	CHECK_EQ(pool_submit(p, &job.work, false), 0);
	usleep(100000); /* more than the time after which an idle thread ends */
	CHECK_EQ(done, 0);
	CHECK(!pool_stop(p, 50));
	pool_leave(p);
	CHECK(pool_stop(p, 5000));
	CHECK_EQ(done, 1);
	CHECK(!pool_enter(p));
	pool_leave(p);
	pool_free(p);
}

int main(void)
{
	no_more_run_than_there_are_threads_and_no_more_wait_than_may();
	one_thread_keeps_the_order_and_what_waits_can_be_taken_back();
	idle_threads_end_and_others_start_later();
	stopping_does_not_wait_for_ever();
	who_enters_counts_as_a_thread();
	return 0;
}
