/*
 * What a server that is started with its standard streams (`aib-guest serve --direct`) writes to
 * its output before the first frame: a socket of its own that the client may take instead, if it
 * can reach into the process (pidfd_getfd(2)). All numbers are little-endian, the size the same in
 * all versions:
 *
 *      offset  size  field
 *      0       4     REMOTE_OFFER_MAGIC
 *      4       4     REMOTE_OFFER_VERSION
 *      8       4     number of the descriptor, one end of a socketpair(2) of type SOCK_STREAM; all
 *                    bits set: there is none
 *      12      4     0
 *      16      16    random bytes, which that socket has to read, too: it is the one that was meant
 *
 * The client begins with HELLO on one of the two ways, and that is the way from then on. Over the
 * socket, the standard streams stay open and silent: their end ends the connection, and that of the
 * connection the process.
 */
#ifndef AIB_REMOTE_OFFER_H
#define AIB_REMOTE_OFFER_H

#include <stdint.h>

#define REMOTE_OFFER_MAGIC 0x64626961 /* "aibd" */
#define REMOTE_OFFER_VERSION 1
#define REMOTE_OFFER_SIZE 32
#define REMOTE_OFFER_NONCE 16

struct remote_offer {
	int fd; /* -1: none */
	uint8_t nonce[REMOTE_OFFER_NONCE];
};

/* OUT has REMOTE_OFFER_SIZE bytes. */
void remote_offer_put(uint8_t *out, const struct remote_offer *offer);
/* 0, or -EPROTO where IN (REMOTE_OFFER_SIZE bytes) is no offer. One of another version is one of no
 * descriptor. */
int remote_offer_get(const uint8_t *in, struct remote_offer *ret);

#endif
