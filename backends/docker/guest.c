/* See guest.h. */
#include "guest.h"

#include "relay.h"
#include "spec.h"

#include "../remote/remote.h"

#include <string.h>

struct guest {
	struct relay *relay;
	struct bk *bk;
};

static int start(struct bk_req *req, struct sandbox *sb, struct bk_stream **ret, struct err *err)
{
	static const char *const argv[] = {GUEST_PATH, "serve", NULL};
	const struct engine_exec x = {.argv = argv, .user = "0:0", .workdir = "/"};
	int r = sandbox_running(req, sb, err);

	if (r < 0)
		return r;
	r = sandbox_exec(req, sb, &x, ret, err);
	if (r == 0)
		return 0;
	/* Of the engine, not of a file. */
	return err_prefix(err, sandbox_is_lost(r) ? -EIO : r,
			  "container %s: starting " GUEST_PATH " serve", sb->ref);
}

/* The guest said no hello: what it said instead, or what became of it. */
static int no_answer(struct sandbox *sb, struct relay *relay, int r, struct err *err)
{
	const char *text;

	relay_stop(relay);
	text = relay_text(relay);
	/* It may be missing, or another one: looked at again before the next try. */
	if (r == -EIO || r == -EPROTO)
		sandbox_forget_ready(sb);
	return err_set(err, r, "container %s: " GUEST_PATH " serve does not answer: %s", sb->ref,
		       *text ? text : strerror(-r));
}

int guest_connect(struct bk_req *req, struct sandbox *sb, struct guest **ret, struct err *err)
{
	_cleanup_free_ struct guest *g = calloc(1, sizeof(*g));
	struct bk_stream *stream;
	int fd, r;

	if (!g)
		return err_set(err, -ENOMEM, "container %s: %s", sb->ref, strerror(ENOMEM));
	r = start(req, sb, &stream, err);
	if (r < 0)
		return r;
	r = relay_start(stream, &g->relay, &fd);
	if (r < 0)
		return err_set(err, r, "container %s: %s", sb->ref, strerror(-r));
	r = remote_new(req, fd, fd, sb->route, NULL, &g->bk, NULL);
	if (r < 0) {
		r = no_answer(sb, g->relay, r, err);
		relay_free(g->relay);
		return r;
	}
	*ret = TAKE(g);
	return 0;
}

struct bk *guest_bk(struct guest *g)
{
	return g->bk;
}

bool guest_is_over(struct guest *g)
{
	return remote_is_over(g->bk);
}

void guest_close(struct guest *g)
{
	if (!g)
		return;
	bk_free(g->bk);
	relay_free(g->relay);
	free(g);
}
