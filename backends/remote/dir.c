/*
 * Listings. They come in batches, each entry with its node and attributes, so that looking up what
 * was just listed (which is what a front end does) asks nobody: a directory that is being listed
 * keeps its last batch `ahead`, good for CLIENT_AHEAD_MS and until anything changes through here.
 *
 * A directory of a few entries is listed as it is opened.
 *
 * A batch belongs to the open directory that read it, and to the directory's node until that open
 * directory is released, so that no node keeps itself alive.
 */
#include "client.h"

#include "base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

/* What one batch has at most, in bytes of the protocol; and one that comes with OPENDIR's answer:
 * 64 entries. */
#define BATCH (64 * 1024)
#define FIRST_BATCH (64 * REMOTE_ENTRY_MAX)

struct entry {
	const char *name; /* in the payload */
	uint64_t ino, next;
	unsigned type;
	struct bk_node *node; /* a reference; NULL where it was not looked up */
	struct stat st;
};

struct remote_dir;

struct batch {
	atomic_uint refs;
	const struct remote_dir *reader; /* compared, never followed */
	struct answer answer;		 /* whose payload the names lie in */
	uint64_t epoch, at_ms;
	atomic_size_t hint; /* the entry that is probably looked up next */
	atomic_bool used;   /* one was */
	bool last;	    /* nothing comes after it */
	size_t n;
	struct entry entries[];
};

struct remote_dir {
	struct remote_file file; /* first: attributes and release take it */
	bool with_nodes;	 /* worth asking for; guarded by lock, as what follows */
	pthread_mutex_t lock;	 /* a leaf */
	bool unread;		 /* `batch` came with the opening, and nothing was taken of it */
	struct batch *batch;	 /* the last one; a reference */
	uint64_t cookie;	 /* which the entry `pos` of it continues */
	size_t pos;
};

#define DIR_OF(f) container_of(FILE_OF(f), struct remote_dir, file)

/* ---- Batches ---- */

void remote_batch_unref(struct batch *b)
{
	if (!b || atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	for (size_t i = 0; i < b->n; i++)
		bk_node_unref(b->entries[i].node);
	remote_answer_done(&b->answer);
	free(b);
}
DEFINE_CLEANUP(struct batch *, remote_batch_unref)

static struct batch *batch_ref(struct batch *b)
{
	if (b)
		atomic_fetch_add(&b->refs, 1);
	return b;
}

static int count_entries(const struct remote_msg *m, size_t *ret)
{
	struct remote_entry e;
	size_t pos = 0;
	int r;

	for (*ret = 0; (r = remote_get_entry(m->data, m->data_len, &pos, &e)) > 0;)
		++*ret;
	return r;
}

static int add_entry(struct remote *r, struct batch *b, const struct remote_entry *e)
{
	struct entry *to = &b->entries[b->n];
	int err;

	*to = (struct entry){.name = e->name, .ino = e->ino, .next = e->next, .type = e->type};
	if (e->node) {
		to->st = e->st;
		to->type = IFTODT(e->st.st_mode);
		err = remote_node_for(r, e->node, &e->st, 0, &to->node);
		if (err < 0)
			return err;
	}
	b->n++;
	return 0;
}

static uint64_t epoch_of(struct remote *r)
{
	return atomic_load(&r->epoch) + atomic_load(&r->files_epoch);
}

static int batch_new(struct remote *r, const struct remote_dir *reader, struct answer *answer,
		     uint64_t epoch, struct batch **ret)
{
	_cleanup_(remote_batch_unrefp) struct batch *b = NULL;
	const struct remote_msg *m = &answer->msg;
	struct remote_entry e;
	size_t n, pos = 0;
	int err = count_entries(m, &n);

	if (err < 0)
		return remote_conn_fail(r, "a listing broke the protocol");
	b = calloc(1, sizeof(*b) + n * sizeof(b->entries[0]));
	if (!b) {
		remote_drop_entries(r, m);
		return -ENOMEM;
	}
	atomic_init(&b->refs, 1);
	b->answer = ANSWER_NONE;
	b->reader = reader;
	b->epoch = epoch;
	b->at_ms = clock_ms();
	b->last = m->flags & REMOTE_LAST;
	/* Where there is no memory for one, those after it stay counted until the end. */
	while (err == 0 && remote_get_entry(m->data, m->data_len, &pos, &e) > 0)
		err = add_entry(r, b, &e);
	if (err < 0)
		return err;
	b->answer = *answer;
	*answer = ANSWER_NONE;
	*ret = TAKE(b);
	return 0;
}

void remote_drop_entries(struct remote *r, const struct remote_msg *m)
{
	struct remote_entry e;
	size_t pos = 0;

	while (remote_get_entry(m->data, m->data_len, &pos, &e) > 0)
		if (e.node)
			remote_conn_forget(r, e.node, 1);
}

/* ---- What was read ahead ---- */

/* B (taken) is what lookups in DIR may use; NULL: nothing. */
static void set_ahead(struct bk_node *dir, struct batch *b)
{
	struct remote *r = REMOTE_OF(dir);
	struct batch *old;

	pthread_mutex_lock(&r->nodes_lock);
	old = NODE_OF(dir)->ahead;
	NODE_OF(dir)->ahead = b;
	pthread_mutex_unlock(&r->nodes_lock);
	remote_batch_unref(old);
}

/* What READER, an open file of DIR, has set. */
static void drop_ahead(struct bk_node *dir, const struct remote_dir *reader)
{
	struct remote *r = REMOTE_OF(dir);
	struct batch *old = NULL;

	pthread_mutex_lock(&r->nodes_lock);
	if (NODE_OF(dir)->ahead && NODE_OF(dir)->ahead->reader == reader)
		old = TAKE(NODE_OF(dir)->ahead);
	pthread_mutex_unlock(&r->nodes_lock);
	remote_batch_unref(old);
}

static const struct entry *find_entry(struct batch *b, const char *name)
{
	size_t hint = atomic_load_explicit(&b->hint, memory_order_relaxed);

	for (size_t i = 0; i < b->n; i++) {
		size_t at = (hint + i) % b->n;

		if (strcmp(b->entries[at].name, name) == 0) {
			atomic_store_explicit(&b->hint, at + 1, memory_order_relaxed);
			return b->entries[at].node ? &b->entries[at] : NULL;
		}
	}
	return NULL;
}

static bool is_fresh(struct remote *r, const struct batch *b)
{
	return b->epoch == epoch_of(r) && clock_ms() - b->at_ms < CLIENT_AHEAD_MS;
}

int remote_ahead(struct bk_node *dir, const char *name, struct bk_node **ret_node,
		 struct stat *ret_st)
{
	_cleanup_(remote_batch_unrefp) struct batch *b = NULL;
	struct remote *r = REMOTE_OF(dir);
	const struct entry *e;

	pthread_mutex_lock(&r->nodes_lock);
	b = batch_ref(NODE_OF(dir)->ahead);
	pthread_mutex_unlock(&r->nodes_lock);
	if (!b || !is_fresh(r, b))
		return -ENOENT;
	e = find_entry(b, name);
	if (!e)
		return -ENOENT;
	atomic_store_explicit(&b->used, true, memory_order_relaxed);
	*ret_node = bk_node_ref(e->node);
	*ret_st = e->st;
	return 0;
}

/* ---- Open directories ---- */

void remote_dir_release(struct bk_file *file)
{
	struct remote_dir *d = DIR_OF(file);
	const struct remote_msg m = {.dir = d->file.id};

	remote_conn_send(REMOTE_OF(file->node), REMOTE_RELEASEDIR, 0, &m);
	drop_ahead(file->node, d);
	remote_batch_unref(d->batch);
	pthread_mutex_destroy(&d->lock);
	bk_node_unref(file->node);
	free(d);
}

int remote_fsyncdir(struct bk_req *req, struct bk_file *file, bool datasync)
{
	struct remote_msg m = {.dir = FILE_OF(file)->id, .flags = datasync ? REMOTE_DATASYNC : 0};

	return remote_call_plain(REMOTE_OF(file->node), req, REMOTE_FSYNCDIR, &m);
}

/* ---- Listing ---- */

/* Whether the last batch has what continues COOKIE. 0 reads anew, as rewinddir(3) does, what was
 * read or is old. */
static bool continues_locked(struct remote *r, const struct remote_dir *d, uint64_t cookie)
{
	const struct batch *b = d->batch;

	if (!b || cookie != d->cookie)
		return false;
	return cookie == 0 ? d->unread && is_fresh(r, b) : d->pos < b->n || b->last;
}

/* The last batch where it has what continues COOKIE, with a reference. */
static struct batch *batch_at(struct remote_dir *d, uint64_t cookie, size_t *ret_pos)
{
	struct batch *b = NULL;

	pthread_mutex_lock(&d->lock);
	if (continues_locked(REMOTE_OF(d->file.base.node), d, cookie)) {
		b = batch_ref(d->batch);
		*ret_pos = d->pos;
	}
	pthread_mutex_unlock(&d->lock);
	return b;
}

/* B is the last batch; entry POS of it continues COOKIE. */
static void keep_batch(struct remote_dir *d, struct batch *b, uint64_t cookie, size_t pos)
{
	struct batch *old = NULL;

	pthread_mutex_lock(&d->lock);
	if (d->batch != b) {
		old = d->batch;
		d->batch = batch_ref(b);
	}
	d->unread = false;
	d->cookie = cookie;
	d->pos = pos;
	pthread_mutex_unlock(&d->lock);
	remote_batch_unref(old);
}

/* Nodes are worth asking for as long as those of the batch before were looked up. */
static bool wants_nodes(struct remote_dir *d)
{
	bool wants;

	pthread_mutex_lock(&d->lock);
	if (d->batch && !d->unread)
		d->with_nodes = atomic_load(&d->batch->used);
	wants = d->with_nodes;
	pthread_mutex_unlock(&d->lock);
	return wants;
}

static int fetch(struct bk_req *req, struct remote_dir *d, uint64_t cookie, struct batch **ret)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct bk_node *node = d->file.base.node;
	struct remote *r = REMOTE_OF(node);
	uint64_t epoch = epoch_of(r);
	struct remote_msg m = {.dir = d->file.id,
			       .cookie = cookie,
			       .size = BATCH,
			       .flags = wants_nodes(d) ? REMOTE_WITH_NODES : 0};
	int e = remote_call_run(r, req, REMOTE_READDIR, &m, &a);

	if (e == 0)
		e = batch_new(r, d, &a, epoch, ret);
	if (e < 0)
		return e;
	keep_batch(d, *ret, cookie, 0);
	if (m.flags & REMOTE_WITH_NODES)
		set_ahead(node, batch_ref(*ret));
	return 0;
}

/* What came with the answer to D's opening. */
static int take_first(struct remote_dir *d, struct answer *a, uint64_t epoch)
{
	struct bk_node *node = d->file.base.node;
	int e = batch_new(REMOTE_OF(node), d, a, epoch, &d->batch);

	if (e < 0)
		return e;
	d->unread = true;
	set_ahead(node, batch_ref(d->batch));
	return 0;
}

static struct remote_dir *dir_new(struct bk_node *node, uint64_t id)
{
	struct remote_dir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->file = (struct remote_file){
	    .base = {.node = bk_node_ref(node), .flags = O_RDONLY | O_DIRECTORY},
	    .id = id,
	};
	d->with_nodes = true;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

int remote_opendir(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	_cleanup_answer_ struct answer a = ANSWER_NONE;
	struct remote_msg m = {
	    .node = NODE_OF(node)->id, .size = FIRST_BATCH, .flags = REMOTE_WITH_NODES};
	struct remote *r = REMOTE_OF(node);
	uint64_t epoch = epoch_of(r);
	struct remote_dir *d;
	int e;

	if (NODE_OF(node)->type != S_IFDIR)
		return -ENOTDIR;
	e = remote_call_run(r, req, REMOTE_OPENDIR, &m, &a);
	if (e < 0)
		return e;
	d = dir_new(node, a.msg.dir);
	if (!d) {
		remote_conn_send(r, REMOTE_RELEASEDIR, 0, &(struct remote_msg){.dir = a.msg.dir});
		remote_drop_entries(r, &a.msg);
		return -ENOMEM;
	}
	if (a.msg.data_len > 0)
		e = take_first(d, &a, epoch);
	if (e < 0)
		remote_dir_release(&d->file.base);
	else
		*ret = &d->file.base;
	return e;
}

/* Hand entries of B from *POS on to FILL. Returns whether it took all. */
static bool fill_from(struct batch *b, size_t *pos, uint64_t *cookie, bk_fill_fn fill, void *ctx)
{
	for (; *pos < b->n; ++*pos) {
		const struct entry *e = &b->entries[*pos];

		if (!fill(ctx, e->name, e->ino, e->type, e->next))
			return false;
		*cookie = e->next;
	}
	return true;
}

int remote_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
		   void *ctx)
{
	struct remote_dir *d = DIR_OF(file);

	for (;;) {
		_cleanup_(remote_batch_unrefp) struct batch *b = NULL;
		size_t pos = 0;
		bool all;
		int e = 0;

		b = batch_at(d, cookie, &pos);
		if (!b)
			e = fetch(req, d, cookie, &b);
		if (e < 0 || b->n == 0)
			return e;
		all = fill_from(b, &pos, &cookie, fill, ctx);
		keep_batch(d, b, cookie, pos);
		if (!all || b->last)
			return 0;
	}
}
