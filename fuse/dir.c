/*
 * Listings. Cookies are the backend's own. With attributes (READDIRPLUS) a listing is taken first,
 * as much as fits, and its names are looked up after it, since a backend may hold its lock while it
 * lists; each entry that reaches the kernel counts as a lookup, each that does not is forgotten
 * again.
 */
#include "call.h"
#include "reply.h"

#include <limits.h>
#include <string.h>

#define MAX_LISTING (1 << 20)

/* ---- What the kernel has of a listing (listed.h) ---- */

/* How long the kernel may hold all that a listing tells; 0: it is not worth a note. */
static uint32_t noted_ms(const struct bk *bk)
{
	uint32_t entry = bk->entry_ttl_ms, attr = bk->attr_ttl_ms;

	if (bk->recall || bk->blocking)
		return 0;
	return entry < attr ? entry : attr;
}

/* Of the call's directory, whose open file is FILE. */
static int listed_now(struct call *c, struct bk_file *file, struct listed_state *ret)
{
	struct stat st;
	int r = bk_getattr(&c->req, c->node, file, &st);

	if (r == 0)
		*ret = (struct listed_state){.mtime = st.st_mtim,
					     .recalls = c->recalls,
					     .nodes = inode_count(&c->fs->inodes)};
	return r;
}

/* ---- Opening ---- */

/* The kernel is to keep what is listed, for who opens the directory again at once. */
static void choose_listing(struct call *c, struct bk_file *file)
{
	uint32_t hold_ms =
	    c->node->bk->unshared ? 0 : noted_ms(c->node->bk); /* it keeps those anyway */
	struct listed_state now;

	c->keep_listing = hold_ms > 0;
	c->use_listing = hold_ms > 0 && listed_now(c, file, &now) == 0 &&
			 listed_lately(&c->fs->listed, c->inode.number, &now, hold_ms);
}

static void run_open(struct call *c)
{
	struct bk_file *file = NULL;
	int r = bk_opendir(&c->req, c->node, &file);

	if (r == 0)
		choose_listing(c, file);
	reply_open(c, r, file, NULL);
}

void dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = {0};

	if (call_begin(&c, req, ino))
		call_go_open(&c, run_open);
}

static void run_fsync(struct call *c)
{
	reply_err(c, bk_fsyncdir(&c->req, c->handle->file, c->flags));
}

void dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct call c = {.flags = datasync};

	if (call_begin_file(&c, req, ino, fi))
		call_go(&c, run_fsync);
}

/* ---- Names only ---- */

struct listing_buf {
	fuse_req_t req;
	char *data;
	size_t len, size;
	off_t end; /* the cookie after what was taken; 0: something was not */
};

static struct stat plain(uint64_t ino, unsigned type)
{
	return (struct stat){.st_ino = ino, .st_mode = type << 12};
}

static bool add_name(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct listing_buf *l = ctx;
	struct stat st = plain(ino, type);
	size_t room = l->size - l->len;
	size_t n = fuse_add_direntry(l->req, l->data + l->len, room, name, &st, next);

	l->end = n > room ? 0 : next;
	if (n > room)
		return false;
	l->len += n;
	return true;
}

static void run_read(struct call *c)
{
	struct listing_buf l = {
	    .req = c->fuse, .data = call_scratch(c->size), .size = c->size, .end = c->off};
	int r = -ENOMEM;

	if (l.data)
		r = bk_readdir(&c->req, c->handle->file, c->off, add_name, &l);
	c->handle->end = r == 0 ? l.end : 0;
	reply_data(c, r < 0 ? r : (ssize_t)l.len, l.data);
}

static void start_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi, void (*run)(struct call *))
{
	struct call c = {.size = size < MAX_LISTING ? size : MAX_LISTING, .off = off};

	if (!call_begin_file(&c, req, ino, fi))
		return;
	settle_listed(&c.fs->settle, &c.handle->listing);
	/* The kernel asks once more after the last entry, which need not wait for a backend. */
	if (off != 0 && off == c.handle->end) {
		reply_data(&c, 0, NULL);
		call_done(&c);
		return;
	}
	c.inode.number = ino;
	call_go(&c, run);
}

void dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	start_read(req, ino, size, off, fi, run_read);
}

/* ---- With attributes ---- */

struct entry {
	uint64_t ino, next;
	unsigned type;
	size_t name_size; /* the name follows, with its NUL, padded */
};

struct gathering {
	fuse_req_t req;
	struct buf *entries;
	size_t room; /* left in the answer */
	off_t end;   /* as a listing_buf's */
	int error;
};

static size_t padded(size_t n)
{
	return (n + _Alignof(struct entry) - 1) & -_Alignof(struct entry);
}

static bool gather(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct gathering *g = ctx;
	struct entry e = {.ino = ino, .next = next, .type = type, .name_size = strlen(name) + 1};
	static const char zeros[_Alignof(struct entry)];
	size_t n = fuse_add_direntry_plus(g->req, NULL, 0, name, NULL, 0);

	g->end = 0;
	if (n > g->room)
		return false;
	g->error = buf_reserve(g->entries, sizeof(e) + padded(e.name_size));
	if (g->error < 0)
		return false;
	g->end = next;
	g->room -= n;
	buf_add(g->entries, &e, sizeof(e));
	buf_add(g->entries, name, e.name_size);
	buf_add(g->entries, zeros, padded(e.name_size) - e.name_size);
	return true;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/*
 * The entry as the kernel gets it. Number 0 means that it has to ask, where it has nothing: for the
 * dots, for a name that has gone or does not answer, and for one that another route serves which
 * may wait.
 */
static void fill_entry(struct call *c, const struct entry *e, const char *name, bool names,
		       struct fuse_entry_param *ret)
{
	struct bk_node *dir = c->handle->file->node, *node;
	struct stat st;

	*ret = (struct fuse_entry_param){.attr = plain(e->ino, e->type)};
	if (names || is_dot(name))
		return;
	if (bk_serving(dir, name) != c->bk && bk_serving(dir, name)->blocking)
		return;
	if (bk_lookup(&c->req, dir, name, &node, &st) == 0)
		(void)reply_make_entry(c, node, &st, ret);
}

static void forget_all(struct call *c, const uint64_t *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (numbers[i])
			inode_forget(&c->fs->inodes, numbers[i], 1, NULL);
}

/* A listing begins or goes on: whether names are enough, because the kernel has their attributes.
 */
static bool begin_listed(struct call *c)
{
	struct listed_handle *h = &c->handle->listed;
	uint32_t hold_ms = noted_ms(c->node->bk);
	struct listed_state now;

	if (hold_ms == 0)
		return false;
	if (c->off == 0 && listed_now(c, c->handle->file, &now) == 0)
		listed_begin(&c->fs->listed, h, c->inode.number, &now, hold_ms);
	return listed_names(&c->fs->listed, h, c->off);
}

/* The kernel has all up to NEXT. */
static void note_listed(struct call *c, off_t next)
{
	if (noted_ms(c->node->bk) > 0)
		listed_told(&c->fs->listed, &c->handle->listed, next, c->handle->end != 0,
			    inode_count(&c->fs->inodes));
}

/* Look the gathered names up, but where NAMES are enough, and answer. */
static void answer_plus(struct call *c, const struct buf *entries, bool names, char *data,
			uint64_t *numbers)
{
	size_t len = 0, n = 0;
	off_t next = c->off;

	for (size_t at = 0; at < entries->len; n++) {
		const struct entry *e = (const struct entry *)(entries->data + at);
		const char *name = (const char *)(e + 1);
		struct fuse_entry_param p;

		fill_entry(c, e, name, names, &p);
		numbers[n] = p.ino;
		len +=
		    fuse_add_direntry_plus(c->fuse, data + len, c->size - len, name, &p, e->next);
		at += sizeof(*e) + padded(e->name_size);
		next = e->next;
	}
	if (!call_claim(c) || fuse_reply_buf(c->fuse, data, len) < 0)
		forget_all(c, numbers, n);
	else
		note_listed(c, next);
}

static void run_read_plus(struct call *c)
{
	_cleanup_buf_ struct buf entries = BUF_INIT(4 * MAX_LISTING);
	struct gathering g = {.req = c->fuse, .entries = &entries, .room = c->size, .end = c->off};
	_cleanup_free_ uint64_t *numbers = NULL;
	char *data = call_scratch(c->size);
	bool names = begin_listed(c);
	int r = -ENOMEM;

	if (c->node->bk->recall)
		settle_listing(&c->fs->settle, &c->handle->listing, c->node->bk, c->inode.number);
	if (data)
		r = bk_readdir(&c->req, c->handle->file, c->off, gather, &g);
	c->handle->end = r == 0 ? g.end : 0;
	if (r == 0 && entries.len == 0)
		r = g.error;
	if (r == 0) {
		numbers = calloc(entries.len / sizeof(struct entry) + 1, sizeof(*numbers));
		r = numbers ? 0 : -ENOMEM;
	}
	if (r < 0)
		reply_err(c, r);
	else
		answer_plus(c, &entries, names, data, numbers);
}

void dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	start_read(req, ino, size, off, fi, run_read_plus);
}
