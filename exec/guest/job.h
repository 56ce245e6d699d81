/*
 * What a job has beyond a command (../protocol.h): its output is kept until it is acknowledged, and
 * its stream can be taken over. For that `run` has a door, an abstract socket whose name is the
 * job's id, which nobody can guess; `aib-guest attach ID` hands its own standard input and output
 * through it, and waits until they are not used any more. Only root and the user that `run` has may
 * do so.
 */
#ifndef AIB_EXEC_GUEST_JOB_H
#define AIB_EXEC_GUEST_JOB_H

#include "../pump.h"

/* ---- Output ---- */

/* A stream of bytes: those before `acked` are gone, those before `sent` are on their way. */
struct kept {
	uint64_t acked, sent, end;
	uint8_t data[PROTO_JOB_WINDOW];
};

bool kept_has_room(const struct kept *k);
/* Read from FD as there is room. Bytes, 0 at the end, -EAGAIN, or -errno. */
ssize_t kept_read(struct kept *k, int fd);
/* What is to be sent becomes frames of TYPE, as far as OUT has room. */
void kept_send(struct kept *k, uint8_t type, struct pump_queue *out);
/* The bytes before STORED are not needed any more. */
void kept_ack(struct kept *k, uint64_t stored);
/* Whoever takes them now has those before STORED: go on from there. */
void kept_rewind(struct kept *k, uint64_t stored);

/* ---- The door ---- */

struct door {
	int listener; /* -1: not open */
	int line;     /* to an `attach` whose descriptors have not both come; -1 */
	int in;	      /* the first of them; -1 */
};

/* Returns 0 or -errno. ID is as `attach` gets it. */
int door_open(struct door *d, const char *id);
void door_close(struct door *d);

/* Descriptors of a stream; `line` is closed once they are not used any more. */
struct link {
	int in, out, line;
};

/* Something is to be read of the door's listener or line. Returns whether that made a stream
 * whole; it does not block. */
bool door_take(struct door *d, struct link *ret);

#endif
