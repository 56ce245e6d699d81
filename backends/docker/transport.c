/* See transport.h. */
#include "transport.h"

#include "docker.h"

#include "../base/log.h"
#include "../remote/remote.h"

#include <string.h>

/* How long archives serve before a guest is tried again, ms. */
#define RETRY_MS 1000

struct channel {
	atomic_uint refs;
	struct guest *guest;
	uint64_t start;
};

/* ---- Connections ---- */

struct channel *channel_ref(struct channel *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void channel_unref(struct channel *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	guest_close(c->guest);
	free(c);
}

struct bk *channel_bk(struct channel *c)
{
	return guest_bk(c->guest);
}

bool channel_is_over(struct channel *c)
{
	return guest_is_over(c->guest);
}

uint64_t channel_start(const struct channel *c)
{
	return c->start;
}

static int connect_guest(struct bk_req *req, struct docker *d, struct channel **ret,
			 struct err *err)
{
	struct channel *c = calloc(1, sizeof(*c));
	struct sandbox_look look;
	int r;

	if (!c)
		return err_set(err, -ENOMEM, "%s", strerror(ENOMEM));
	atomic_init(&c->refs, 1);
	r = guest_connect(req, &d->sb, d->transport.way, &c->guest, err);
	if (r < 0) {
		free(c);
		return r;
	}
	sandbox_look(&d->sb, &look);
	c->start = look.starts;
	*ret = c;
	return 0;
}

/* ---- The one in use ---- */

void transport_init(struct transport *t, const char *mode, const char *way)
{
	*t = (struct transport){.mode = strcmp(mode, "archive") == 0 ? TRANSPORT_ARCHIVE
					: strcmp(mode, "guest") == 0 ? TRANSPORT_GUEST
								     : TRANSPORT_AUTO,
				.way = strcmp(way, "stream") == 0   ? GUEST_STREAM
				       : strcmp(way, "direct") == 0 ? GUEST_DIRECT
								    : GUEST_AUTO};
	gate_init(&t->gate);
	pthread_mutex_init(&t->lock, NULL);
	snprintf(t->why, sizeof(t->why), "%s",
		 t->mode == TRANSPORT_ARCHIVE ? "transport=archive" : "no file was asked for yet");
}

void transport_done(struct transport *t)
{
	pthread_mutex_destroy(&t->lock);
	gate_done(&t->gate);
}

static bool serves(struct channel *c, const struct sandbox_look *now)
{
	return c && !channel_is_over(c) && now->state == SANDBOX_RUNNING && c->start == now->starts;
}

/* The connection that serves, with a reference, or NULL; TRY: it is worth looking for another. */
static struct channel *current(struct docker *d, bool *ret_try)
{
	struct transport *t = &d->transport;
	struct sandbox_look now;
	struct channel *c = NULL;

	sandbox_look(&d->sb, &now);
	pthread_mutex_lock(&t->lock);
	if (serves(t->channel, &now))
		c = channel_ref(t->channel);
	*ret_try = !c && (t->channel || now.changes != t->tried_at || clock_ms() >= t->retry_ms);
	pthread_mutex_unlock(&t->lock);
	return c;
}

bool transport_is_live(struct docker *d)
{
	struct channel *c;
	bool try;

	if (d->transport.mode == TRANSPORT_ARCHIVE)
		return false;
	c = current(d, &try);
	channel_unref(c);
	return c != NULL;
}

/* How long the kernel may remember. */
static void set_ttl(struct docker *d, uint32_t ms)
{
	d->bk.entry_ttl_ms = d->bk.attr_ttl_ms = d->bk.negative_ttl_ms = ms;
}

void transport_forget(struct docker *d)
{
	struct channel *c;
	bool try;

	c = current(d, &try);
	if (c)
		remote_changed(channel_bk(c));
	channel_unref(c);
}

/* Archives serve, because of WHY. What they knew may be old: the guest's changes pass them by. */
static void use_archives(struct docker *d, const char *why)
{
	struct transport *t = &d->transport;
	struct sandbox_look now;
	struct channel *old;

	sandbox_look(&d->sb, &now);
	pthread_mutex_lock(&t->lock);
	old = TAKE(t->channel);
	set_ttl(d, 0);
	t->retry_ms = clock_ms() + RETRY_MS;
	t->tried_at = now.changes;
	if (strcmp(t->why, why) != 0 && (old || *t->why))
		log_info("route %s: files by archives: %s", d->bk.route, why);
	snprintf(t->why, sizeof(t->why), "%s", why);
	pthread_mutex_unlock(&t->lock);
	if (old)
		atomic_fetch_add(&d->sb.generation, 1);
	channel_unref(old);
}

static void use_guest(struct docker *d, struct channel *c)
{
	struct transport *t = &d->transport;
	struct channel *old;

	pthread_mutex_lock(&t->lock);
	old = t->channel;
	t->channel = channel_ref(c);
	set_ttl(d, channel_bk(c)->attr_ttl_ms);
	t->why[0] = '\0';
	pthread_mutex_unlock(&t->lock);
	channel_unref(old);
	live_forget(d, c);
	log_info("route %s: files over the guest, %s", d->bk.route, guest_way(c->guest));
}

void transport_end(struct docker *d)
{
	channel_unref(TAKE(d->transport.channel));
	live_forget(d, NULL);
}

/* ---- Changing over ---- */

static int no_guest(struct docker *d, int r, const struct err *err)
{
	use_archives(d, err->text);
	if (r == -EINTR || r == -ETIMEDOUT)
		return r;
	if (d->transport.mode == TRANSPORT_GUEST)
		return sandbox_fail(&d->sb, r, "%s (transport=guest)", err->text);
	return 0;
}

static int change_over(struct bk_req *req, struct docker *d, struct channel *c, struct err *err)
{
	int r = gate_enter(req, &d->names);

	if (r < 0)
		return err_set(err, r, "waiting for what is under way: %s", strerror(-r));
	r = content_flush_all(req, d);
	if (r == 0)
		use_guest(d, c);
	else
		err_set(err, r, "what was written is not in the container yet: %s", strerror(-r));
	gate_leave(&d->names);
	return r;
}

/* The gate is ours. 0 with *RET NULL: archives. */
static int find_guest(struct bk_req *req, struct docker *d, struct channel **ret)
{
	_cleanup_(channel_unrefp) struct channel *c = NULL;
	struct err err = {""};
	int r;

	if (d->transport.mode == TRANSPORT_GUEST)
		r = sandbox_running(req, &d->sb, &err);
	else
		r = sandbox_see_running(req, &d->sb, &err);
	if (r == 0)
		r = connect_guest(req, d, &c, &err);
	if (r == 0)
		r = change_over(req, d, c, &err);
	if (r < 0)
		return no_guest(d, r, &err);
	*ret = TAKE(c);
	return 0;
}

int transport_get(struct bk_req *req, struct docker *d, struct channel **ret)
{
	struct transport *t = &d->transport;
	bool try = false;
	int r = sandbox_finish(req, &d->sb);

	if (r < 0)
		return r;
	*ret = t->mode == TRANSPORT_ARCHIVE ? NULL : current(d, &try);
	if (!try)
		return !*ret && t->mode == TRANSPORT_GUEST ? -EIO : 0;
	r = gate_enter(req, &t->gate);
	if (r < 0)
		return r;
	*ret = current(d, &try); /* another may have been faster */
	if (try)
		r = find_guest(req, d, ret);
	gate_leave(&t->gate);
	return r;
}

int transport_find(struct bk_req *req, struct docker *d, struct channel **ret, struct err *err)
{
	struct transport *t = &d->transport;
	int r = transport_get(req, d, ret);

	if (r == 0)
		return 0;
	pthread_mutex_lock(&t->lock);
	err_set(err, r, "route %s: no guest: %s", d->bk.route, *t->why ? t->why : strerror(-r));
	pthread_mutex_unlock(&t->lock);
	return r;
}

int transport_status(struct docker *d, struct buf *out)
{
	struct transport *t = &d->transport;
	struct sandbox_look now;
	bool live;
	int r;

	sandbox_look(&d->sb, &now);
	pthread_mutex_lock(&t->lock);
	live = serves(t->channel, &now);
	if (live)
		r = buf_addf(out, "transport guest\ntransport_way %s\n",
			     guest_way(t->channel->guest));
	else
		r = buf_addf(out, "transport archive\ntransport_why %s\n",
			     t->channel ? "the guest has gone" : t->why);
	pthread_mutex_unlock(&t->lock);
	return r;
}
