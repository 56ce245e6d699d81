/*
 * The far end of a search: a thread of its own walks and, for grep, has more of them search; what
 * they find waits in a buffer of bounded size for who reads. A search begins with its first read,
 * and lives until its thread has ended and its results are freed, whichever is later.
 */
#include "far.h"

#include "base/clock.h"
#include "base/processors.h"
#include "base/thread.h"
#include "grep.h"
#include "scan.h"

#include <string.h>

#define HELD (512 * 1024)    /* bytes that wait for the reader, before one more piece */
#define TICK_MS 100	     /* a read without results says so after that long */
#define MAX_RUNNING 32	     /* searches; others wait for their turn */
#define STACK_SIZE (4 << 20) /* a walk goes as deep as the tree */

struct far_server {
	struct bk *bk;
	struct ops_tree tree;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended;
	unsigned running;
};

struct far_search {
	struct bk_results results;
	struct far_server *server;
	atomic_uint refs; /* the reader's, the thread's */
	struct bk_node *dir;
	struct ops ops;
	struct ops_who who;
	struct ops_io io;
	struct ops_far far;
	struct far_request request; /* its strings lie in `what` */
	void *what;
	char *hidden;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t more, room;
	struct buf out;
	bool started, ended, dropped;
	uint64_t told; /* steps that the reader knows of */
};

/* ---- Life ---- */

static void far_unref(struct far_search *x)
{
	if (atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	ops_done(&x->ops);
	bk_node_unref(x->dir);
	buf_done(&x->out);
	pthread_cond_destroy(&x->more);
	pthread_cond_destroy(&x->room);
	pthread_mutex_destroy(&x->lock);
	free((void *)x->who.groups);
	free(x->request.rules);
	free(x->what);
	free(x->hidden);
	free(x);
}

static void results_free(struct bk_results *results)
{
	struct far_search *x = container_of(results, struct far_search, results);

	pthread_mutex_lock(&x->lock);
	x->dropped = true;
	pthread_cond_broadcast(&x->room);
	pthread_mutex_unlock(&x->lock);
	ops_cancel(&x->ops);
	far_unref(x);
}

/* ---- The search's threads ---- */

/* struct ops_io's: whole records, since what grep and glob put is whole. */
static int write_records(void *ctx, int stream, const void *data, size_t len)
{
	struct far_search *x = ctx;
	int r;

	pthread_mutex_lock(&x->lock);
	while (x->out.len > HELD && !x->dropped)
		pthread_cond_wait(&x->room, &x->lock);
	r = x->dropped ? -EPIPE : buf_add(&x->out, data, len);
	pthread_cond_broadcast(&x->more);
	pthread_mutex_unlock(&x->lock);
	return r;
}

/* The rules of the directories above, OWN of them, the nearest one returned. */
static int make_rules(const struct far_request *q, struct ignore **own, size_t *ret_n,
		      const struct ignore **ret)
{
	*ret = NULL;
	for (*ret_n = 0; *ret_n < q->n_rules; ++*ret_n) {
		const struct far_rules *rules = &q->rules[*ret_n];

		own[*ret_n] = ignore_new(*ret, rules->depth, rules->text, rules->len);
		if (!own[*ret_n])
			return -ENOMEM;
		*ret = own[*ret_n];
	}
	return 0;
}

static int search_below(struct far_search *x, struct scan_dir *d)
{
	const struct far_request *q = &x->request;
	_cleanup_free_ struct ignore **own = calloc(q->n_rules + 1, sizeof(struct ignore *));
	size_t n = 0;
	int r = own ? make_rules(q, own, &n, &d->ignore) : -ENOMEM;

	if (r == 0)
		r = q->kind == FAR_GREP ? ops_grep_far(&x->ops, d) : ops_glob_far(&x->ops, d);
	while (n > 0)
		ignore_free(own[--n]);
	return r;
}

static int search(struct far_search *x)
{
	struct scan_dir d = {
	    .shown = "", .path = (char *)x->request.path, .depth = x->request.depth};
	struct stat st;
	int r = bk_getattr(&x->ops.req.req, x->dir, NULL, &st);

	if (r < 0)
		return r;
	d.place = ops_place_new(NULL, "", bk_node_ref(x->dir), &st);
	r = d.place ? search_below(x, &d) : -ENOMEM;
	ops_place_unref(d.place);
	return r;
}

static int put_end(struct far_search *x, int r)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	const struct far_record end = {.kind = FAR_END, .number = -r};

	r = far_put_record(&out, &end);
	if (r == 0)
		r = ops_put(&x->ops, out.data, out.len);
	return r < 0 ? r : ops_flush(&x->ops);
}

static void *search_main(void *arg)
{
	struct far_search *x = arg;
	struct far_server *f = x->server;

	/* Without its end the reader knows that this is not all. */
	(void)put_end(x, search(x));
	pthread_mutex_lock(&x->lock);
	x->ended = true;
	pthread_cond_broadcast(&x->more);
	pthread_mutex_unlock(&x->lock);
	far_unref(x);
	pthread_mutex_lock(&f->lock);
	f->running--;
	pthread_cond_broadcast(&f->ended);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int start_thread(struct far_search *x)
{
	int r;

	atomic_fetch_add(&x->refs, 1);
	r = thread_start_detached(STACK_SIZE, search_main, x);
	if (r < 0)
		far_unref(x);
	return r;
}

/* Begin, where there is a place for one more. A reader that waits for it sees others' progress. */
static int start_locked(struct far_search *x)
{
	struct far_server *f = x->server;
	int r = 0;

	pthread_mutex_lock(&f->lock);
	if (f->running < MAX_RUNNING) {
		r = start_thread(x);
		x->started = r == 0;
		f->running += x->started;
	} else {
		atomic_fetch_add(&x->ops.steps, 1);
	}
	pthread_mutex_unlock(&f->lock);
	return r;
}

/* ---- The reader ---- */

static void wake(void *arg)
{
	struct far_search *x = arg;

	pthread_mutex_lock(&x->lock);
	pthread_cond_broadcast(&x->more);
	pthread_mutex_unlock(&x->lock);
}

/* Until there is something to tell, one tick at most. */
static void wait_locked(struct far_search *x)
{
	const struct timespec until = clock_timespec(clock_ms() + TICK_MS);

	while (x->out.len == 0 && !x->ended)
		if (pthread_cond_timedwait(&x->more, &x->lock, &until) != 0)
			return;
}

static int put_tick_locked(struct far_search *x)
{
	const struct far_record tick = {.kind = FAR_TICK};
	uint64_t steps = atomic_load(&x->ops.steps);

	if (x->out.len > 0 || x->ended || steps == x->told)
		return 0;
	x->told = steps;
	return far_put_record(&x->out, &tick);
}

static ssize_t results_read(struct bk_req *req, struct bk_results *results, void *data, size_t size)
{
	struct far_search *x = container_of(results, struct far_search, results);
	size_t n = 0;
	int r = 0;

	bk_req_on_cancel(req, wake, x);
	pthread_mutex_lock(&x->lock);
	while (r == 0 && x->out.len == 0 && !(x->started && x->ended)) {
		if (!x->started)
			r = start_locked(x);
		if (r == 0)
			wait_locked(x);
		if (r == 0)
			r = put_tick_locked(x);
		pthread_mutex_unlock(&x->lock);
		r = r < 0 ? r : bk_req_check(req);
		pthread_mutex_lock(&x->lock);
	}
	if (r == 0) {
		n = x->out.len < size ? x->out.len : size;
		if (n > 0)
			memcpy(data, x->out.data, n);
		buf_consume(&x->out, n);
		pthread_cond_broadcast(&x->room);
	}
	pthread_mutex_unlock(&x->lock);
	bk_req_on_cancel(req, NULL, NULL);
	return r < 0 ? r : (ssize_t)n;
}

static const struct bk_results_ops results_ops = {.read = results_read, .free = results_free};

/* ---- Beginning ---- */

static int copy(struct far_search *x, const struct bk_search *s)
{
	gid_t *groups = calloc(s->n_groups + 1, sizeof(*groups));

	x->who.groups = groups;
	x->who.n_groups = s->n_groups;
	x->what = malloc(s->size + 1);
	x->hidden = strdup(s->hidden ? s->hidden : "");
	if (!groups || !x->what || !x->hidden)
		return -ENOMEM;
	if (s->n_groups > 0)
		memcpy(groups, s->groups, s->n_groups * sizeof(*groups));
	memcpy(x->what, s->what, s->size);
	return far_get_request(x->what, s->size, &x->request);
}

static void set_args(struct far_search *x)
{
	static const char *const modes[] = {"content", "files", "count"};
	const struct far_request *q = &x->request;
	struct ops_args *a = &x->ops.args;

	/* They are only read. */
	a->path = (char *)"";
	a->pattern = (char *)q->pattern;
	a->glob = *q->glob ? (char *)q->glob : NULL;
	a->mode = (char *)modes[q->mode < ARRAY_SIZE(modes) ? q->mode : 0];
	a->max = q->max;
	a->ignore_case = q->flags & FAR_IGNORE_CASE;
	a->hidden = q->flags & FAR_HIDDEN;
	a->gitignore = q->flags & FAR_GITIGNORE;
	x->far = (struct ops_far){
	    .below = q->below,
	    .hidden = x->hidden,
	    .stats = q->flags & FAR_STATS,
	    .whole_lines = q->flags & FAR_WHOLE_LINES,
	};
	x->ops.far = &x->far;
}

static struct far_search *far_new(struct far_server *f, const struct bk_req *req,
				  struct bk_node *dir)
{
	struct far_search *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->results.ops = &results_ops;
	x->server = f;
	x->refs = 1;
	x->dir = bk_node_ref(dir);
	x->who = (struct ops_who){.uid = req->uid, .gid = req->gid};
	x->io = (struct ops_io){.ctx = x, .write = write_records};
	ops_init(&x->ops, &f->tree, &x->who, &x->io);
	x->out = BUF_INIT(2 * FAR_MAX_RECORD);
	pthread_mutex_init(&x->lock, NULL);
	cond_init(&x->more);
	cond_init(&x->room);
	return x;
}

int far_server_search(void *ctx, struct bk_req *req, struct bk_node *dir, const struct bk_search *s,
		      struct bk_results **ret)
{
	struct far_server *f = ctx;
	struct far_search *x;
	struct stat st;
	int r = bk_getattr(req, dir, NULL, &st);

	if (r == 0 && !S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	if (r < 0)
		return r;
	x = far_new(f, req, dir);
	if (!x)
		return -ENOMEM;
	r = copy(x, s);
	if (r < 0) {
		far_unref(x);
		return r;
	}
	x->ops.root = s->root;
	set_args(x);
	*ret = &x->results;
	return 0;
}

int far_server_new(struct bk *bk, struct far_server **ret)
{
	struct far_server *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->bk = bk;
	f->tree = (struct ops_tree){
	    .root = bk, .mountpoint = "", .allow_other = true, .threads = processors(1)};
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->ended, NULL);
	*ret = f;
	return 0;
}

void far_server_free(struct far_server *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	while (f->running > 0)
		pthread_cond_wait(&f->ended, &f->lock);
	pthread_mutex_unlock(&f->lock);
	pthread_cond_destroy(&f->ended);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
