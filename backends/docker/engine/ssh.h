/*
 * Connections to an engine through ssh: each is a child `ssh … -- HOST docker system dial-stdio`,
 * whose standard input and output are one end of a stream; libcurl has the other. (Versions 7.88
 * cannot be given a socket that is connected: it connects to a place that is there for this once.)
 * A child lives as long as libcurl keeps its connection: it is killed, with what it started, and
 * waited for when that is closed. It has a session of its own, so that it can never ask on a
 * terminal.
 */
#ifndef AIB_DOCKER_SSH_H
#define AIB_DOCKER_SSH_H

#include "../engine.h"

#include <curl/curl.h>

struct ssh; /* how to reach one engine; constant once made */

/* For URL, which begins with ssh://, and the ssh settings of CONF. */
int ssh_new(const char *url, const struct engine_conf *conf, struct ssh **ret, struct err *err);
void ssh_free(struct ssh *s);		      /* takes NULL */
char *const *ssh_argv(const struct ssh *s);   /* NULL-terminated */
const char *ssh_by_hand(const struct ssh *s); /* what a person would try */

/* ---- Connections (ssh_dial.c) ---- */

/* The children of one libcurl handle. It belongs to who uses the handle, and outlives it. */
struct ssh_dialer {
	const struct ssh *ssh;
	struct ssh_child *children;
	char said[512]; /* by the newest that ended by itself: its last line */
	int status;	/* its exit status; -1 where none has ended */
};

/* Have EASY connect by children of S; for each new request. */
CURLcode ssh_dialer_setup(struct ssh_dialer *d, const struct ssh *s, CURL *easy);
/* Start what libcurl has connected to; after each step that it makes. Does not block. */
void ssh_dialer_connect(struct ssh_dialer *d);
/* Whether one of its children has hung up: then it is of no use any more. */
bool ssh_dialer_ended(const struct ssh_dialer *d);
/* After a failed transfer or a connection that ended too soon: -errno with what ssh said, or 0
 * where it was not the cause. May wait half a second for ssh to end. */
int ssh_dialer_failed(struct ssh_dialer *d, const char *name, struct err *err);

#endif
