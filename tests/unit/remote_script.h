/*
 * A server of the remote protocol that is no end of ours: it answers with the bytes and descriptors
 * that a test says, in the pieces that a test says.
 */
#ifndef AIB_TEST_REMOTE_SCRIPT_H
#define AIB_TEST_REMOTE_SCRIPT_H

#include "remote/protocol.h"
#include "remote/remote.h"

#include <pthread.h>

#define SCRIPT_MAX_SENT 4

struct scripted {
	int fd;
	bool agrees, can_exec; /* as its hello says */
	/* Send the answer to an OPEN, an EXEC or a GETATTR. */
	void (*answer)(struct scripted *s, const struct remote_head *head);
	int pass[SCRIPT_MAX_SENT]; /* descriptors for it */
	pthread_t thread;
	struct bk *bk;
	struct bk_node *root, *node;
};

/* It has one file, S->node. ANSWER: as above. What else is in S is set before. */
void script_begin(struct scripted *s, const struct remote_conf *conf, bool agrees,
		  void (*answer)(struct scripted *, const struct remote_head *));
void script_end(struct scripted *s);

/* The answer to HEAD with FLAGS, into OUT (REMOTE_MAX_HEAD bytes): its size. */
size_t script_encode(uint8_t *out, const struct remote_head *head, uint32_t flags);
/* With N descriptors beside the bytes. */
void script_send(int fd, const void *data, size_t size, const int *fds, unsigned n);

/* A client that takes every descriptor (remote_conf.fd_ok). */
bool script_any_fd(void *ctx, const struct stat *st);

/* ---- Answers ---- */

/* As a server of ours sends it; to a GETATTR without a descriptor. */
void script_in_one(struct scripted *s, const struct remote_head *head);
void script_two(struct scripted *s, const struct remote_head *head);
/* With a descriptor, and no flag that says so. */
void script_not_told(struct scripted *s, const struct remote_head *head);

#endif
