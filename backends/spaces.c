/*
 * Which ino_space numbers of a mount are taken; see backend.h. 15 bits of a key's hash, so that a
 * tree's numbers stay when others come and go; the next free one where two meet. 0 is nobody's to
 * take: it is the composite's own.
 */
#include "backend.h"

#define SPACES 0x7fff

struct bk_spaces {
	pthread_mutex_t lock; /* guards all below; a leaf */
	unsigned n;
	bool taken[SPACES + 1];
};

int bk_spaces_new(struct bk_spaces **ret)
{
	struct bk_spaces *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

void bk_spaces_free(struct bk_spaces *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static unsigned first_choice(const char *key)
{
	uint32_t hash = 2166136261u;

	for (const char *p = key; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	return (hash ^ hash >> 15) % SPACES + 1;
}

int bk_space_take(struct bk_spaces *s, const char *key)
{
	unsigned number = first_choice(key);
	int r = -ENOSPC;

	if (!s)
		return 0;
	pthread_mutex_lock(&s->lock);
	if (s->n < SPACES) {
		while (s->taken[number])
			number = number % SPACES + 1;
		s->taken[number] = true;
		s->n++;
		r = number;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void bk_space_give(struct bk_spaces *s, unsigned number)
{
	if (!s || number == 0)
		return;
	pthread_mutex_lock(&s->lock);
	s->taken[number] = false;
	s->n--;
	pthread_mutex_unlock(&s->lock);
}
