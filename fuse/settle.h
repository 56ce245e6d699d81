/*
 * Listings that the kernel may not have taken up yet. It links the names of a READDIRPLUS answer
 * some time after the answer was written, and takes its epoch only then: dropping names before that
 * leaves those of the answer, as fresh as any. (A LOOKUP takes the epoch when it is sent.) It does
 * so with the directory locked; a notification of any name in it waits for that lock.
 *
 * So a thread of its own, since it may have to wait for other answers of the same directory, names
 * to the kernel a name that is nowhere, and drops names after that.
 */
#ifndef AIB_FUSE_SETTLE_H
#define AIB_FUSE_SETTLE_H

#include "backend.h"

struct fs;

/* Of an open directory: from the beginning of an answer until the next request on it. Zeroed, it is
 * not listed. */
struct listing {
	bool on;
	const struct bk *bk;
	uint64_t number;
	struct listing *prev, *next; /* guarded by settle.lock */
};

struct settle {
	struct fs *fs;
	pthread_mutex_t lock; /* guards all below; a leaf */
	pthread_cond_t changed;
	struct listing *listings;
	uint64_t wanted, settled; /* rounds */
	bool has_thread, ending;
	pthread_t thread;
};

void settle_init(struct settle *s, struct fs *fs);
/* Start its thread: 0 or -errno. */
int settle_start(struct settle *s);
/* Nobody is to wait any more, and open directories are forgotten. */
void settle_end(struct settle *s);
/* After settle_end, and the connection's end: end the thread. */
void settle_stop(struct settle *s);
void settle_done(struct settle *s);

/* An answer with names of directory NUMBER of BK begins. */
void settle_listing(struct settle *s, struct listing *l, const struct bk *bk, uint64_t number);
/* The kernel has taken it up, or forgotten about it. */
void settle_listed(struct settle *s, struct listing *l);
/*
 * Wait until what was listed of BK is taken up, and names were dropped after that: true; false
 * where nothing was listed, or it takes more than MAX_MS, and then names are dropped later once
 * more.
 */
bool settle_wait(struct settle *s, const struct bk *bk, uint64_t max_ms);

#endif
