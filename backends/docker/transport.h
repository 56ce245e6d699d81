/*
 * How a route reaches its files now: over the guest of its running container (`struct channel`, a
 * connection that whoever uses it keeps by a reference), or, where there is none, by archives.
 *
 * Whoever begins an operation asks transport_get. That connects where the container runs, changes
 * over, and comes back by itself: after a failure it tries again a second later, and at once when
 * the container's state has changed. Before it changes over to a guest everything that is only
 * here is put into the container, so that then nothing is ahead of it.
 *
 * Order of locks: `gate`, then the gate of names (with `gate` held), the gates of nodes and of the
 * sandbox; `lock` is short.
 */
#ifndef AIB_DOCKER_TRANSPORT_H
#define AIB_DOCKER_TRANSPORT_H

#include "guest.h"
#include "wait.h"

struct docker;
struct channel;

enum transport_mode { TRANSPORT_AUTO, TRANSPORT_GUEST, TRANSPORT_ARCHIVE };

struct transport {
	enum transport_mode mode; /* constant, as way */
	enum guest_way way;
	struct gate gate; /* one changes over */
	pthread_mutex_t lock;
	/* guarded by lock */
	struct channel *channel; /* a reference; NULL: archives */
	uint64_t retry_ms;	 /* not tried before, unless the sandbox has changed since: */
	uint64_t tried_at;	 /* its `changes` at the last try */
	char why[sizeof(((struct err *)0)->text)]; /* why archives */
};

/* As the options `transport` and `guest` have them. */
void transport_init(struct transport *t, const char *mode, const char *way);
/* No operation runs any more: give the connection up. */
void transport_end(struct docker *d);
void transport_done(struct transport *t);

/*
 * The connection to use now, with a reference, or NULL for archives. Blocks: it may connect, and
 * where only a guest will do (transport=guest) start the container. -EINTR, -ETIMEDOUT, or why
 * there is no guest where there has to be one. The caller holds no gate.
 */
int transport_get(struct bk_req *req, struct docker *d, struct channel **ret);
/* The same, and in words. */
int transport_find(struct bk_req *req, struct docker *d, struct channel **ret, struct err *err);
/* With the gate of names held: archives are not the way any more. */
bool transport_is_live(struct docker *d);

/* What was read ahead may have changed. */
void transport_forget(struct docker *d);

/* `key value` lines for the sandbox's status. */
int transport_status(struct docker *d, struct buf *out);

struct channel *channel_ref(struct channel *c);
void channel_unref(struct channel *c); /* takes NULL */
DEFINE_CLEANUP(struct channel *, channel_unref)
/* The container's tree, alive as long as the reference. */
struct bk *channel_bk(struct channel *c);
bool channel_is_over(struct channel *c);
/* Which start of the container it belongs to. */
uint64_t channel_start(const struct channel *c);

#endif
