/*
 * A directory listing that was taken whole: names with their numbers, in the order they were added.
 * Cookies are positions, so a listing neither misses nor repeats an entry.
 */
#ifndef AIB_LISTING_H
#define AIB_LISTING_H

#include "backend.h"

struct listing_entry;

struct listing {
	struct listing_entry **entries;
	size_t len, size;
};

int listing_add(struct listing *l, const char *name, uint64_t ino, unsigned type); /* 0, -ENOMEM */
/* Hand entries from COOKIE on to FILL until it is full or the listing ends. */
void listing_fill(const struct listing *l, uint64_t cookie, bk_fill_fn fill, void *ctx);
void listing_done(struct listing *l);

/*
 * Open directories whose listing is taken whole when it is read from the start. The first two are
 * the slots `opendir` and `release` as they are; `readdir` is listing_read with TAKE, which adds
 * all entries to an empty listing: 0 or -errno.
 */
int listing_open(struct bk_req *req, struct bk_node *node, struct bk_file **ret);
void listing_release(struct bk_file *file);
int listing_read(struct bk_req *req, struct bk_file *file, uint64_t cookie,
		 int (*take)(struct bk_req *req, struct bk_node *node, struct listing *l),
		 bk_fill_fn fill, void *ctx);

#endif
