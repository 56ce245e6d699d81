/*
 * How long things take, counted by orders of magnitude. Any thread may add and read.
 */
#ifndef AIB_BASE_HISTOGRAM_H
#define AIB_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 7

/* Upper bounds of the buckets, in microseconds; one more is for all that is longer. */
static const uint64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {100,	1000,	  1000 * 10, 100000,
							       1000000, 10000000, 30000000};

struct histogram {
	atomic_uint_fast64_t counts[HISTOGRAM_BOUNDS + 1]; /* of each bucket alone */
	atomic_uint_fast64_t sum_us;
};

static inline void histogram_add(struct histogram *h, uint64_t us)
{
	int i = 0;

	while (i < HISTOGRAM_BOUNDS && us > histogram_bounds_us[i])
		i++;
	atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
}

#endif
