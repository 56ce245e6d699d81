/*
 * The inside of the server end. One thread at a time has the turn: it waits for input, reads a
 * request, finds what its ids mean, gives the turn up, carries the call out and answers
 * (base/turns.h). Threads are made as they are needed, one more than the client may have requests,
 * so that there is always one to read a cancellation.
 */
#ifndef AIB_REMOTE_SERVER_H
#define AIB_REMOTE_SERVER_H

#include "ids.h"
#include "protocol.h"
#include "serve.h"
#include "stream.h"

#include "base/spin.h"
#include "base/turns.h"

#define SERVER_MAX_NODES (1 << 22)
#define SERVER_MAX_FILES (1 << 16)

/* What the client has open: its id holds a reference, and each call that uses it. */
struct server_file {
	enum server_file_kind { SERVER_FILE, SERVER_DIR, SERVER_SEARCH } kind;
	struct bk_file *file;	    /* of the first two */
	struct bk_results *results; /* of a search */
	unsigned refs;		    /* guarded by server.lock */
};

struct server {
	struct bk *bk;
	struct remote_serve_conf conf;
	struct remote_stream stream;
	unsigned inflight; /* requests that the client may have */

	int over;	    /* an eventfd, set at the end */
	struct turns turns; /* at reading; the next five are of the thread that has the turn */
	struct spin spin;
	struct remote_input input;
	bool greeted;		   /* by the client */
	bool passes_fds, searches; /* set with it */

	pthread_mutex_t sending; /* guards the order of frames out */

	pthread_mutex_t lock; /* a leaf; guards all below */
	struct ids nodes, files;
	struct server_call *calls; /* that run: what a cancellation may name */
	unsigned threads;
	pthread_cond_t ended; /* a thread ended */
	bool end;
	int result;
};

/* One request, on the thread that runs it; and its answer. */
struct server_call {
	struct server *s;
	struct server_call *prev, *next; /* in server.calls */
	struct remote_head head;
	struct bk_req req;
	struct remote_msg in, out;
	struct bk_node *node, *node2; /* references; what in.node and in.node2 are */
	struct server_file *file;     /* a reference; what in.file, in.dir or in.search is */
	uint8_t *payload;	      /* REMOTE_MAX_PAYLOAD bytes */
	uint8_t *data;		      /* REMOTE_MAX_DATA bytes, for the answer's */
	int fd;			      /* beside the answer; owned, -1 for none */
};

/* The connection is over: calls are cancelled, threads end. The first RESULT counts. */
void serve_end(struct server *s, int result);

/* ---- objects.c: what the client holds ---- */

/* Count NODE (a reference, taken whatever happens) once for the client. 0, -ENFILE or -ENOMEM. */
int serve_node_id(struct server *s, struct bk_node *node, uint64_t *ret_id);
/* OPENED's file or results are taken whatever happens. */
int serve_file_id(struct server *s, const struct server_file *opened, uint64_t *ret_id);
/* Find what C's ids mean, with references; the id of a file that is released is given up at once.
 * -EPROTO where one means nothing. */
int serve_resolve(struct server_call *c);
void serve_call_unref(struct server_call *c);
/* Take counts back: -EPROTO where the client has fewer. */
int serve_forget(struct server *s, const struct remote_forget *f);
/* As a frame of them says. */
int serve_forget_all(struct server *s, const struct remote_msg *m);
void serve_objects_done(struct server *s);

/* ---- calls.c ---- */

/* Carry C's request out; 0 with c->out filled, or -errno. */
int serve_run(struct server_call *c);

/* ---- serve_exec.c ---- */

int serve_exec(struct server_call *c);

/* ---- serve_search.c ---- */

int serve_search(struct server_call *c);
int serve_results(struct server_call *c);

#endif
