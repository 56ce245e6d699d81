/*
 * Both ends of a remote backend in one process, for the tests of what the contract suite cannot
 * see: a served backend of a test's own that waits where it is told to, and a peer that is no end
 * of ours.
 */
#ifndef AIB_TEST_REMOTE_WORLD_H
#define AIB_TEST_REMOTE_WORLD_H

#include "base/clock.h"
#include "remote/protocol.h"
#include "remote/remote.h"
#include "remote/serve.h"
#include "test.h"

/*
 * A backend with a directory in which every name that begins with "f" is an empty file. To look up
 * "slow" waits until it is cancelled; "fgated" waits for `gate` whatever is cancelled, and to open
 * any file waits for it where `gate_opens`.
 */
struct fake {
	struct bk bk;
	struct bk_node *root;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	bool gate, gate_opens;
	unsigned waiting, cancelled; /* calls that wait; that ended so */
	atomic_uint nodes, files;    /* in use */
};

void fake_init(struct fake *f);
void fake_done(struct fake *f); /* nothing may be in use */
void fake_open_gate(struct fake *f);
/* Until so many calls wait; or fail. */
void fake_wait_for(struct fake *f, unsigned waiting);

/* A served backend and its client. */
struct world {
	struct bk *served, *bk;
	struct bk_node *root; /* of bk */
	int fd;		      /* the server's */
	unsigned threads;
	int result; /* of remote_serve */
	pthread_t thread;
};

/* Start remote_serve for SERVED on a thread; returns the client's descriptor. */
int world_serve(struct world *w, struct bk *served, unsigned threads);
void world_init(struct world *w, struct bk *served, unsigned threads);
/* The client ends; then the server must. Its result is in w->result. */
void world_done(struct world *w);
void world_join(struct world *w);
/* Some of every call below ROOT, whatever comes of it; they have 50 ms in all. */
void world_try_all(struct bk_node *root);

/* ---- Frames by hand ---- */

/* False at the end of the stream. PAYLOAD has REMOTE_MAX_PAYLOAD bytes. */
bool raw_read(int fd, struct remote_head *ret, uint8_t *payload);
/* What the peer does not take is lost. */
void raw_write(int fd, const void *data, size_t size);
/* A whole frame, data included, into OUT (REMOTE_HEADER + REMOTE_MAX_PAYLOAD bytes). */
size_t raw_encode(uint8_t *out, enum remote_op op, enum remote_side side, uint64_t id,
		  unsigned error, const struct remote_msg *m);

/* A number below N. */
uint32_t raw_random(uint64_t *state, uint32_t n);
unsigned count_fds(void);

#endif
