/*
 * The inside of the client end. A caller's thread takes a slot, sends its request and waits at the
 * slot. One thread at a time receives answers and puts them at their slots: a caller that waits, or
 * one thread of the connection's own (conn.c), which also sends what the stream did not take at
 * once. So nothing that a caller does waits for the peer but at its slot, where it leaves when
 * cancelled or late.
 *
 * Locks: all three are leaves; none is held while another is taken, nor across a call of
 * bk_req_check or bk_req_on_cancel (whose callback takes `lock`).
 */
#ifndef AIB_REMOTE_CLIENT_H
#define AIB_REMOTE_CLIENT_H

#include "protocol.h"
#include "remote.h"
#include "stream.h"

#include "base/spin.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Requests that this end has unanswered at most, whatever the server allows. */
#define CLIENT_SLOTS 64
/* How long attributes that came with a listing are good for a lookup; see dir.c. */
#define CLIENT_AHEAD_MS 100

struct slot {
	enum { SLOT_FREE, SLOT_SENT, SLOT_ANSWERED, SLOT_ABANDONED } state;
	uint64_t id; /* its index + 1 in the low byte, how often it was used above */
	enum remote_op op;
	bool changes;	  /* what was read ahead is old when the answer comes, too */
	unsigned error;	  /* the answer's */
	uint8_t *payload; /* the answer's, owned */
	size_t len;
	int fd;	     /* the answer's, owned; -1 for none */
	bool waited; /* its caller sleeps at `answered` */
	pthread_cond_t answered;
};

struct batch;
struct told;

struct remote_node {
	struct bk_node base;
	uint64_t id;
	mode_t type; /* S_IFMT bits; a file never changes them */

	/* All guarded by remote.nodes_lock. */
	UT_hash_handle hh;
	bool hashed;
	uint64_t lookups;	  /* how often the server has counted this node */
	struct remote_file *open; /* one of it that has a descriptor; weak */
	struct batch *ahead;	  /* of a directory that is being listed; a reference */
	struct told *told;	  /* of one that was changed; owned; NULL: nothing */
};

struct remote_file {
	struct bk_file base;
	uint64_t id;
	int fd; /* of the same open file, to read without asking; -1 for none */
	atomic_uint refs;
};

struct remote {
	struct bk bk;
	struct remote_conf conf;
	struct remote_stream stream;
	bool passes_fds, can_exec, can_search; /* as the hello said */
	struct remote_node *root;
	/* Move with every change that goes through here: the second with those of an open file's
	 * own attributes. */
	atomic_uint_fast64_t epoch, files_epoch;

	pthread_mutex_t lock; /* guards the next six */
	struct slot slots[CLIENT_SLOTS];
	/* One thread at a time receives, for all: a caller that waits for its answer, so that no
	 * other thread has to wake it; the connection's where no caller has done so lately. */
	bool receiving;
	uint64_t received_ms; /* when a caller last did */
	unsigned n_slots;     /* that may be used */
	pthread_cond_t slot_free;
	bool over;

	pthread_mutex_t sending; /* guards the next three, and the order of frames */
	struct buf out;		 /* what the stream has not taken, from out_pos on */
	size_t out_pos;
	struct buf forgets; /* to be sent, each REMOTE_FORGET_SIZE */

	pthread_mutex_t nodes_lock;
	struct remote_node *nodes; /* by id; weak */

	pthread_t thread; /* the connection's */
	bool has_thread;
	int wake, nudge; /* eventfds: wake that thread; wake a caller that receives */
	/* Of who receives. */
	struct spin spin;
	struct remote_input input;
	uint8_t head_bytes[REMOTE_HEADER];
	struct remote_head head; /* of the frame whose payload is coming */
	uint8_t *payload;	 /* NULL: a header is coming */
	size_t got;
};

#define REMOTE_OF(node) container_of((node)->bk, struct remote, bk)
#define NODE_OF(node) container_of((node), struct remote_node, base)
#define FILE_OF(file) container_of((file), struct remote_file, base)

/* ---- conn.c: bytes ---- */

int remote_conn_start(struct remote *r);
/* End the connection's thread. */
void remote_conn_stop(struct remote *r);
/* The connection is over, because of WHY (text for the log). Any thread. Returns -EIO. */
int remote_conn_fail(struct remote *r, const char *why);
/* Send a frame; data as in the message. Does not wait: what the stream does not take is kept. */
void remote_conn_send(struct remote *r, enum remote_op op, uint64_t id, const struct remote_msg *m);
/* With remote.lock held and nobody receiving: receive until DONE(ARG), which is called with it, or
 * REQ's deadline, or a nudge. It is let go meanwhile. */
void remote_conn_receive_locked(struct remote *r, struct bk_req *req, bool (*done)(void *),
				void *arg);
/* Who receives is to look whether it still has to. With remote.lock held. */
void remote_conn_nudge_locked(struct remote *r);
/* With remote.lock held: whoever received has stopped; another caller that waits is to go on. */
void remote_conn_hand_on_locked(struct remote *r);
/* The server's COUNT of node ID is to go, some time soon. */
void remote_conn_forget(struct remote *r, uint64_t id, uint64_t count);

/* ---- call.c: requests and answers ---- */

/* An answer; the payload is what strings and data of the message lie in. The descriptor is one that
 * its message says it has, or -1. */
struct answer {
	struct remote_msg msg;
	uint8_t *payload;
	int fd;
};
#define ANSWER_NONE ((struct answer){.payload = NULL, .fd = -1})
void remote_answer_done(struct answer *a);
#define _cleanup_answer_ _cleanup_(remote_answer_done)

/* Send a request. The caller's ids are filled in from REQ. Where no slot is free: waits for one,
 * or, without WAIT, -EAGAIN. Each *RET must come to remote_call_finish. */
int remote_call_start(struct remote *r, struct bk_req *req, bool wait, enum remote_op op,
		      struct remote_msg *m, struct slot **ret);
/* Wait for its answer: 0, the server's errno, -EINTR, -ETIMEDOUT, or -EIO once it is over. */
int remote_call_finish(struct remote *r, struct bk_req *req, struct slot *slot, struct answer *ret);
/* Both. */
int remote_call_run(struct remote *r, struct bk_req *req, enum remote_op op, struct remote_msg *m,
		    struct answer *ret);
/* For a call whose answer has nothing in it. */
int remote_call_plain(struct remote *r, struct bk_req *req, enum remote_op op,
		      struct remote_msg *m);
/* For the connection: put an answer at its slot; PAYLOAD and FD (-1: none) are taken. -EPROTO where
 * there is none, or it may have no descriptor. */
int remote_call_answered(struct remote *r, const struct remote_head *head, uint8_t *payload,
			 int fd);

/* ---- node.c ---- */

/* The node that the server named by ID (counted once), with a reference; TYPE 0: of any type. -EIO
 * where its type is not that, or not what it was: the connection is over then. */
int remote_node_for(struct remote *r, uint64_t id, const struct stat *st, mode_t type,
		    struct bk_node **ret);
/* ST is of NODE: 0, or -EIO as above. */
int remote_node_check(struct remote *r, struct bk_node *node, const struct stat *st);
void remote_node_free(struct bk_node *node);

/* ---- dir.c ---- */

/* Give back what a listing that nobody waits for has counted. */
void remote_drop_entries(struct remote *r, const struct remote_msg *m);
/* The entry NAME as a listing of DIR has just told: 0, or -ENOENT where it did not. */
int remote_ahead(struct bk_node *dir, const char *name, struct bk_node **ret_node,
		 struct stat *ret_st);
/* Takes NULL. */
void remote_batch_unref(struct batch *b);

int remote_opendir(struct bk_req *, struct bk_node *, struct bk_file **);
int remote_readdir(struct bk_req *, struct bk_file *, uint64_t, bk_fill_fn, void *);
int remote_fsyncdir(struct bk_req *, struct bk_file *, bool);
void remote_dir_release(struct bk_file *);

/* ---- told.c ---- */

/* Around a request that changes a name in DIR: what its answer says of DIR. 0, or -EIO where that
 * is no directory: the connection is over then. */
uint64_t remote_told_begin(struct bk_node *dir);
int remote_told_end(struct bk_node *dir, const struct stat *st, uint64_t begun);
/* Whether the attributes of NODE are known so. */
bool remote_told(struct bk_node *node, struct stat *ret_st);

/* ---- names.c, attr.c, file.c, search.c: the slots ---- */

int remote_lookup(struct bk_req *, struct bk_node *, const char *, struct bk_node **,
		  struct stat *);
int remote_mknod(struct bk_req *, struct bk_node *, const char *, mode_t, dev_t, struct bk_node **,
		 struct stat *);
int remote_mkdir(struct bk_req *, struct bk_node *, const char *, mode_t, struct bk_node **,
		 struct stat *);
int remote_symlink(struct bk_req *, struct bk_node *, const char *, const char *, struct bk_node **,
		   struct stat *);
int remote_link(struct bk_req *, struct bk_node *, struct bk_node *, const char *,
		struct bk_node **, struct stat *);
int remote_unlink(struct bk_req *, struct bk_node *, const char *);
int remote_rmdir(struct bk_req *, struct bk_node *, const char *);
int remote_rename(struct bk_req *, struct bk_node *, const char *, struct bk_node *, const char *,
		  unsigned);

int remote_getattr(struct bk_req *, struct bk_node *, struct bk_file *, struct stat *);
int remote_setattr(struct bk_req *, struct bk_node *, struct bk_file *, const struct bk_setattr *,
		   struct stat *);
int remote_readlink(struct bk_req *, struct bk_node *, char *);
int remote_statfs(struct bk_req *, struct bk_node *, struct statvfs *);
ssize_t remote_getxattr(struct bk_req *, struct bk_node *, const char *, void *, size_t);
ssize_t remote_listxattr(struct bk_req *, struct bk_node *, char *, size_t);
int remote_setxattr(struct bk_req *, struct bk_node *, const char *, const void *, size_t, int);
int remote_removexattr(struct bk_req *, struct bk_node *, const char *);

int remote_open(struct bk_req *, struct bk_node *, int, struct bk_file **);
int remote_create(struct bk_req *, struct bk_node *, const char *, mode_t, int, struct bk_node **,
		  struct bk_file **, struct stat *);
ssize_t remote_read(struct bk_req *, struct bk_file *, void *, size_t, off_t);
ssize_t remote_write(struct bk_req *, struct bk_file *, const void *, size_t, off_t);
int remote_flush(struct bk_req *, struct bk_file *);
int remote_fsync(struct bk_req *, struct bk_file *, bool);
void remote_release(struct bk_file *);
off_t remote_lseek(struct bk_req *, struct bk_file *, off_t, int);
int remote_fallocate(struct bk_req *, struct bk_file *, int, off_t, off_t);
int remote_backing_fd(struct bk_file *);
/* FILE, or where that is NULL another open file of NODE, which has a descriptor; a reference. NULL:
 * there is none. */
struct remote_file *remote_file_here(struct bk_node *node, struct bk_file *file);
void remote_file_unref(struct remote_file *f); /* takes NULL */
DEFINE_CLEANUP(struct remote_file *, remote_file_unref)
/* As remote_call_start would fail. */
int remote_check_call(struct bk_req *req, struct bk_node *node);

int remote_search(struct bk_req *, struct bk_node *, const struct bk_search *,
		  struct bk_results **);

#endif
