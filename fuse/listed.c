/* See listed.h. */
#include "listed.h"

#include "base/clock.h"

/* Longer than that the kernel may have dropped a file for want of memory. */
#define HOLD_MAX_MS 1000

void listed_init(struct listed *l)
{
	pthread_mutex_init(&l->lock, NULL);
}

void listed_done(struct listed *l)
{
	pthread_mutex_destroy(&l->lock);
}

static struct listed_dir *place_of(struct listed *l, uint64_t number)
{
	return &l->dirs[number % LISTED_DIRS];
}

static bool is_as_it_was(const struct listed_state *now, const struct listed_state *then)
{
	return now->mtime.tv_sec == then->mtime.tv_sec &&
	       now->mtime.tv_nsec == then->mtime.tv_nsec && now->recalls == then->recalls &&
	       now->nodes >= then->nodes;
}

void listed_begin(struct listed *l, struct listed_handle *h, uint64_t number,
		  const struct listed_state *state, uint32_t hold_ms)
{
	uint64_t now = clock_ms();
	const struct listed_dir *last;

	if (hold_ms > HOLD_MAX_MS)
		hold_ms = HOLD_MAX_MS;
	pthread_mutex_lock(&l->lock);
	last = place_of(l, number);
	h->names = last->number == number && is_as_it_was(state, &last->state) &&
		   now - last->begun_ms < hold_ms / 4;
	h->dir = (struct listed_dir){number, now, *state};
	h->next = 0;
	pthread_mutex_unlock(&l->lock);
}

bool listed_names(struct listed *l, struct listed_handle *h, off_t off)
{
	bool names;

	pthread_mutex_lock(&l->lock);
	if (off != h->next)
		*h = (struct listed_handle){.names = false};
	names = h->names;
	pthread_mutex_unlock(&l->lock);
	return names;
}

void listed_told(struct listed *l, struct listed_handle *h, off_t next, bool end, uint32_t nodes)
{
	pthread_mutex_lock(&l->lock);
	h->next = next;
	h->dir.state.nodes = nodes;
	if (end && h->dir.number && !h->names)
		*place_of(l, h->dir.number) = h->dir;
	pthread_mutex_unlock(&l->lock);
}
