/* Who closes what takes long, and that all of it is closed. */
#include "base/closer.h"
#include "test.h"

#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#define MANY (4 * CLOSER_QUEUE)
#define LONG_US 1000000

static struct closer closer;

/* The reading ends of pipes whose writing ends were given away. */
static void give(int *ends, int n)
{
	int fds[2];

	for (int i = 0; i < n; i++) {
		CHECK_EQ(pipe(fds), 0);
		ends[i] = fds[0];
		closer_close(&closer, fds[1]);
	}
}

static bool is_ended(int end, int timeout_ms)
{
	struct pollfd p = {.fd = end, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && p.revents == POLLHUP;
}

static void close_all(const int *ends, int n)
{
	for (int i = 0; i < n; i++)
		close(ends[i]);
}

static void what_is_quick_is_closed_at_once(void)
{
	int end;

	CHECK_EQ(closer_init(&closer), 0);
	give(&end, 1);
	CHECK(is_ended(end, 0));
	CHECK(atomic_load(&closer.average_us) < LONG_US);
	close(end);
	closer_done(&closer);
}

/* The thread that closes sees that it is quick, and the caller does it again. */
static void what_takes_long_is_closed_soon_until_it_is_quick(void)
{
	int ends[MANY];

	CHECK_EQ(closer_init(&closer), 0);
	atomic_store(&closer.average_us, LONG_US);
	give(ends, MANY);
	for (int i = 0; i < MANY; i++)
		CHECK(is_ended(ends[i], 10000));
	close_all(ends, MANY);
	CHECK(atomic_load(&closer.average_us) < LONG_US);
	closer_done(&closer);
}

static void all_is_closed_at_the_end(void)
{
	int ends[CLOSER_QUEUE];

	CHECK_EQ(closer_init(&closer), 0);
	atomic_store(&closer.average_us, LONG_US);
	give(ends, CLOSER_QUEUE);
	closer_done(&closer);
	for (int i = 0; i < CLOSER_QUEUE; i++)
		CHECK(is_ended(ends[i], 0));
	close_all(ends, CLOSER_QUEUE);
}

int main(void)
{
	what_is_quick_is_closed_at_once();
	what_takes_long_is_closed_soon_until_it_is_quick();
	all_is_closed_at_the_end();
	return 0;
}
