/*
 * grep's line: batches of files, in the order of the walk, which threads search (search.c); what
 * they find goes on in that order again. A batch whose results are many waits until those before it
 * are out and then streams. So memory is bounded, and the output is the same however many threads
 * there are.
 *
 * A line of `grep` (guarded by its lock): batches from `head` (not yet out) to `tail` (not yet
 * made), `next` is the first that nobody has taken. Only the holder of the head writes results.
 */
#include "grep.h"

#include "base/thread.h"

#include <string.h>

/* ---- Batches ---- */

void batch_free(struct batch *b)
{
	if (!b)
		return;
	bk_results_free(b->far);
	ops_place_unref(b->dir);
	free(b->shown);
	buf_done(&b->out);
	buf_done(&b->ends);
	buf_done(&b->errors_at);
	free(b);
}

struct batch *batch_new(struct grep *g, struct ops_place *dir, const char *shown)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->grep = g;
	b->dir = ops_place_ref(dir);
	b->shown = strdup(shown);
	b->out = BUF_INIT(SIZE_MAX / 2);
	b->ends = BUF_INIT(SIZE_MAX / 2);
	b->errors_at = BUF_INIT(SIZE_MAX / 2);
	if (b->shown)
		return b;
	batch_free(b);
	return NULL;
}

void grep_tell(struct batch *b, const char *path, int r)
{
	const char *text = grep_words(r);

	/* Gone since it was listed. */
	if (r == -ENOENT || r == -ESTALE)
		return;
	if (b->grep->o->far) {
		(void)grep_put_error(b, path, r);
		return;
	}
	if (b->grep->max)
		(void)buf_add(&b->errors_at, &b->results, sizeof(b->results));
	if (b->errors++ == 0)
		err_set(&b->error, 0, "Error: '%s': %s", *path ? path : ".",
			text ? text : strerror(-r));
}

void grep_error(struct batch *b, const char *path, int r)
{
	if (r == -EINTR || r == -EPIPE || r == -ENOMEM || r == -EOVERFLOW)
		b->fatal = b->fatal ? b->fatal : r;
	grep_tell(b, path, r);
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

/* Only what was met before result LEFT + 1 counts, wherever batches begin and end. */
static void cut_errors(struct batch *b, uint64_t left)
{
	const uint64_t *at = (const void *)b->errors_at.data;
	size_t n = b->errors_at.len / sizeof(*at);

	while (n > 0 && at[n - 1] > left)
		n--;
	b->errors = n;
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
		cut_errors(b, left);
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
	buf_consume(&b->errors_at, b->errors_at.len);
	b->results = 0;
	take_errors(g, b);
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
		else if (b->fatal)
			take_errors(g, b);
		pthread_mutex_lock(&g->lock);
		g->head++;
		batch_free(b);
		pthread_cond_broadcast(&g->moved);
	}
	g->putting = false;
	pthread_cond_broadcast(&g->moved);
}

void grep_finish(struct grep *g, struct batch *b)
{
	pthread_mutex_lock(&g->lock);
	finish_locked(g, b);
	pthread_mutex_unlock(&g->lock);
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

int grep_push(struct grep *g)
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

void grep_end_line(struct grep *g)
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
