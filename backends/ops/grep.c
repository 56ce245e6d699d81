/*
 * grep: the thread that runs it walks the tree and hands out batches of files, in order, to threads
 * that search them (search.c); what they find goes on in that order again. A batch whose results
 * are many waits until those before it are out and then streams. So memory is bounded, and the
 * output is the same however many threads there are.
 *
 * A line of `grep` (guarded by its lock): batches from `head` (not yet out) to `tail` (not yet
 * made), `next` is the first that nobody has taken. Only the holder of the head writes results.
 */
#include "grep.h"

#include "base/thread.h"
#include "scan.h"

#include <dirent.h>
#include <string.h>

#define MAX_THREADS 64

/* ---- Batches ---- */

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	ops_place_unref(b->dir);
	free(b->shown);
	buf_done(&b->out);
	buf_done(&b->ends);
	free(b);
}

static struct batch *batch_new(struct grep *g, struct ops_place *dir, const char *shown)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->grep = g;
	b->dir = ops_place_ref(dir);
	b->shown = strdup(shown);
	b->out = BUF_INIT(SIZE_MAX / 2);
	b->ends = BUF_INIT(SIZE_MAX / 2);
	if (b->shown)
		return b;
	batch_free(b);
	return NULL;
}

void grep_error(struct batch *b, const char *path, int r, const char *text)
{
	/* Gone since it was listed. */
	if (r == -ENOENT || r == -ESTALE)
		return;
	if (r == -EINTR || r == -EPIPE || r == -ENOMEM || r == -EOVERFLOW)
		b->fatal = b->fatal ? b->fatal : r;
	if (b->errors++ == 0)
		err_set(&b->error, 0, "Error: '%s': %s", path, text ? text : strerror(-r));
}

/* ---- Out, in order ---- */

static void take_errors(struct grep *g, struct batch *b)
{
	if (b->errors > 0 && g->errors == 0)
		g->error = b->error;
	g->errors += b->errors;
	g->denied += b->denied;
	b->errors = b->denied = 0;
	if (b->fatal) {
		g->fatal = g->fatal ? g->fatal : b->fatal;
		atomic_store(&g->stop, true);
	}
}

/* What B holds, by the holder of the head, without the lock. */
static void put_results(struct grep *g, struct batch *b)
{
	const char *data = b->out.data;
	size_t len = b->out.len;
	int r = 0;

	if (g->max && b->results > g->max - g->results) {
		uint64_t left = g->max - g->results;

		g->truncated = true;
		atomic_store(&g->stop, true);
		len = left ? ((size_t *)(void *)b->ends.data)[left - 1] : 0;
		b->results = left;
	}
	/* Results in JSON come with a comma before each. */
	if (len > 0 && g->o->args.json && g->results == 0) {
		data++;
		len--;
	}
	g->results += b->results;
	if (len > 0)
		r = ops_put(g->o, data, len);
	if (r < 0)
		b->fatal = r;
	buf_consume(&b->out, b->out.len);
	buf_consume(&b->ends, b->ends.len);
	b->results = 0;
}

void grep_drain(struct batch *b)
{
	struct grep *g = b->grep;

	pthread_mutex_lock(&g->lock);
	while ((g->head != b->number || g->putting) && !atomic_load(&g->stop))
		pthread_cond_wait(&g->moved, &g->lock);
	pthread_mutex_unlock(&g->lock);
	if (!atomic_load(&g->stop))
		put_results(g, b);
}

/* B is searched: let it out, and those after it that wait for it only. */
static void finish_locked(struct grep *g, struct batch *b)
{
	b->done = true;
	if (g->putting)
		return;
	g->putting = true;
	while (g->head < g->tail && g->line[g->head % GREP_LINE]->done) {
		b = g->line[g->head % GREP_LINE];
		pthread_mutex_unlock(&g->lock);
		if (!atomic_load(&g->stop))
			put_results(g, b);
		pthread_mutex_lock(&g->lock);
		if (!atomic_load(&g->stop) || b->fatal)
			take_errors(g, b);
		g->head++;
		batch_free(b);
		pthread_cond_broadcast(&g->moved);
	}
	g->putting = false;
	pthread_cond_broadcast(&g->moved);
}

/* ---- Threads ---- */

static void *searcher(void *arg)
{
	struct grep *g = arg;
	struct search *s;
	int r = search_new(g, &s);

	pthread_mutex_lock(&g->lock);
	while (r == 0) {
		struct batch *b;

		while (g->next == g->tail && !g->closed)
			pthread_cond_wait(&g->more, &g->lock);
		if (g->next == g->tail)
			break;
		b = g->line[g->next++ % GREP_LINE];
		pthread_mutex_unlock(&g->lock);
		search_batch(s, b);
		pthread_mutex_lock(&g->lock);
		finish_locked(g, b);
	}
	pthread_mutex_unlock(&g->lock);
	if (r == 0)
		search_free(s);
	return NULL;
}

/* The walking thread's own help, where no other can be had. */
static int search_here(struct grep *g)
{
	struct batch *b = g->line[g->next++ % GREP_LINE];

	pthread_mutex_unlock(&g->lock);
	search_batch(g->own, b);
	pthread_mutex_lock(&g->lock);
	finish_locked(g, b);
	return 0;
}

static void need_thread(struct grep *g)
{
	if (g->n_threads < g->max_threads && g->tail - g->next > g->n_threads &&
	    thread_start(&g->threads[g->n_threads], NULL, searcher, g) == 0)
		g->n_threads++;
}

/* The batch that gathers goes into the line. 0, or -ECANCELED once nothing more is wanted. */
static int push(struct grep *g)
{
	struct batch *b = TAKE(g->gathering);

	if (!b)
		return 0;
	pthread_mutex_lock(&g->lock);
	while (g->tail - g->head == GREP_LINE && !atomic_load(&g->stop)) {
		if (g->next < g->tail)
			search_here(g);
		else
			pthread_cond_wait(&g->moved, &g->lock);
	}
	bk_req_extend(&g->o->req.req, g->o->tree->deadline_ms);
	if (atomic_load(&g->stop)) {
		pthread_mutex_unlock(&g->lock);
		batch_free(b);
		return -ECANCELED;
	}
	b->number = g->tail;
	g->line[g->tail++ % GREP_LINE] = b;
	need_thread(g);
	pthread_cond_signal(&g->more);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

/* Search what is left here too, and wait until all is out. */
static void end_threads(struct grep *g)
{
	pthread_mutex_lock(&g->lock);
	g->closed = true;
	pthread_cond_broadcast(&g->more);
	while (g->next < g->tail)
		search_here(g);
	pthread_mutex_unlock(&g->lock);
	for (unsigned i = 0; i < g->n_threads; i++)
		pthread_join(g->threads[i], NULL);
}

/* ---- The walk ---- */

static int gather(struct grep *g, const struct scan_dir *d)
{
	struct batch *b = g->gathering;
	int r = 0;

	if (b && (b->dir != d->place || b->n == GREP_BATCH || b->used > GREP_NAMES - NAME_MAX - 1))
		r = push(g);
	if (r == 0 && !g->gathering) {
		g->gathering = batch_new(g, d->place, d->shown);
		r = g->gathering ? 0 : -ENOMEM;
	}
	return r;
}

static bool is_wanted(const struct grep *g, const struct scan_dir *d, const char *name)
{
	_cleanup_buf_ struct buf path = BUF_INIT(OPS_MAX_PATH);
	const char *below = d->shown + strlen(g->o->args.path);

	if (!g->glob)
		return true;
	if (!g->glob_paths)
		return pattern_matches(g->glob, name);
	below += strspn(below, "/");
	return ops_join(&path, below, name, strlen(name)) == 0 &&
	       pattern_matches(g->glob, path.data);
}

static int take_file(void *ctx, const struct scan_dir *d, const struct ops_entry *e)
{
	struct grep *g = ctx;
	size_t n = strlen(e->name) + 1;
	struct batch *b;
	int r;

	if (e->type != DT_REG || n > NAME_MAX + 1 || !is_wanted(g, d, e->name))
		return 0;
	r = gather(g, d);
	if (r < 0)
		return r;
	b = g->gathering;
	memcpy(b->names + b->used, e->name, n);
	b->used += n;
	b->n++;
	return 0;
}

static int walk_failed(void *ctx, const char *shown, int r)
{
	struct grep *g = ctx;
	int pushed = push(g);

	if (pushed < 0)
		return pushed;
	g->gathering = batch_new(g, NULL, shown);
	if (!g->gathering)
		return -ENOMEM;
	grep_error(g->gathering, *shown ? shown : ".", r, NULL);
	return push(g);
}

static int search_tree(struct grep *g, const struct ops_found *f)
{
	const struct scan_visitor visitor = {.ctx = g, .file = take_file, .failed = walk_failed};
	int r = scan_tree(g->o, f->self, g->o->args.path, NULL, g->o->args.gitignore, &visitor);

	if (r == 0)
		r = push(g);
	batch_free(TAKE(g->gathering));
	end_threads(g);
	return r == -ECANCELED ? 0 : r;
}

/* A file that was named. */
static int search_file(struct grep *g, const struct ops_found *f)
{
	struct batch *b = batch_new(g, f->dir, "");

	if (!b)
		return -ENOMEM;
	g->line[0] = b;
	g->tail = g->next = 1;
	search_one(g->own, b, f->node, &f->st, g->o->args.path);
	pthread_mutex_lock(&g->lock);
	finish_locked(g, b);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

/* ---- Beginning and end ---- */

static int prepare(struct grep *g, struct err *err)
{
	const struct ops_args *a = &g->o->args;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int r = match_new(a->pattern, a->ignore_case, &g->match, err);

	g->max = a->max;
	g->mode = !a->mode || strcmp(a->mode, "content") == 0 ? GREP_CONTENT
		  : strcmp(a->mode, "files") == 0	      ? GREP_FILES
							      : GREP_COUNT;
	g->max_threads = g->o->tree->threads ? g->o->tree->threads : cores > 0 ? cores : 1;
	if (g->max_threads > MAX_THREADS)
		g->max_threads = MAX_THREADS;
	if (r == 0 && a->glob) {
		g->glob_paths = strchr(a->glob, '/');
		r = pattern_new(a->glob + (a->glob[0] == '/'), PATTERN_BRACES | PATTERN_HIDDEN,
				&g->glob, err);
	}
	if (r == 0)
		r = search_new(g, &g->own);
	return r;
}

static int report(struct grep *g)
{
	_cleanup_buf_ struct buf out = BUF_INIT(OPS_MAX_PATH);
	struct ops *o = g->o;

	if (g->errors > 1)
		snprintf(g->error.text + strlen(g->error.text),
			 sizeof(g->error.text) - strlen(g->error.text), " (and %llu more errors)",
			 (unsigned long long)g->errors - 1);
	if (!o->args.json && g->errors > 0)
		ops_say(o, g->error.text);
	if (o->args.json) {
		(void)buf_addf(&out, "], \"truncated\": %s, \"denied\": %llu, \"error\": ",
			       g->truncated ? "true" : "false", (unsigned long long)g->denied);
		if (g->errors > 0)
			(void)ops_json_string(&out, g->error.text, strlen(g->error.text));
		else
			(void)buf_adds(&out, "null");
		(void)buf_adds(&out, "}\n");
		(void)ops_put(o, out.data, out.len);
	}
	return g->errors > 0 || g->fatal ? 2 : g->results > 0 ? 0 : 1;
}

static int run(struct grep *g)
{
	_cleanup_found_ struct ops_found f = {0};
	struct err err = {""};
	const char *rule;
	int r = prepare(g, &err);

	if (r < 0) {
		ops_fail(g->o, "%s", err.text[0] ? err.text : strerror(-r));
		return 2;
	}
	r = ops_resolve_arg(g->o, false, &f);
	if (r == 0 && !f.node)
		r = -ENOENT;
	if (r == 0 && bk_rule(f.node, NULL, &rule) == -EACCES)
		r = -EACCES;
	if (r < 0) {
		if (r == -ENOENT)
			ops_fail(g->o, "Error: File '%s' not found", g->o->args.path);
		else
			ops_fail_errno(g->o, r);
		return 2;
	}
	if (g->o->args.json)
		(void)ops_puts(g->o, "{\"matches\": [");
	r = f.self ? search_tree(g, &f) : search_file(g, &f);
	if (r < 0 && g->errors++ == 0)
		err_set(&g->error, 0, "Error: '%s': %s", g->o->args.path, strerror(-r));
	return report(g);
}

int ops_grep(struct ops *o)
{
	struct grep *g = calloc(1, sizeof(*g));
	int status;

	if (!g) {
		ops_fail_errno(o, -ENOMEM);
		return 2;
	}
	g->o = o;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->more, NULL);
	pthread_cond_init(&g->moved, NULL);
	status = run(g);
	search_free(g->own);
	match_free(g->match);
	pattern_free(g->glob);
	pthread_cond_destroy(&g->moved);
	pthread_cond_destroy(&g->more);
	pthread_mutex_destroy(&g->lock);
	free(g);
	return status;
}
