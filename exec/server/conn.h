/*
 * One client of the server: from its request to the end of its command. Everything here runs on the
 * loop's thread but the start of the command, which a worker of the route does.
 */
#ifndef AIB_EXEC_CONN_H
#define AIB_EXEC_CONN_H

#include "loop.h"
#include "request.h"
#include "server.h"

struct errand;
struct starter;

struct server {
	struct server_conf conf;
	struct request_world world;
	struct loop loop;
	struct watch listener;
	pthread_t thread;
	struct pool **op_pools; /* of each route, by its index, for operations; made when needed */
	atomic_uint running;	/* commands of clients, for metrics */
	atomic_ulong commands;	/* that were started at all */
	struct conn *conns;	/* the loop's thread only, as all below */
	struct starter *starters;
	unsigned n_conns;
	struct collector *collectors;
	uint64_t started_ms;
	struct jobs *jobs; /* job.h */
	bool ending;
	struct errand *stopping; /* server_stop waits for the commands that are starting */
};

/* A command of BK's sandbox ended. */
void server_changed(struct server *s, struct bk *bk);

/* Whether UID may use all of the mount. */
bool server_allows(const struct server *s, uid_t uid);

/* A command's start is over: server_stop may wait for the last one. */
void server_started(struct server *s);

/* Serve a client on FD (taken, also on failure) whose uid is UID. */
int conn_new(struct server *s, int fd, uid_t uid);
/* Close all: commands are killed. Some go when their start has come back. */
void conn_close_all(struct server *s);
/* Answer those that wait for the end of the daemon, and close them. */
void conn_answer_end(struct server *s);
void conn_progress(struct server *s, const char *text);

/* ---- Operations, ops.c ---- */
/* All are cancelled: wait for their end. */
void operations_end(struct server *s);

/* ---- The reply to "status", status.c ---- */
/* JSON, the caller's; NULL where memory is out. The connection that asks is not counted. */
char *status_text(const struct server *s);

/* ---- .aib/exec, collector.c ---- */
extern const struct control_file_ops collector_file; /* of the server */
void collector_close_all(struct server *s);

#endif
