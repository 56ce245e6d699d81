/*
 * Attributes of a directory as the answer to a change in it has told them. Whoever makes or removes
 * files asks for them each time: the kernel forgets them with each change. Good for
 * CLIENT_AHEAD_MS, until anything else changes through here.
 */
#include "client.h"

#include "base/clock.h"

struct told {
	struct stat st;
	uint64_t epoch, at_ms;
};

uint64_t remote_told_begin(struct bk_node *dir)
{
	return atomic_load(&REMOTE_OF(dir)->epoch);
}

int remote_told_end(struct bk_node *dir, const struct stat *st, uint64_t begun)
{
	struct remote *r = REMOTE_OF(dir);
	struct remote_node *n = NODE_OF(dir);
	int e = st->st_mode ? remote_node_check(r, dir, st) : 0;

	if (e < 0 || !st->st_mode)
		return e;
	pthread_mutex_lock(&r->nodes_lock);
	if (!n->told)
		n->told = malloc(sizeof(*n->told)); /* without it they are asked for */
	/* The change itself has moved the epoch when it was sent and when it was answered. */
	if (n->told)
		*n->told = (struct told){*st, begun + 2, clock_ms()};
	pthread_mutex_unlock(&r->nodes_lock);
	return 0;
}

bool remote_told(struct bk_node *node, struct stat *ret_st)
{
	struct remote *r = REMOTE_OF(node);
	const struct told *t;
	bool good;

	pthread_mutex_lock(&r->nodes_lock);
	t = NODE_OF(node)->told;
	good = t && t->epoch == atomic_load(&r->epoch) && clock_ms() - t->at_ms < CLIENT_AHEAD_MS;
	if (good)
		*ret_st = t->st;
	pthread_mutex_unlock(&r->nodes_lock);
	return good;
}
