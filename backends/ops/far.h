/*
 * Searches at their far end: a directory whose backend can search (bk_ops.search) is not walked
 * from here. far.c asks and checks what comes; far_serve.c is the other end, and public for who
 * serves a tree there (aib-guest): the same walk, match and rules over that tree. README.md says
 * what crosses.
 */
#ifndef AIB_OPS_FAR_H
#define AIB_OPS_FAR_H

#include "../backend.h"
#include "far_wire.h"

struct ops;
struct ops_req;
struct scan_dir;

/* ---- This end: far.c ---- */

/* The search of O below D, by whoever serves D. -EOPNOTSUPP where D has to be walked; else as
 * bk_search. */
int far_begin(struct ops *o, enum far_kind kind, const struct scan_dir *d, struct bk_results **ret);

/* What results tell, one after the other. Zeroed but for `results`, which stays the caller's. */
struct far_reader {
	struct bk_results *results;
	enum far_kind kind;
	struct buf in;
	size_t used;	 /* of it, by the last record */
	struct buf last; /* the path before, and the number of its line */
	uint64_t number;
};

/*
 * The next record but FAR_TICK and FAR_END, good until the next call: 1; 0 at the end. -errno, of
 * the far end's too; -EPROTO where it breaks the rules, whose order is one.
 */
int far_next(struct ops_req *req, struct far_reader *f, struct far_record *ret);
void far_reader_done(struct far_reader *f);

/* ---- The far end: far_serve.c ---- */

/* Who searches BK, for any number of clients' operations at once; each has threads of its own, as
 * many as there are processors for this program. */
struct far_server;
int far_server_new(struct bk *bk, struct far_server **ret); /* 0 or -ENOMEM */
/* All results are freed before. Waits until no search runs any more, which is soon. Takes NULL. */
void far_server_free(struct far_server *f);
/* remote_serve_conf.search; CTX is a far_server. It begins with the first read. -EINVAL for a
 * request that is none, -ENOTDIR. */
int far_server_search(void *ctx, struct bk_req *req, struct bk_node *dir, const struct bk_search *s,
		      struct bk_results **ret);

#endif
