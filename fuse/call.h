/*
 * The way of one request. A handler decodes into a struct call on its stack and hands it to
 * call_go, which runs it there, or, where the backend that serves it may wait, on a thread of its
 * route with everything borrowed copied. The run function makes one backend call and one reply.
 *
 * A kept call (one that left its handler's stack) is counted: its runner has a reference, and so
 * has who ends it from outside. Whoever claims it first answers; the other undoes what it did.
 */
#ifndef AIB_FUSE_CALL_H
#define AIB_FUSE_CALL_H

#include "fs.h"

enum park_state {
	PARK_NONE,    /* queued, running or over */
	PARK_GOING,   /* being given to the backend */
	PARK_WOKEN,   /* woken while it was being given */
	PARK_WAITING, /* the backend has it */
};

struct call {
	struct fs *fs;
	fuse_req_t fuse;
	struct bk_req req;
	void (*run)(struct call *);
	struct bk *bk;	  /* that serves it */
	unsigned recalls; /* fs->recall.count when it began */
	uint64_t began_us;
	bool waited; /* it was parked: how long it takes says nothing */

	/* Arguments; which ones have a meaning is the handler's. References, or borrowed until
	 * kept. */
	struct bk_node *node, *node2;
	struct handle *handle;
	struct backing *backing; /* of an open, that it resumes */
	const char *name, *name2;
	const void *data;
	size_t size;
	off_t off, len;
	int flags;
	mode_t mode;
	dev_t rdev;
	bool kill_suidgid;
	bool seeks; /* attributes are asked for by a seek to the end of the open file */
	bool keep_listing, use_listing; /* to be answered to an opendir: the kernel's own */
	struct bk_setattr set;
	struct inode_id
	    inode; /* NODE as the kernel knows it; the generation where a file is opened */

	/* Of kept calls only. */
	bool kept;
	atomic_uint refs;
	struct pool *pool;
	struct work work;
	struct bk_waiter waiter;
	/* guarded by watch.lock: */
	struct call *prev, *next; /* in watch.all while watched */
	struct call *next_woken;
	bool watched, claimed, interrupted, ending;
	enum park_state park;
	uint64_t check_ms; /* when the watcher looks at it next */
	unsigned stage;	   /* how far ending it has gone */
};

/* Fill FS and FUSE. */
void call_init(struct call *c, fuse_req_t req);
/* And the node of INO. Where there is none it answers ESTALE and returns false. */
bool call_begin(struct call *c, fuse_req_t req, fuse_ino_t ino);
/* And the handle and its node. A file that the kernel opened by itself (`unshared`) gets a handle
 * for the call. On failure it answers and returns false. */
bool call_begin_file(struct call *c, fuse_req_t req, fuse_ino_t ino,
		     const struct fuse_file_info *fi);
/* node2, in the same way; on failure C is over. */
bool call_also(struct call *c, fuse_ino_t ino);

/* Run it here or there. C is over for the caller. */
void call_go(struct call *c, void (*run)(struct call *));
/* From a run function, which returns after it where it says true: C goes on, from its beginning, on
 * a thread of its route, where it may wait. False: it is there already, or there is none. */
bool call_defer(struct call *c);
/* The same for what the kernel does by itself where all is `unshared`: there it is told never to
 * ask again (ENOSYS). */
void call_go_open(struct call *c, void (*run)(struct call *));
/* The same for what is not to be refused, ends without a deadline and is not interrupted: RELEASE.
 */
void call_go_always(struct call *c, void (*run)(struct call *));

/*
 * The right to answer, given once; false where somebody else has it. After true the watcher and
 * libfuse know nothing of the call any more.
 */
bool call_claim(struct call *c);

/* The kernel has closed, or was not given, what is open as ONE. Takes NULL. */
void call_close_backing(struct fs *fs, struct backing *one);

/* A copy of C on the heap, with one reference, that takes what C holds. NULL: memory is out. */
struct call *call_keep(struct call *c);
/* Let a kept call be watched. */
void call_watch(struct call *c);
void call_ref(struct call *c);
void call_unref(struct call *c);
/* Drop what it holds. */
void call_done(struct call *c);

/* A kept call goes on after it was woken: on its route's thread, or, where its backend does not
 * block, on this one. */
void call_resume(struct call *c);
/*
 * End C from outside with ERR, going one step further each time: a waiting call is answered, a
 * running one is cancelled first, then answered without it. Not the runner.
 */
void call_end(struct call *c, int err);

/* This thread's buffer of at least SIZE bytes, valid until asked again; NULL: memory is out. */
void *call_scratch(size_t size);

#endif
