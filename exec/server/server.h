/*
 * The daemon's end of the exec protocol (../protocol.h): a Unix socket on which clients ask for
 * commands in sandboxes, for the status, and for the end. One thread relays the bytes of all
 * commands; starting a command, which may block, is done by a few threads of its route. It knows
 * routes and the contract, and nothing of FUSE.
 */
#ifndef AIB_EXEC_SERVER_H
#define AIB_EXEC_SERVER_H

#include "../../backends/control/control.h"
#include "../../backends/ops/ops.h"
#include "../../backends/route.h"

struct server;

struct job_conf {
	const char *dir;    /* of their state; borrowed. Made with the first job */
	unsigned max_jobs;  /* that are not over; 0: 1000 */
	unsigned keep_jobs; /* that are; the oldest beyond it are forgotten. 0: 200 */
	uint64_t output;    /* bytes kept of each of a job's outputs; 0: 16 MiB */
	uint64_t wait_ms;   /* that a sandbox keeps a job for the next daemon; 0: a day */
	bool passing;	    /* there is no next daemon: nothing is kept for it */
};

struct server_conf {
	const char *
	    socket_path; /* made with mode 0600, or 0666 with users or `open`: the uid is checked */
	const char *mountpoint;
	const struct route *routes; /* borrowed for the server's life, as all here */
	size_t n_routes;
	uid_t uid;	    /* the mount's owner; root may always */
	const uid_t *users; /* further users */
	size_t n_users;
	/* Others may connect: they may run commands in sandboxes that let them enter. */
	bool open;
	unsigned max_commands;	   /* that run at once; 0: 1000 */
	unsigned max_operations;   /* on one route at once; 0: 16 */
	uint64_t start_timeout_ms; /* for starting a command, its sandbox included; 0: 10 min */

	/* What operations (read, grep…) work on; NULL: there are none. */
	const struct ops_tree *tree;
	struct job_conf jobs;
	struct bk *control; /* where `exec` and `jobs/` are shown; NULL: nowhere */

	/* A command of BK's sandbox ended, and its own `changed` was called: before the client
	 * hears of it. NULL: nobody wants to know. As the two below it runs on the server's thread.
	 */
	void (*changed)(void *ctx, struct bk *bk);

	/* The request "session": ALL says whether who asks (req->uid) may do all. Runs on a thread
	 * of its own and may block. *RET is the caller's. NULL: there are none. */
	int (*sessions)(void *ctx, struct bk_req *req, bool all, const cJSON *request, cJSON **ret,
			struct err *err);

	/* Requests other than exec. Both run on the server's thread and must not block. */
	void *ctx;
	/* Add to the object of the status reply. */
	void (*status)(void *ctx, cJSON *reply);
	/* Begin to end the daemon. PROGRESS frames and the reply are sent by
	 * server_say/server_free: a client that asked for the end is answered when the server is
	 * freed. */
	void (*umount)(void *ctx, bool force);
};

/* Bind, listen and start the thread. Errors have text. */
int server_new(const struct server_conf *conf, struct server **ret, struct err *err);
/*
 * End every command and refuse further ones; waits for those that are just starting. Backends may
 * be freed after that. Clients that asked for the daemon's end go on waiting, and hear server_say.
 */
void server_stop(struct server *s);
/* server_stop, answer who waits for the end, and free. Takes NULL. */
void server_free(struct server *s);
DEFINE_CLEANUP(struct server *, server_free)

/* A line to all clients that wait for the end. Any thread. */
void server_say(struct server *s, const char *text);

#endif
