/* See listed.h. */
#include "listed.h"

#include "base/clock.h"

/* Longer than that the kernel may have dropped a file for want of memory. */
#define HOLD_MAX_MS 1000
/* 2^64 divided by the golden ratio: the upper bits of its products are spread evenly. */
#define GOLDEN 0x9e3779b97f4a7c15u

void listed_init(struct listed *l)
{
	pthread_mutex_init(&l->lock, NULL);
}

void listed_done(struct listed *l)
{
	pthread_mutex_destroy(&l->lock);
}

/* Numbers of a tree's directories are often multiples of something: twice, so that they are not any
 * more. */
static struct listed_dir *set_of(struct listed *l, uint64_t number)
{
	uint64_t spread = number * GOLDEN;

	return l->sets[(spread ^ spread >> 32) * GOLDEN >> (64 - LISTED_SET_BITS)];
}

static const struct listed_dir *find_locked(struct listed *l, uint64_t number)
{
	const struct listed_dir *set = set_of(l, number);

	for (size_t i = 0; i < LISTED_WAYS; i++)
		if (set[i].number == number)
			return &set[i];
	return NULL;
}

static void note_locked(struct listed *l, const struct listed_dir *dir)
{
	struct listed_dir *set = set_of(l, dir->number), *place = set;

	for (size_t i = 0; i < LISTED_WAYS && place->number != dir->number; i++)
		if (set[i].number == dir->number || set[i].begun_ms < place->begun_ms)
			place = &set[i];
	*place = *dir;
}

static bool is_as_it_was(const struct listed_state *now, const struct listed_state *then)
{
	return now->mtime.tv_sec == then->mtime.tv_sec &&
	       now->mtime.tv_nsec == then->mtime.tv_nsec && now->recalls == then->recalls &&
	       now->nodes >= then->nodes;
}

static bool is_recent_locked(struct listed *l, uint64_t number, const struct listed_state *state,
			     uint32_t hold_ms, uint64_t now)
{
	const struct listed_dir *last = find_locked(l, number);

	if (hold_ms > HOLD_MAX_MS)
		hold_ms = HOLD_MAX_MS;
	return last && is_as_it_was(state, &last->state) &&
	       now - last->begun_ms + last->took_ms / 2 < hold_ms - hold_ms / 8;
}

bool listed_lately(struct listed *l, uint64_t number, const struct listed_state *state,
		   uint32_t hold_ms)
{
	bool recent;

	pthread_mutex_lock(&l->lock);
	recent = is_recent_locked(l, number, state, hold_ms, clock_ms());
	pthread_mutex_unlock(&l->lock);
	return recent;
}

void listed_begin(struct listed *l, struct listed_handle *h, uint64_t number,
		  const struct listed_state *state, uint32_t hold_ms)
{
	uint64_t now = clock_ms();

	pthread_mutex_lock(&l->lock);
	h->names = is_recent_locked(l, number, state, hold_ms, now);
	h->dir = (struct listed_dir){.number = number, .begun_ms = now, .state = *state};
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
	h->dir.took_ms = clock_ms() - h->dir.begun_ms;
	if (end && h->dir.number && !h->names)
		note_locked(l, &h->dir);
	pthread_mutex_unlock(&l->lock);
}
