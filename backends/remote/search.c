/* Searches at the server's end: the request, and the results as they are asked for. */
#include "client.h"

#include <string.h>

struct remote_results {
	struct bk_results base;
	struct bk_node *dir; /* a reference: what is in use */
	uint64_t id;
};

#define RESULTS_OF(results) container_of((results), struct remote_results, base)

static ssize_t results_read(struct bk_req *req, struct bk_results *results, void *data, size_t size)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote_results *x = RESULTS_OF(results);
	struct remote *r = REMOTE_OF(x->dir);
	struct remote_msg m = {.search = x->id,
			       .size = size < REMOTE_MAX_DATA ? size : REMOTE_MAX_DATA};
	int e = remote_call_run(r, req, REMOTE_RESULTS, &m, &a);

	if (e < 0)
		return e;
	if (a.msg.data_len > m.size)
		return remote_conn_fail(r, "there were more results than was asked for");
	memcpy(data, a.msg.data, a.msg.data_len);
	return a.msg.data_len;
}

static void results_free(struct bk_results *results)
{
	struct remote_results *x = RESULTS_OF(results);
	const struct remote_msg m = {.search = x->id};

	remote_conn_send(REMOTE_OF(x->dir), REMOTE_END_SEARCH, 0, &m);
	bk_node_unref(x->dir);
	free(x);
}

static const struct bk_results_ops results_ops = {.read = results_read, .free = results_free};

static int add_group(struct buf *out, gid_t gid)
{
	const uint8_t bytes[] = {gid, gid >> 8, gid >> 16, gid >> 24};

	return buf_add(out, bytes, sizeof(bytes));
}

/* See REMOTE_SEARCH. */
static int describe(const struct bk_search *s, struct buf *data, struct remote_msg *m)
{
	int e = 0;

	for (size_t i = 0; i < s->n_groups && e == 0; i++)
		e = add_group(data, s->groups[i]);
	if (e == 0)
		e = buf_add(data, s->what, s->size);
	m->text = s->hidden ? s->hidden : "";
	m->size = s->n_groups;
	m->flags = s->root ? REMOTE_AS_ROOT : 0;
	m->data = data->data;
	m->data_len = data->len;
	return e;
}

int remote_search(struct bk_req *req, struct bk_node *dir, const struct bk_search *s,
		  struct bk_results **ret)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	_cleanup_buf_ struct buf data = BUF_INIT(REMOTE_MAX_DATA);
	struct remote_msg m = {.node = NODE_OF(dir)->id}, end = {.search = 0};
	struct remote *r = REMOTE_OF(dir);
	struct remote_results *x;
	int e = r->can_search ? describe(s, &data, &m) : -EOPNOTSUPP;

	/* What does not go into one frame is searched from here. */
	if (e == -E2BIG)
		e = -EOPNOTSUPP;
	if (e == 0)
		e = remote_call_run(r, req, REMOTE_SEARCH, &m, &a);
	if (e < 0)
		return e;
	x = malloc(sizeof(*x));
	if (!x) {
		end.search = a.msg.search;
		remote_conn_send(r, REMOTE_END_SEARCH, 0, &end);
		return -ENOMEM;
	}
	*x = (struct remote_results){{&results_ops}, bk_node_ref(dir), a.msg.search};
	*ret = &x->base;
	return 0;
}
