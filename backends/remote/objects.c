/*
 * What the client holds of the served backend: nodes, each with how often it was told of, open
 * files and searches. A node's number is its index here (bk_node.front), so that the same file has
 * the same id.
 */
#include "server.h"

/* ---- Nodes ---- */

static int count_node_locked(struct server *s, struct bk_node *node, uint64_t *ret_id,
			     bool *ret_new)
{
	int r;

	*ret_new = !node->front;
	if (node->front) {
		*ret_id = ids_at(&s->nodes, node->front);
		ids_find(&s->nodes, *ret_id)->count++;
		return 0;
	}
	r = ids_add(&s->nodes, node, ret_id);
	if (r == 0)
		node->front = (uint32_t)*ret_id;
	return r;
}

int serve_node_id(struct server *s, struct bk_node *node, uint64_t *ret_id)
{
	bool is_new;
	int r;

	pthread_mutex_lock(&s->lock);
	r = count_node_locked(s, node, ret_id, &is_new);
	pthread_mutex_unlock(&s->lock);
	if (r < 0 || !is_new)
		bk_node_unref(node); /* the table has one, or wants none */
	return r;
}

/* The node, if no count is left; *ret_bad where the client has fewer. */
static struct bk_node *forget_locked(struct server *s, const struct remote_forget *f, bool *ret_bad)
{
	struct ids_entry *e = ids_find(&s->nodes, f->node);
	struct bk_node *node;

	*ret_bad = !e || f->count > e->count;
	if (*ret_bad)
		return NULL;
	e->count -= f->count;
	if (e->count > 0)
		return NULL;
	node = e->ptr;
	node->front = 0;
	ids_remove(&s->nodes, f->node);
	return node;
}

int serve_forget(struct server *s, const struct remote_forget *f)
{
	struct bk_node *node;
	bool bad;

	pthread_mutex_lock(&s->lock);
	node = forget_locked(s, f, &bad);
	pthread_mutex_unlock(&s->lock);
	bk_node_unref(node);
	return bad ? -EPROTO : 0;
}

int serve_forget_all(struct server *s, const struct remote_msg *m)
{
	struct remote_forget f;
	size_t pos = 0;
	int r;

	while ((r = remote_get_forget(m->data, m->data_len, &pos, &f)) > 0) {
		r = serve_forget(s, &f);
		if (r < 0)
			return r;
	}
	return r;
}

/* ---- Open files ---- */

static void close_opened(const struct server_file *f)
{
	bk_results_free(f->results);
	bk_release(f->file);
}

int serve_file_id(struct server *s, const struct server_file *opened, uint64_t *ret_id)
{
	struct server_file *f = malloc(sizeof(*f));
	int r = -ENOMEM;

	if (f) {
		*f = *opened;
		f->refs = 1;
		pthread_mutex_lock(&s->lock);
		r = ids_add(&s->files, f, ret_id);
		pthread_mutex_unlock(&s->lock);
	}
	if (r < 0) {
		free(f);
		close_opened(opened);
	}
	return r;
}

static void file_unref(struct server *s, struct server_file *f)
{
	bool last;

	if (!f)
		return;
	pthread_mutex_lock(&s->lock);
	last = --f->refs == 0;
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	close_opened(f);
	free(f);
}

/* ---- What a request names ---- */

static struct bk_node *node_locked(struct server *s, uint64_t id)
{
	struct ids_entry *e = ids_find(&s->nodes, id);

	return e ? bk_node_ref(e->ptr) : NULL;
}

static struct server_file *file_locked(struct server *s, uint64_t id, enum server_file_kind kind)
{
	struct ids_entry *e = ids_find(&s->files, id);
	struct server_file *f = e ? e->ptr : NULL;

	if (!f || f->kind != kind)
		return NULL;
	f->refs++;
	return f;
}

static void find_locked(struct server_call *c, uint64_t file)
{
	const struct remote_msg *m = &c->in;
	struct server *s = c->s;

	if (m->node)
		c->node = node_locked(s, m->node);
	if (m->node2)
		c->node2 = node_locked(s, m->node2);
	if (file)
		c->file = file_locked(s, file,
				      m->file  ? SERVER_FILE
				      : m->dir ? SERVER_DIR
					       : SERVER_SEARCH);
	if (c->file && !remote_has_answer(c->head.op)) {
		ids_remove(&s->files, file);
		c->file->refs--;
	}
}

int serve_resolve(struct server_call *c)
{
	const struct remote_msg *m = &c->in;
	uint64_t file = m->file ? m->file : m->dir ? m->dir : m->search;

	if (m->file && m->dir)
		return -EPROTO;
	pthread_mutex_lock(&c->s->lock);
	find_locked(c, file);
	pthread_mutex_unlock(&c->s->lock);
	if ((m->node && !c->node) || (m->node2 && !c->node2) || (file && !c->file))
		return -EPROTO;
	return c->node && c->file && c->file->file->node != c->node ? -EPROTO : 0;
}

void serve_call_unref(struct server_call *c)
{
	file_unref(c->s, TAKE(c->file));
	bk_node_unref(TAKE(c->node2));
	bk_node_unref(TAKE(c->node));
}

void serve_objects_done(struct server *s)
{
	struct server_file *f;
	struct bk_node *node;

	while ((f = ids_take_any(&s->files)))
		file_unref(s, f);
	while ((node = ids_take_any(&s->nodes))) {
		node->front = 0;
		bk_node_unref(node);
	}
	ids_done(&s->files);
	ids_done(&s->nodes);
}
