/* See guest.h. */
#include "guest.h"

#include "direct.h"
#include "spec.h"

#include "../base/spin.h"
#include "../remote/remote.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

/* How often who waits for the guest's first word looks whether that is still wanted. */
#define LOOK_MS 20
/* An engine that has a command's first output may not have its process yet. */
#define PID_TRIES 20
#define PID_PAUSE_MS 10

struct guest {
	struct bk_stream *stream; /* the exec's; held and silent where the way is direct */
	struct bk *bk;
	struct direct *direct; /* NULL: over the stream */
	char way[160];
};

/* Why the direct way cannot be tried; NULL: it can. */
static const char *no_way(const struct sandbox *sb, enum guest_way way)
{
	if (way == GUEST_STREAM)
		return "set so";
	if (!engine_is_local(sb->engine))
		return "the engine is not local";
	return geteuid() == 0 ? NULL : "not root";
}

static int start(struct bk_req *req, struct sandbox *sb, bool direct, struct bk_stream **ret,
		 char **ret_id, struct err *err)
{
	char busy_poll[48];
	const char *argv[5] = {GUEST_PATH, "serve"};
	size_t n = 2;
	const struct engine_exec x = {.argv = argv, .user = "0:0", .workdir = "/"};
	int r = sandbox_running(req, sb, err);

	if (r < 0)
		return r;
	snprintf(busy_poll, sizeof(busy_poll), "--busy-poll=%" PRIu64, spin_limit_us());
	if (direct)
		argv[n++] = "--direct";
	if (spin_limit_us() != SPIN_US)
		argv[n++] = busy_poll;
	r = sandbox_exec(req, sb, &x, ret, ret_id, err);
	if (r == 0)
		return 0;
	/* Of the engine, not of a file. */
	return err_prefix(err, sandbox_is_lost(r) ? -EIO : r,
			  "container %s: starting " GUEST_PATH " serve", sb->ref);
}

/* ---- The direct way ---- */

static int read_offer(struct bk_req *req, struct bk_stream *s, struct remote_offer *ret)
{
	uint8_t bytes[REMOTE_OFFER_SIZE];
	size_t got = 0;

	while (got < sizeof(bytes)) {
		struct pollfd p = {.fd = s->ops->fd(s), .events = POLLIN};
		int r = bk_req_check(req);
		ssize_t n;

		if (r < 0)
			return r;
		(void)poll(&p, 1, s->ops->pending(s) ? 0 : bk_req_left_ms(req, LOOK_MS));
		n = s->ops->read(s, bytes + got, sizeof(bytes) - got);
		if (n <= 0 && n != -EAGAIN)
			return n < 0 ? n : -EIO;
		got += n > 0 ? n : 0;
	}
	return remote_offer_get(bytes, ret);
}

/* The pid of an exec on the engine's machine, which is this one; 0 where the engine does not say.
 */
static int find_pid(struct bk_req *req, struct sandbox *sb, const char *exec_id, pid_t *ret)
{
	int status, pid = 0, r = 0;

	for (int i = 0; i < PID_TRIES && pid == 0 && (r == 0 || r == -EBUSY); i++) {
		if (i > 0)
			(void)poll(NULL, 0, PID_PAUSE_MS);
		r = engine_exec_inspect(req, sb->engine, exec_id, &status, &pid, NULL);
	}
	*ret = pid;
	return r == -EBUSY ? 0 : r;
}

/* The socket that the guest offers; ERR says in a few words why it is not to be had. */
static int take_offer(struct bk_req *req, struct sandbox *sb, const char *exec_id,
		      const struct remote_offer *offer, struct direct **ret, int *ret_fd,
		      struct err *err)
{
	char id[sizeof(sb->id)];
	pid_t pid;
	int r;

	if (offer->fd < 0)
		return err_set(err, -EOPNOTSUPP, "it offers no socket");
	r = find_pid(req, sb, exec_id, &pid);
	if (r < 0)
		return err_set(err, r, "the engine does not tell its process: %s", strerror(-r));
	if (pid == 0)
		return err_set(err, -ESRCH, "the engine does not tell its process");
	pthread_mutex_lock(&sb->lock);
	memcpy(id, sb->id, sizeof(id));
	pthread_mutex_unlock(&sb->lock);
	return direct_take(pid, id, offer, ret, ret_fd, err);
}

/* ---- Connecting ---- */

/* The guest said no hello: what it said instead, or what became of it. */
static int no_answer(struct sandbox *sb, const struct guest *g, int r, struct err *err)
{
	char text[1024];

	engine_exec_text(g->stream, text, sizeof(text));
	/* It may be missing, or another one: looked at again before the next try. */
	if (r == -EIO || r == -EPROTO)
		sandbox_forget_ready(sb);
	return err_set(err, r, "container %s: " GUEST_PATH " serve does not answer: %s", sb->ref,
		       *text ? text : strerror(-r));
}

/* The guest's own socket, *RET_FD, or the stream: G->direct says which. */
static int choose_way(struct bk_req *req, struct sandbox *sb, const char *exec_id,
		      enum guest_way way, struct guest *g, int *ret_fd, struct err *err)
{
	struct remote_offer offer = {.fd = -1};
	struct err why = {""};
	int r = read_offer(req, g->stream, &offer);

	if (r < 0)
		return no_answer(sb, g, r, err);
	r = take_offer(req, sb, exec_id, &offer, &g->direct, ret_fd, &why);
	if (r == 0) {
		snprintf(g->way, sizeof(g->way), "direct");
		return 0;
	}
	if (way == GUEST_DIRECT || r == -EINTR || r == -ETIMEDOUT)
		return err_set(err, r, "container %s: no direct way to its guest: %s", sb->ref,
			       why.text);
	snprintf(g->way, sizeof(g->way), "stream (%s)", why.text);
	return 0;
}

static int connect_over(struct bk_req *req, struct sandbox *sb, struct guest *g, int fd,
			struct err *err)
{
	const struct remote_conf conf = {.fd_ok = direct_has_file,
					 .ctx = g->direct,
					 .attrs_here = g->direct && direct_is_root(g->direct)};
	int r = g->direct ? remote_new(req, fd, fd, sb->route, &conf, &g->bk, NULL)
			  : remote_new_over(req, g->stream, sb->route, &g->bk, NULL);

	return r < 0 ? no_answer(sb, g, r, err) : 0;
}

static int start_and_connect(struct bk_req *req, struct sandbox *sb, enum guest_way way,
			     struct guest *g, struct err *err)
{
	const char *why = no_way(sb, way);
	_cleanup_free_ char *exec_id = NULL;
	int fd = -1, r;

	if (why && way == GUEST_DIRECT)
		return err_set(err, -EOPNOTSUPP, "container %s: no direct way to its guest: %s",
			       sb->ref, why);
	snprintf(g->way, sizeof(g->way), "stream (%s)", why ? why : "");
	r = start(req, sb, !why, &g->stream, &exec_id, err);
	if (r == 0 && !why)
		r = choose_way(req, sb, exec_id, way, g, &fd, err);
	return r < 0 ? r : connect_over(req, sb, g, fd, err);
}

int guest_connect(struct bk_req *req, struct sandbox *sb, enum guest_way way, struct guest **ret,
		  struct err *err)
{
	struct guest *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return err_set(err, -ENOMEM, "container %s: %s", sb->ref, strerror(ENOMEM));
	r = start_and_connect(req, sb, way, g, err);
	if (r < 0)
		guest_close(g);
	else
		*ret = g;
	return r;
}

struct bk *guest_bk(struct guest *g)
{
	return g->bk;
}

const char *guest_way(const struct guest *g)
{
	return g->way;
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
	if (g->stream)
		g->stream->ops->free(g->stream);
	direct_free(g->direct);
	free(g);
}
