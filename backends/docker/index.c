#include "index.h"

#include "../base/clock.h"

#include <string.h>

void indexes_init(struct indexes *ixs)
{
	*ixs = (struct indexes){.n = 0};
	pthread_mutex_init(&ixs->lock, NULL);
	gate_init(&ixs->gate);
}

void indexes_done(struct indexes *ixs)
{
	for (size_t i = 0; i < ixs->n; i++)
		index_unref(ixs->list[i]);
	gate_done(&ixs->gate);
	pthread_mutex_destroy(&ixs->lock);
}

struct index *index_ref(struct index *ix)
{
	atomic_fetch_add(&ix->refs, 1);
	return ix;
}

void index_unref(struct index *ix)
{
	if (!ix || atomic_fetch_sub(&ix->refs, 1) != 1)
		return;
	free(ix->path);
	free(ix->e);
	free(ix->names);
	free(ix);
}

uint32_t index_child(const struct index *ix, uint32_t at, const char *name, size_t len)
{
	uint32_t low = ix->e[at].first, high = low + ix->e[at].count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const char *have = index_name(ix, &ix->e[mid]);
		int c = strncmp(have, name, len);

		if (c == 0 && have[len] == '\0')
			return mid;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

/*
 * Walk from the root of IX down to PATH. The deepest entry on the way goes to *ret; returns true
 * where that is PATH itself. False at a stale entry too.
 */
static bool walk(const struct index *ix, const char *path, uint32_t *ret)
{
	size_t n = strlen(ix->path);
	const char *p;
	uint32_t at = 0;

	if (n == 1)
		n = 0;
	if (strncmp(path, ix->path, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return false;
	*ret = 0;
	for (p = path + n; *p == '/' && p[1];) {
		size_t len = strcspn(p + 1, "/");

		if (ix->e[at].flags & INDEX_STALE)
			return false;
		at = index_child(ix, at, p + 1, len);
		if (at == 0)
			return false;
		*ret = at;
		p += 1 + len;
	}
	return !(ix->e[at].flags & INDEX_STALE);
}

int index_find(struct indexes *ixs, const char *path, struct index **ret_index, uint32_t *ret_at,
	       struct index_entry *ret)
{
	int r = -ENOENT;

	pthread_mutex_lock(&ixs->lock);
	for (size_t i = 0; i < ixs->n && r < 0; i++) {
		uint32_t at;

		if (!walk(ixs->list[i], path, &at))
			continue;
		*ret = ixs->list[i]->e[at];
		*ret_at = at;
		if (ret_index)
			*ret_index = index_ref(ixs->list[i]);
		r = 0;
	}
	pthread_mutex_unlock(&ixs->lock);
	return r;
}

void index_touch(struct indexes *ixs, const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));

	pthread_mutex_lock(&ixs->lock);
	for (size_t i = 0; i < ixs->n; i++) {
		uint32_t at;

		if (walk(ixs->list[i], path, &at))
			ixs->list[i]->e[at].flags |= INDEX_STALE;
		if (parent && walk(ixs->list[i], parent, &at))
			ixs->list[i]->e[at].flags |= INDEX_TOUCHED;
	}
	pthread_mutex_unlock(&ixs->lock);
}

void index_add(struct indexes *ixs, struct index *ix)
{
	struct index *drop = NULL;
	size_t at;

	pthread_mutex_lock(&ixs->lock);
	/* One of the same directory, else the oldest, makes room. */
	for (at = 0; at < ixs->n; at++)
		if (strcmp(ixs->list[at]->path, ix->path) == 0)
			break;
	if (at == INDEXES_MAX)
		at--;
	if (at < ixs->n)
		drop = ixs->list[at];
	else
		ixs->n++;
	memmove(ixs->list + 1, ixs->list, at * sizeof(*ixs->list));
	ixs->list[0] = ix;
	pthread_mutex_unlock(&ixs->lock);
	index_unref(drop);
}
