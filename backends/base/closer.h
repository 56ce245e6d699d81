/*
 * Closing files of which nothing is left but the descriptor: the file system then frees what they
 * had, which may take as long as several requests. While that takes long on the average, a thread
 * of this module's does it. The thread ends when there was none for a while. Thread-safe.
 */
#ifndef AIB_BASE_CLOSER_H
#define AIB_BASE_CLOSER_H

#include <stdatomic.h>

#define CLOSER_LONG_US 15 /* to wake another thread takes a few */
#define CLOSER_QUEUE 64	  /* descriptors that wait; where there are more, the caller closes */

struct pool;

struct closer {
	struct pool *pool;
	atomic_uint average_us; /* of the last few */
};

/* Returns 0 or -ENOMEM. */
int closer_init(struct closer *c);
/* All that was given is closed when this returns. Takes one that is all zero. */
void closer_done(struct closer *c);

/* Close FD, now or soon. */
void closer_close(struct closer *c, int fd);

#endif
