/*
 * Nodes of the client end: one for each id that the server has told of and not been told to forget.
 */
#include "client.h"

static struct remote_node *find_locked(struct remote *r, uint64_t id)
{
	struct remote_node *n;

	HASH_FIND(hh, r->nodes, &id, sizeof(id), n);
	if (!n || bk_node_tryref(&n->base))
		return n;
	/* It is about to be freed, and gives back its own counts. */
	HASH_DEL(r->nodes, n);
	n->hashed = false;
	return NULL;
}

static int add_locked(struct remote *r, struct remote_node *n)
{
	n->hashed = true;
	HASH_ADD(hh, r->nodes, id, sizeof(n->id), n);
	if (!n->hh.tbl)
		n->hashed = false;
	return n->hashed ? 0 : -ENOMEM;
}

static struct remote_node *node_alloc(struct remote *r, uint64_t id, mode_t type)
{
	struct remote_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	bk_node_init(&n->base, &r->bk);
	n->id = id;
	n->type = type;
	return n;
}

/* The node of ID, counted once more. */
static int find_or_add(struct remote *r, uint64_t id, mode_t type, struct remote_node **ret)
{
	struct remote_node *n;
	int e = 0;

	pthread_mutex_lock(&r->nodes_lock);
	n = find_locked(r, id);
	if (!n) {
		n = node_alloc(r, id, type);
		e = n ? add_locked(r, n) : -ENOMEM;
	}
	if (n)
		n->lookups++;
	pthread_mutex_unlock(&r->nodes_lock);
	if (!n)
		remote_conn_forget(r, id, 1);
	if (e < 0)
		bk_node_unref(n ? &n->base : NULL);
	else
		*ret = n;
	return e;
}

int remote_node_for(struct remote *r, uint64_t id, const struct stat *st, mode_t type,
		    struct bk_node **ret)
{
	struct remote_node *n;
	int e;

	if (type && (st->st_mode & S_IFMT) != type)
		return remote_conn_fail(r, "a file has another type than was made");
	e = find_or_add(r, id, st->st_mode & S_IFMT, &n);
	if (e < 0)
		return e;
	e = remote_node_check(r, &n->base, st);
	if (e < 0)
		bk_node_unref(&n->base);
	else
		*ret = &n->base;
	return e;
}

int remote_node_check(struct remote *r, struct bk_node *node, const struct stat *st)
{
	if ((st->st_mode & S_IFMT) == NODE_OF(node)->type)
		return 0;
	return remote_conn_fail(r, "a file has changed its type");
}

void remote_node_free(struct bk_node *node)
{
	struct remote *r = REMOTE_OF(node);
	struct remote_node *n = NODE_OF(node);

	pthread_mutex_lock(&r->nodes_lock);
	if (n->hashed)
		HASH_DEL(r->nodes, n);
	pthread_mutex_unlock(&r->nodes_lock);
	remote_batch_unref(n->ahead);
	free(n->told);
	remote_conn_forget(r, n->id, n->lookups);
	free(n);
}
