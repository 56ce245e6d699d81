/*
 * A connection as its three files share it: conn.c has the client's side, start.c the start of the
 * command, stream.c the sandbox's side. All of it runs on the loop's thread but the start itself.
 */
#ifndef AIB_EXEC_CONNECTION_H
#define AIB_EXEC_CONNECTION_H

#include "../scan.h"
#include "conn.h"

#define RELAY_SIZE (256 * 1024) /* of each direction's buffer */

enum state { READING, STARTING, RUNNING, HANDED, OPERATING, JOB, ENDING, WAITING }; /* see conn.c */
enum conn_asks { CONN_JOB_START, CONN_JOB_WAIT, CONN_JOB_LOGS };

struct conn {
	struct server *server;
	struct conn *prev, *next;
	enum state state;
	uid_t uid;
	struct watch client, sandbox; /* fd -1: not watched */
	struct buf in, out;	      /* from and to the client */
	struct scan from_client, from_sandbox;
	bool request_done; /* the last REQUEST frame has come */
	struct request request;
	struct bk_stream *stream;
	struct start *start;
	struct operating *operating;
	struct job *job; /* what it asks of it, and how far its outputs were sent */
	enum conn_asks asks;
	uint64_t job_pos[2];
	bool counted;	    /* it is one of server.running */
	bool heard, exited; /* a first frame, and the last one, came from the sandbox */
};

/* ---- conn.c ---- */

/* A frame to the client. 0 or -errno. */
int conn_put(struct conn *c, uint8_t type, const void *data, size_t len);
/* The last words to the client: a frame of TYPE, or an ERROR. The stream is closed. */
void conn_end_with(struct conn *c, uint8_t type, const char *text);
void conn_end_with_error(struct conn *c, int code, const struct err *err);
/* The sandbox forgets what it cached. */
void conn_changed(struct conn *c);
/* Send what can be sent now, then watch for what is missing. May free the connection. */
void conn_update(struct conn *c);

/* ---- job_request.c ---- */

/* A command that outlives its client. Takes JSON. 0 or -errno with text. */
int conn_job_start(struct conn *c, cJSON *json, struct err *err);
/* The request OP of jobs: 0, or -errno with text; -ENOSYS where it is none. */
int conn_job_request(struct conn *c, const char *op, struct err *err);
/* In state JOB: say what there is to say, and end where that is all. */
void conn_job_update(struct conn *c);
/* The connection ends. */
void conn_job_drop(struct conn *c);

/* ---- start.c ---- */

/* Give the request's command, or a request without one, to a worker. 0 or -errno with text. */
int conn_start(struct conn *c, struct err *err);
/* Its connection is gone: it ends as soon as it can, and frees the rest. */
void conn_start_cancel(struct start *st);

/* ---- ops.c ---- */

/* Give the operation that REQUEST is to a worker. 0 or -errno with text. */
int conn_operate(struct conn *c, const cJSON *request, struct err *err);
/* Its connection is gone: it ends as soon as it can, and frees the rest. */
void conn_operate_cancel(struct conn *c);

/* ---- stream.c ---- */

void conn_stream_init(struct conn *c); /* none yet */
void conn_stream_attach(struct conn *c, struct bk_stream *stream);
void conn_stream_close(struct conn *c); /* where there is one */
void conn_stream_read(struct conn *c);
/* Send what can be sent now, then watch for what is missing. */
void conn_stream_update(struct conn *c);

#endif
