/*
 * What the rules say of a place, and nodes by that: the table's pointers are weak (bk_node_tryref).
 * A key is the file, its verdict and, of a directory, what is reached there.
 */
#include "ruled.h"

#include <string.h>

/* ---- Verdicts ---- */

/* The last rule wins that matches the place or a directory above it. */
static void decide(const struct rules *r, int above, struct verdict *v)
{
	int here = v->below ? pattern_which(r->pattern, v->below) : -1;

	v->rule = here > above ? here : above;
	v->errno_ = v->rule < 0 ? 0 : r->list[v->rule].verdict;
}

int verdict_of(struct ruled *g, struct bk_node *dir, const char *name, struct verdict *ret)
{
	const struct verdict *above = dir ? &ruled_node_of(dir)->verdict : NULL;
	struct verdict v = {0};
	int r = 0;

	if (!above)
		r = pattern_begin(g->rules->pattern, &v.below);
	else if (above->below)
		r = pattern_step(g->rules->pattern, above->below, name, &v.below);
	if (r < 0)
		return r;
	decide(g->rules, above ? above->rule : -1, &v);
	*ret = v;
	return 0;
}

void verdict_done(struct verdict *v)
{
	free(TAKE(v->below));
}

bool verdict_same(const struct verdict *a, const struct verdict *b)
{
	return a->rule == b->rule && pattern_same(a->below, b->below);
}

int ruled_rule(struct bk_node *node, const char *name, const char **ret)
{
	struct ruled *g = ruled_of(node);
	_cleanup_verdict_ struct verdict found = {0};
	const struct verdict *v = &ruled_node_of(node)->verdict;

	if (name) {
		if (verdict_of(g, node, name, &found) < 0)
			return 0;
		v = &found;
	}
	if (v->errno_ < 0)
		*ret = g->rules->list[v->rule].glob;
	return v->errno_;
}

/* ---- Nodes ---- */

static int make_key(struct ruled_node *n)
{
	const struct pattern_state *s = n->verdict.below;
	size_t words = s ? s->n * sizeof(s->words[0]) : 0;
	const int of_file[] = {n->verdict.errno_, n->verdict.rule};
	/* Which rule it was matters below a directory only. */
	size_t numbers = s ? sizeof(of_file) : sizeof(of_file[0]);
	unsigned char *p;

	n->key_len = sizeof(n->inner) + numbers + words;
	n->key = p = malloc(n->key_len);
	if (!p)
		return -ENOMEM;
	p = mempcpy(p, &n->inner, sizeof(n->inner));
	p = mempcpy(p, of_file, numbers);
	if (s)
		memcpy(p, s->words, words);
	return 0;
}

/* The table's node of N's key, or N itself, which is then in it; -ENOMEM. */
static int find_or_add(struct ruled *g, struct ruled_node *n, struct ruled_node **ret)
{
	struct ruled_node *found;
	int r = 0;

	pthread_mutex_lock(&g->lock);
	HASH_FIND(hh, g->nodes, n->key, n->key_len, found);
	if (found && !bk_node_tryref(&found->node)) {
		HASH_DEL(g->nodes, found);
		found->hashed = false;
		found = NULL;
	}
	if (!found) {
		HASH_ADD_KEYPTR(hh, g->nodes, n->key, n->key_len, n);
		n->hashed = n->hh.tbl;
		r = n->hashed ? 0 : -ENOMEM;
	}
	pthread_mutex_unlock(&g->lock);
	*ret = found ? found : n;
	return r;
}

int ruled_node(struct ruled *g, struct bk_node *inner, const struct stat *st, struct verdict *v,
	       struct bk_node **ret)
{
	struct ruled_node *n = calloc(1, sizeof(*n)), *found;
	int r;

	if (!n) {
		bk_node_unref(inner);
		return -ENOMEM;
	}
	bk_node_init(&n->node, &g->bk);
	n->inner = inner;
	n->verdict = *v;
	n->verdict.below = S_ISDIR(st->st_mode) ? TAKE(v->below) : NULL;
	r = make_key(n);
	if (r == 0)
		r = find_or_add(g, n, &found);
	if (r < 0 || found != n)
		bk_node_unref(&n->node);
	if (r < 0)
		return r;
	atomic_store(&found->node.era, atomic_load(&found->inner->era));
	*ret = &found->node;
	return 0;
}

void ruled_node_free(struct bk_node *node)
{
	struct ruled *g = ruled_of(node);
	struct ruled_node *n = ruled_node_of(node);

	pthread_mutex_lock(&g->lock);
	if (n->hashed)
		HASH_DEL(g->nodes, n);
	pthread_mutex_unlock(&g->lock);
	bk_node_unref(n->inner);
	verdict_done(&n->verdict);
	free(n->key);
	free(n);
}
