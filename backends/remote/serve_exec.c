/* The one request that is none of the backend's: to start a command, which the program does. */
#include "server.h"

#include <string.h>

static size_t count_strings(const char *data, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += data[i] == '\0';
	return n;
}

/* Point LIST at N strings from *P on, which is moved behind them. */
static void point_at(const char **list, size_t n, const char **p)
{
	for (size_t i = 0; i < n; i++) {
		list[i] = *p;
		*p += strlen(*p) + 1;
	}
	list[n] = NULL;
}

int serve_exec(struct server_call *c)
{
	const struct remote_serve_conf *conf = &c->s->conf;
	const char *p = c->in.data;
	size_t argc = c->in.size, n = count_strings(p, c->in.data_len);
	bool with_env = c->in.flags & REMOTE_WITH_ENV;
	_cleanup_free_ const char **list = NULL;
	int r;

	if (!conf->exec || !c->s->passes_fds)
		return -EOPNOTSUPP;
	if (argc == 0 || argc > n || (!with_env && argc < n) || p[c->in.data_len - 1] != '\0')
		return -EINVAL;
	list = calloc(n + 2, sizeof(*list));
	if (!list)
		return -ENOMEM;
	point_at(list, argc, &p);
	point_at(list + argc + 1, n - argc, &p);
	r = conf->exec(conf->ctx, list, with_env ? list + argc + 1 : NULL, &c->fd);
	if (r == 0)
		c->out.flags = REMOTE_HAS_FD;
	return r;
}
