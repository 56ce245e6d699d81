/* A thread that follows a lone caller: where it is, under which policy, and when it is back. */
#include "base/near.h"
#include "base/thread.h"
#include "test.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 100   /* requests: enough to go, where it was of use the last time */
#define TRIES 5000 /* so often: whoever loses the processor for two ticks is put back meanwhile */

static atomic_bool stop;

static pid_t tid(void)
{
	return gettid();
}

static bool is_near(void)
{
	return sched_getscheduler(0) == SCHED_IDLE;
}

static int processors(void)
{
	cpu_set_t set;

	CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

static void serve(pid_t caller, int requests, bool bound)
{
	for (int i = 0; i < requests; i++)
		near_served(caller, bound);
}

/* Whether it goes there, and may then run on ON processors. */
static bool follows(pid_t caller, bool bound, int on)
{
	bool does = false;

	for (int i = 0; i < TRIES && !does; i++) {
		serve(caller, MANY, bound);
		does = is_near() && near_is() && processors() == on;
	}
	return does;
}

/* Wait without serving. */
static bool comes_back(void)
{
	for (int i = 0; i < TRIES && is_near(); i++)
		usleep(1000);
	return !is_near();
}

static void a_lone_caller_is_followed_while_it_calls(void)
{
	const int all = processors();

	serve(tid(), 2, false);
	CHECK(!is_near());
	CHECK(follows(tid(), false, 1));
	CHECK(comes_back());
	CHECK_EQ(processors(), all);

	CHECK(follows(tid(), false, 1));
	near_leave();
	CHECK(!is_near());
	CHECK_EQ(processors(), all);
}

static void requests_of_nobody_say_nothing(void)
{
	bool goes = false;

	for (int i = 0; i < TRIES && !goes; i++) {
		near_served(0, false);
		serve(tid(), 2, false);
		goes = is_near();
	}
	CHECK(goes);
	near_leave();
	serve(0, TRIES, false);
	CHECK(!is_near());
}

static void another_caller_ends_it(void)
{
	CHECK(follows(tid(), false, 1));
	near_served(getppid(), false);
	CHECK(!is_near());
	for (int i = 0; i < TRIES; i++) {
		near_served(tid(), false);
		near_served(getppid(), false);
	}
	CHECK(!is_near());
}

static void where_a_thread_is_bound_it_stays(void)
{
	const int all = processors();

	CHECK(follows(tid(), true, all));
	near_leave();
	CHECK_EQ(processors(), all);
}

static void a_caller_that_is_gone_is_not_followed(void)
{
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	CHECK_EQ(waitpid(gone, NULL, 0), gone);
	serve(gone, TRIES, false);
	CHECK(!is_near());
}

static void *look_around(void *arg)
{
	CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
	CHECK_EQ(processors(), *(int *)arg);
	return NULL;
}

static void a_thread_that_it_starts_is_as_any(void)
{
	int all = processors();
	pthread_t thread;

	CHECK(follows(tid(), false, 1));
	CHECK_EQ(thread_start(&thread, NULL, look_around, &all), 0);
	pthread_join(thread, NULL);
	CHECK(!is_near());
}

static void *keep_serving(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		near_served(tid(), false);
	CHECK(!is_near());
	return NULL;
}

/* Threads end while they are near, and the end comes while others are. */
static void threads_and_the_end_do_not_wait_for_each_other(void)
{
	pthread_t threads[4];

	for (int round = 0; round < 20; round++) {
		atomic_store(&stop, false);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(thread_start(&threads[i], NULL, keep_serving, NULL), 0);
		usleep(5000);
		near_stop();
		atomic_store(&stop, true);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		CHECK_EQ(near_start(), 0);
	}
}

static void *be_near(void *arg)
{
	(void)arg;
	CHECK(follows(tid(), false, 1));
	return NULL;
}

static void a_thread_may_end_there(void)
{
	pthread_t thread;

	for (int i = 0; i < 20; i++) {
		CHECK_EQ(thread_start(&thread, NULL, be_near, NULL), 0);
		pthread_join(thread, NULL);
	}
}

static int start_as(uid_t uid, bool one_processor)
{
	cpu_set_t one;
	int status;
	pid_t child = fork();

	if (child == 0) {
		CPU_ZERO(&one);
		CPU_SET(sched_getcpu(), &one);
		if (setresuid(uid, uid, uid) != 0 ||
		    (one_processor && sched_setaffinity(0, sizeof(one), &one) != 0))
			_exit(1);
		status = near_start();
		serve(tid(), TRIES, false);
		_exit(is_near() ? 2 : -status);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static void who_may_not_does_without(void)
{
	if (geteuid() == 0)
		CHECK_EQ(start_as(65534, false), processors() > 1 ? -EPERM : -ENOTSUP);
	CHECK_EQ(start_as(geteuid(), true), -ENOTSUP);
}

int main(void)
{
	int r;

	who_may_not_does_without();
	r = near_start();
	if (r < 0) {
		CHECK(r == -EPERM ? geteuid() != 0 : r == -ENOTSUP && processors() == 1);
		return 0;
	}
	a_lone_caller_is_followed_while_it_calls();
	requests_of_nobody_say_nothing();
	another_caller_ends_it();
	where_a_thread_is_bound_it_stays();
	a_caller_that_is_gone_is_not_followed();
	a_thread_that_it_starts_is_as_any();
	a_thread_may_end_there();
	threads_and_the_end_do_not_wait_for_each_other();
	CHECK(follows(tid(), false, 1));
	near_stop();
	CHECK(!is_near());
	serve(tid(), TRIES, false);
	CHECK(!is_near());
	return 0;
}
