/*
 * Files that are known by sight: by number and birth, which one statx(2) tells, so that nobody has
 * to ask for their handle again. That is sure where births are kept and are not those of another
 * file of that number: a number is given again only after its file is gone, and the next one is
 * born then. So the file must have been seen alive when its birth was over by more than the
 * clock's step. The index is weak, as the table of nodes is.
 */
#include "host.h"

#include <time.h>

#define STEP_NS 20000000 /* the coarsest clock of Linux has a step of 10 ms */

static bool is_over(const struct host_sight *s)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return s->born_ns != 0 &&
	       (int64_t)(host_ns(now.tv_sec, now.tv_nsec) - s->born_ns) > STEP_NS;
}

bool host_may_recognise(const struct host_node *n, const struct host_sight *s)
{
	return n->mount && n->mount->keeps_births && !S_ISLNK(n->type) &&
	       !atomic_load(&n->recognised) && is_over(s);
}

struct host_node *host_recognised(struct host *h, const struct host_sight *s)
{
	struct host_node *n;

	pthread_mutex_lock(&h->lock);
	HASH_FIND(hh_sight, h->recognised, s, sizeof(*s), n);
	if (n && !bk_node_tryref(&n->base)) {
		host_unrecognise_locked(h, n);
		n = NULL;
	}
	pthread_mutex_unlock(&h->lock);
	return n;
}

void host_recognise(struct host *h, struct host_node *n, const struct host_sight *s)
{
	struct host_node *before;

	if (!host_may_recognise(n, s))
		return;
	pthread_mutex_lock(&h->lock);
	HASH_FIND(hh_sight, h->recognised, s, sizeof(*s), before);
	if (!before && !n->recognised) {
		n->sight.born_ns = s->born_ns;
		HASH_ADD(hh_sight, h->recognised, sight, sizeof(n->sight), n);
		n->recognised = n->hh_sight.tbl != NULL;
	}
	pthread_mutex_unlock(&h->lock);
}

void host_unrecognise_locked(struct host *h, struct host_node *n)
{
	if (n->recognised)
		HASH_DELETE(hh_sight, h->recognised, n);
	n->recognised = false;
}
