/* See closer.h. */
#include "closer.h"

#include "clock.h"
#include "macros.h"
#include "pool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define IDLE_MS 1000
#define SHARE 8 /* of the average is the last one's */

struct closing {
	struct work work;
	struct closer *closer;
	int fd;
};

int closer_init(struct closer *c)
{
	const struct pool_conf conf = {.threads = 1, .queue = CLOSER_QUEUE, .idle_ms = IDLE_MS};

	return pool_new(&conf, &c->pool);
}

void closer_done(struct closer *c)
{
	pool_end(TAKE(c->pool));
}

static void close_timed(struct closer *c, int fd)
{
	const uint64_t from = clock_us();
	unsigned took, average = atomic_load(&c->average_us);

	close(fd);
	took = (unsigned)(clock_us() - from);
	atomic_store(&c->average_us, (average * (SHARE - 1) + took) / SHARE);
}

static void run_closing(struct work *w)
{
	struct closing *g = container_of(w, struct closing, work);

	close_timed(g->closer, g->fd);
	free(g);
}

static bool hand_over(struct closer *c, int fd)
{
	struct closing *g = malloc(sizeof(*g));

	if (!g)
		return false;
	*g = (struct closing){.work = {.run = run_closing}, .closer = c, .fd = fd};
	if (pool_submit(c->pool, &g->work, false) == 0)
		return true;
	free(g);
	return false;
}

void closer_close(struct closer *c, int fd)
{
	if (atomic_load(&c->average_us) < CLOSER_LONG_US || !hand_over(c, fd))
		close_timed(c, fd);
}
