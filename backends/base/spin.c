/* See spin.h. */
#include "spin.h"

#include "clock.h"
#include "processors.h"

#include <sched.h>
#include <stdatomic.h>

/* Beyond so many moments the thread did not run: others want the processor. */
#define PATIENCE 4
/* For how long it then sleeps at once, since the scheduler prefers who was woken to who only
 * yields. */
#define PAUSE_US 100000

static atomic_uint_fast64_t limit_us = SPIN_US;

void spin_limit(uint64_t us)
{
	atomic_store(&limit_us, processors(0) == 1 ? 0 : us);
}

uint64_t spin_limit_us(void)
{
	return atomic_load_explicit(&limit_us, memory_order_relaxed);
}

bool spin_look(struct spin *s, struct pollfd *p, nfds_t n)
{
	const uint64_t us = spin_limit_us();
	uint64_t now = s->since_us = clock_us();
	bool came = false;

	while (s->worth && !came && now - s->since_us < us) {
		came = poll(p, n, 0) > 0;
		if (!came)
			(void)sched_yield();
		now = clock_us();
	}
	if (now - s->since_us > us * PATIENCE)
		s->not_before_us = now + PAUSE_US;
	return came;
}

void spin_came(struct spin *s)
{
	const uint64_t now = clock_us();

	s->worth = now - s->since_us < spin_limit_us() && now >= s->not_before_us;
}

int spin_poll(struct spin *s, struct pollfd *p, nfds_t n, int timeout_ms)
{
	int r = 1;

	if (timeout_ms == 0)
		return poll(p, n, 0);
	if (!spin_look(s, p, n))
		r = poll(p, n, timeout_ms);
	spin_came(s);
	return r;
}
