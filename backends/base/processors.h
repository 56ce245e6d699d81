/* How many processors there are for this program. */
#ifndef AIB_BASE_PROCESSORS_H
#define AIB_BASE_PROCESSORS_H

#include <sched.h>

/* Those that this thread may run on (sched_getaffinity(2)); OTHERWISE where that cannot be told. */
static inline unsigned processors(unsigned otherwise)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : otherwise;
}

#endif
