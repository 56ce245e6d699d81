/*
 * Sleeping that a request can leave: at its deadline and at once when it is cancelled. Knows
 * nothing of containers. `struct waiting` is a wait on a condition of the caller's; `struct gate`
 * is a lock for long work (HTTP, a container's start) that others wait for in this way.
 *
 * A cancel takes the waited-for mutex under the request's own lock, so nothing that is called
 * with such a mutex held may ask the request (bk_req_check): waiting_wait does it instead.
 */
#ifndef AIB_DOCKER_WAIT_H
#define AIB_DOCKER_WAIT_H

#include "../backend.h"

/* `cond` is one of cond_init (thread.h). */
struct waiting {
	struct bk_req *req;
	pthread_mutex_t *lock;
	pthread_cond_t *cond;
	bool cancelled;
};

/* Around a loop that waits; both without the mutex. REQ may be NULL. */
void waiting_begin(struct waiting *w, struct bk_req *req, pthread_mutex_t *lock,
		   pthread_cond_t *cond);
void waiting_end(struct waiting *w);
/* With the mutex: sleep until the condition is signalled, at most MAX_MS. 0, -EINTR, -ETIMEDOUT
 * (the request's deadline). Other requests' cancels wake too: ask again what was waited for. */
int waiting_wait(struct waiting *w, uint64_t max_ms);

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* guarded by lock */
	bool busy;	  /* one thread is in it alone */
	unsigned sharers; /* threads that are in it together */
	unsigned waiting; /* for it alone: they go before new sharers */
};

void gate_init(struct gate *g);
void gate_done(struct gate *g);
/* 0, and the gate is this thread's alone until gate_leave; or -EINTR, -ETIMEDOUT. REQ may be NULL:
 * no limit. */
int gate_enter(struct bk_req *req, struct gate *g);
/* The same, together with others that share. Not for a thread that is in it: it would wait for one
 * that waits for it. */
int gate_share(struct bk_req *req, struct gate *g);
void gate_leave(struct gate *g);

#endif
