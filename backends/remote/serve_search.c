/* Searches that the program carries out where the files are, and what they find. */
#include "server.h"

#define GROUP_SIZE 4
#define MAX_GROUPS 65536 /* NGROUPS_MAX of the kernel */

static int groups_of(const struct remote_msg *m, gid_t **ret)
{
	const uint8_t *p = m->data;
	gid_t *groups;

	if (m->size > MAX_GROUPS || m->data_len < (size_t)m->size * GROUP_SIZE)
		return -EINVAL;
	groups = calloc(m->size + 1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	for (size_t i = 0; i < m->size; i++, p += GROUP_SIZE)
		groups[i] = p[0] | p[1] << 8 | p[2] << 16 | (gid_t)p[3] << 24;
	*ret = groups;
	return 0;
}

int serve_search(struct server_call *c)
{
	const struct remote_serve_conf *conf = &c->s->conf;
	_cleanup_free_ gid_t *groups = NULL;
	struct server_file opened = {.kind = SERVER_SEARCH};
	struct bk_search s = {
	    .n_groups = c->in.size,
	    .root = c->in.flags & REMOTE_AS_ROOT,
	    .hidden = c->in.text,
	};
	int r = c->s->searches ? groups_of(&c->in, &groups) : -EOPNOTSUPP;

	if (r < 0)
		return r;
	s.groups = groups;
	s.what = (const uint8_t *)c->in.data + s.n_groups * GROUP_SIZE;
	s.size = c->in.data_len - s.n_groups * GROUP_SIZE;
	r = conf->search(conf->ctx, &c->req, c->node, &s, &opened.results);
	return r < 0 ? r : serve_file_id(c->s, &opened, &c->out.search);
}

int serve_results(struct server_call *c)
{
	size_t size = c->in.size < REMOTE_MAX_DATA ? c->in.size : REMOTE_MAX_DATA;
	ssize_t n = bk_results_read(&c->req, c->file->results, c->data, size);

	if (n < 0)
		return n;
	c->out.data = c->data;
	c->out.data_len = n;
	return 0;
}
