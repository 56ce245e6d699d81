/*
 * The contract of backend.h over a stream of bytes: what the client (the daemon) and the server (a
 * guest) send each other. Every message is described once, in the table of protocol.c, and encoded
 * and decoded by it on both ends.
 *
 * A frame is a header of 16 bytes and a payload; all numbers are little-endian and unsigned:
 *
 *      offset  size  field
 *      0       4     length of the payload, at most REMOTE_MAX_PAYLOAD
 *      4       2     enum remote_op; an answer has its request's
 *      6       2     0 in a request; in an answer 0, or a Linux errno and then there is no payload
 *      8       8     id of the request; the client's choice, not 0, not that of one unanswered
 *
 * - The client speaks first: one HELLO, then, once its answer has come, anything. It has at most as
 *   many requests unanswered as that answer says. Answers come in any order.
 * - CANCEL, FORGET, RELEASE, RELEASEDIR and END_SEARCH have no answer. CANCEL has the id of the
 * request that is to end early; that one is answered all the same, with EINTR or as if nothing had
 * been said, and a CANCEL that comes after the answer is nothing. The others have id 0.
 * - The server reads frames in order, so what a request names is alive if it was when the request
 *   was sent, whatever is forgotten or released behind it. Requests are carried out in any order.
 * - Nodes and open files go by ids that the server gives and never gives again. Each answer that
 * has a node's id counts once for that node; FORGET takes counts back, and at 0 the id is gone.
 * While it lives the same file has the same id. The root's comes with HELLO. An open file lives
 * until its RELEASE or RELEASEDIR.
 * - What one end sends and the other may not get (a length, an id, a name, a type, a number out of
 *   its bounds, a payload that is longer or shorter than its message) ends the connection. Its end,
 *   whoever's, ends every request and gives up every node and file.
 * - Where the stream is a Unix socket and both HELLOs say REMOTE_CAN_PASS_FDS, an answer to OPEN or
 *   CREATE may have the descriptor of the opened file beside it: REMOTE_HAS_FD in its flags, and
 * one SCM_RIGHTS with the frame's first byte. It is open for at least what was asked, and has the
 * same file description as the server's own. Any other descriptor ends the connection.
 * - EXEC is allowed where the answer to HELLO says REMOTE_CAN_EXEC as well. Its answer has a
 *   descriptor, too: a Unix stream socket that is standard input and output of the command. The
 *   command lives on when the connection ends. Its arguments and environment are one frame's data,
 *   REMOTE_MAX_DATA at most: who has more starts it in another way.
 * - SEARCH is allowed where both HELLOs say REMOTE_CAN_SEARCH. A search lives until END_SEARCH.
 * What it finds comes in the order of RESULTS, one of which is under way at a time.
 */
#ifndef AIB_REMOTE_PROTOCOL_H
#define AIB_REMOTE_PROTOCOL_H

#include "backend.h"

#define REMOTE_MAGIC 0x62696167 /* "gaib" */
#define REMOTE_VERSION 3

#define REMOTE_HEADER 16
#define REMOTE_MAX_DATA (128 * 1024)
#define REMOTE_MAX_PAYLOAD (REMOTE_MAX_DATA + 8192)
/* Of a frame, all but its data: header, caller, numbers, at most two names and one target. */
#define REMOTE_MAX_HEAD 8192
#define REMOTE_MAX_ERRNO 133	/* EHWPOISON, the last there is */
#define REMOTE_MAX_INFLIGHT 256 /* requests unanswered: what either end may ever say */

enum remote_op {
	REMOTE_HELLO = 1,
	REMOTE_CANCEL,
	REMOTE_FORGET, /* data: struct remote_forget, each */
	REMOTE_RELEASE,
	REMOTE_RELEASEDIR,
	/* The calls of the contract: arguments as there. */
	REMOTE_LOOKUP,
	REMOTE_MKNOD,
	REMOTE_MKDIR,
	REMOTE_SYMLINK,
	REMOTE_LINK,
	REMOTE_UNLINK,
	REMOTE_RMDIR,
	REMOTE_RENAME,
	REMOTE_GETATTR,
	REMOTE_SETATTR,
	REMOTE_READLINK,
	REMOTE_STATFS,
	REMOTE_GETXATTR, /* `size` 0 asks for the length, which the answer's `size` is */
	REMOTE_LISTXATTR,
	REMOTE_SETXATTR,
	REMOTE_REMOVEXATTR,
	REMOTE_OPEN,
	REMOTE_CREATE,
	REMOTE_READ,
	REMOTE_WRITE,
	REMOTE_FLUSH,
	REMOTE_FSYNC,
	REMOTE_LSEEK,
	REMOTE_FALLOCATE,
	REMOTE_OPENDIR, /* its answer has all of a small listing, as READDIR's has, or none of it:
			   where each entry may take REMOTE_ENTRY_MAX of `size` bytes */
	REMOTE_READDIR, /* data: struct remote_entry, each; `size` bounds it. REMOTE_LAST at the end
			 */
	REMOTE_FSYNCDIR,
	REMOTE_EXEC, /* data: `size` arguments, each with its NUL, and then the environment */
	/* data: `size` groups of the caller's, 4 bytes each, then what to search for (opaque here).
	 * `text`: names, with '/' between, that are not gone into */
	REMOTE_SEARCH,
	REMOTE_RESULTS, /* `size` bounds its data; none: the end */
	REMOTE_END_SEARCH,
	REMOTE_N_OPS,
};

/* Bits of `flags` where those are not the contract's own. */
enum {
	REMOTE_CAN_PASS_FDS = 1 << 0,	/* HELLO; its answer only where the request had it */
	REMOTE_HAS_FLUSH = 1 << 1,	/* HELLO's answer: close has something to tell */
	REMOTE_CAN_EXEC = 1 << 2,	/* HELLO's answer */
	REMOTE_CAN_SEARCH = 1 << 3,	/* HELLO; its answer only where the request had it */
	REMOTE_HAS_FD = 1 << 0,		/* answers to OPEN, CREATE and EXEC: it is beside it */
	REMOTE_WITH_ENV = 1 << 0,	/* EXEC: not the server's own environment */
	REMOTE_AS_ROOT = 1 << 0,	/* SEARCH: modes do not count */
	REMOTE_WITH_NODES = 1 << 0,	/* OPENDIR, READDIR: look each entry up */
	REMOTE_LAST = 1 << 0,		/* their answers: nothing comes after it */
	REMOTE_DATASYNC = 1 << 0,	/* FSYNC, FSYNCDIR */
	REMOTE_FROM_WRITEBACK = 1 << 0, /* of the caller: struct bk_req's writeback */
};

struct remote_head {
	uint32_t len;
	enum remote_op op;
	unsigned error;
	uint64_t id;
};

/*
 * The fields of every message; protocol.c says which of them one has. After decoding, names, texts
 * and data point into the payload; what the message does not have is 0.
 */
struct remote_msg {
	uint32_t uid, gid, pid, caller_flags; /* of every request that has an answer */

	uint64_t node, node2;
	uint64_t file; /* of OPEN, CREATE */
	uint64_t dir;  /* of OPENDIR */
	uint64_t search;
	const char *name, *name2;
	const char *text; /* at most PATH_MAX - 1 bytes */
	uint32_t magic, version;
	uint32_t inflight; /* requests that may be unanswered */
	uint32_t mode, flags, size;
	int32_t whence;
	uint64_t rdev, cookie;
	int64_t off, len;
	struct bk_setattr attr;
	struct stat st;
	struct stat dir_st; /* the directory after a change of a name in it; mode 0: not told */
	struct statvfs vfs;
	const void *data;
	size_t data_len;
};

/* One entry of a listing. The dots have no node, nor has what could not be looked up: 0, no `st`.
 */
struct remote_entry {
	uint64_t next, ino; /* next is not 0 */
	uint32_t type;	    /* DT_… */
	const char *name;
	uint64_t node;
	struct stat st;
};

/* The most that one takes: a `size` of READDIR is at least this. */
#define REMOTE_ENTRY_MAX 512

struct remote_forget {
	uint64_t node, count;
};
#define REMOTE_FORGET_SIZE 16

enum remote_side { REMOTE_REQUEST, REMOTE_ANSWER };

/* "lookup". */
const char *remote_op_name(enum remote_op op);
bool remote_has_answer(enum remote_op op);
/* Whether it changes a name, attributes or content; OPEN does where it truncates. */
bool remote_changes(enum remote_op op);
/* Whether its answer may have a descriptor beside it. */
bool remote_may_have_fd(enum remote_op op);

/*
 * Encode a frame into OUT (REMOTE_MAX_HEAD bytes) but for its data, which is to follow it: returns
 * the length of what was put there. Data is at most REMOTE_MAX_DATA; strings are as the wrappers
 * let them pass. With ERROR (a positive errno) there is no payload and M may be NULL.
 */
size_t remote_encode(uint8_t *out, enum remote_op op, enum remote_side side, uint64_t id,
		     unsigned error, const struct remote_msg *m);

/* Decode REMOTE_HEADER bytes: 0, or -EPROTO where a field is out of bounds. */
int remote_decode_head(const uint8_t *in, struct remote_head *ret);
/*
 * Decode the payload of a frame without error. Every field has been checked as far as it can be
 * without knowing what its id means. Returns 0 or -EPROTO.
 */
int remote_decode(const uint8_t *payload, size_t len, enum remote_op op, enum remote_side side,
		  struct remote_msg *ret);

/* Parts of data. The size of what was put, or 0 where it does not fit into ROOM bytes. */
size_t remote_put_entry(uint8_t *out, size_t room, const struct remote_entry *e);
void remote_put_forget(uint8_t *out, const struct remote_forget *f);
/* The part at *POS, which is moved on: 1, 0 at the end, or -EPROTO. */
int remote_get_entry(const uint8_t *data, size_t len, size_t *pos, struct remote_entry *ret);
int remote_get_forget(const uint8_t *data, size_t len, size_t *pos, struct remote_forget *ret);

#endif
