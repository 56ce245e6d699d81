#include "starters.h"

#include "../../backends/base/pool.h"

#define THREADS 8
#define QUEUE 256
#define IDLE_MS 5000
#define KEPT 64 /* that nobody uses */

static void unlink_starter(struct server *s, struct starter *st)
{
	if (st->prev)
		st->prev->next = st->next;
	else
		s->starters = st->next;
	if (st->next)
		st->next->prev = st->prev;
}

static void link_first(struct server *s, struct starter *st)
{
	st->prev = NULL;
	st->next = s->starters;
	if (st->next)
		st->next->prev = st;
	s->starters = st;
}

static void starter_free(struct server *s, struct starter *st)
{
	unlink_starter(s, st);
	pool_end(st->pool);
	free(st);
}

int starter_get(struct server *s, struct bk *bk, struct starter **ret)
{
	const struct pool_conf conf = {.threads = THREADS, .queue = QUEUE, .idle_ms = IDLE_MS};
	struct starter *st = s->starters;
	int r;

	while (st && st->bk != bk)
		st = st->next;
	if (!st) {
		st = calloc(1, sizeof(*st));
		if (!st)
			return -ENOMEM;
		r = pool_new(&conf, &st->pool);
		if (r < 0) {
			free(st);
			return r;
		}
		st->bk = bk;
		link_first(s, st);
	}
	st->refs++;
	*ret = st;
	return 0;
}

void starter_put(struct server *s, struct starter *st)
{
	unsigned unused = 0;

	if (--st->refs > 0)
		return;
	unlink_starter(s, st);
	link_first(s, st);
	for (struct starter *next; st; st = next) {
		next = st->next;
		if (st->refs == 0 && ++unused > KEPT)
			starter_free(s, st);
	}
}

bool starters_busy(const struct server *s)
{
	const struct starter *st = s->starters;

	while (st && st->refs == 0)
		st = st->next;
	return st != NULL;
}

void starters_end(struct server *s)
{
	while (s->starters)
		starter_free(s, s->starters);
}
