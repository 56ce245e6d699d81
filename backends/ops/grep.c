/*
 * grep: the thread that runs it walks the tree and hands out batches of files, in order, to threads
 * that search them (line.c). A directory that is searched at its far end is a batch, too.
 */
#include "grep.h"

#include "scan.h"

#include <dirent.h>
#include <string.h>

#define MAX_THREADS 64

/* ---- The walk ---- */

static int gather(struct grep *g, const struct scan_dir *d)
{
	struct batch *b = g->gathering;
	int r = 0;

	if (b && (b->dir != d->place || b->n == GREP_BATCH || b->used > GREP_NAMES - NAME_MAX - 1))
		r = grep_push(g);
	if (r == 0 && !g->gathering) {
		g->gathering = batch_new(g, d->place, d->shown);
		r = g->gathering ? 0 : -ENOMEM;
	}
	return r;
}

static bool is_wanted(const struct grep *g, const struct scan_dir *d, const char *name)
{
	_cleanup_buf_ struct buf dir = BUF_INIT(OPS_MAX_PATH), path = BUF_INIT(OPS_MAX_PATH);
	const char *above = g->o->far ? g->o->far->below : "";
	const char *below = d->shown + strlen(g->o->args.path);

	if (!g->glob)
		return true;
	if (!g->glob_paths)
		return pattern_matches(g->glob, name);
	below += strspn(below, "/");
	return ops_join(&dir, above, below, strlen(below)) == 0 &&
	       ops_join(&path, dir.data, name, strlen(name)) == 0 &&
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
	int pushed = grep_push(g);

	if (pushed < 0)
		return pushed;
	g->gathering = batch_new(g, NULL, shown);
	if (!g->gathering)
		return -ENOMEM;
	grep_error(g->gathering, shown, r);
	return grep_push(g);
}

/* The results of a directory that is searched where it is are a batch as others are. */
static int take_far(void *ctx, const struct scan_dir *d, struct bk_results *results)
{
	struct grep *g = ctx;
	int r = grep_push(g);

	if (r == 0)
		g->gathering = batch_new(g, d->place, d->shown);
	if (r < 0 || !g->gathering) {
		bk_results_free(results);
		return r < 0 ? r : -ENOMEM;
	}
	g->gathering->far = results;
	return grep_push(g);
}

/* What is left of the walk, which ended with R, goes out. */
static int end_walk(struct grep *g, int r)
{
	if (r == 0)
		r = grep_push(g);
	batch_free(TAKE(g->gathering));
	grep_end_line(g);
	return r == -ECANCELED ? 0 : r;
}

static int search_tree(struct grep *g, const struct ops_found *f)
{
	const struct scan_visitor visitor = {
	    .ctx = g, .file = take_file, .far = take_far, .kind = FAR_GREP, .failed = walk_failed};

	return end_walk(
	    g, scan_tree(g->o, f->self, g->o->args.path, NULL, g->o->args.gitignore, &visitor));
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
	grep_finish(g, b);
	return 0;
}

/* ---- Beginning and end ---- */

enum grep_mode grep_mode(const struct ops_args *a)
{
	return !a->mode || strcmp(a->mode, "content") == 0 ? GREP_CONTENT
	       : strcmp(a->mode, "files") == 0		   ? GREP_FILES
							   : GREP_COUNT;
}

static int prepare(struct grep *g, struct err *err)
{
	const struct ops_args *a = &g->o->args;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int r = match_new(a->pattern, a->ignore_case, &g->match, err);

	g->max = a->max;
	g->mode = grep_mode(a);
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

static struct grep *grep_new(struct ops *o)
{
	struct grep *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->o = o;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->more, NULL);
	pthread_cond_init(&g->moved, NULL);
	return g;
}

static void grep_free(struct grep *g)
{
	search_free(g->own);
	match_free(g->match);
	pattern_free(g->glob);
	pthread_cond_destroy(&g->moved);
	pthread_cond_destroy(&g->more);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

int ops_grep(struct ops *o)
{
	struct grep *g = grep_new(o);
	int status;

	if (!g) {
		ops_fail_errno(o, -ENOMEM);
		return 2;
	}
	status = run(g);
	grep_free(g);
	return status;
}

int ops_grep_far(struct ops *o, struct scan_dir *d)
{
	struct grep *g = grep_new(o);
	const struct scan_visitor v = {.ctx = g, .file = take_file, .failed = walk_failed};
	int r = g ? prepare(g, NULL) : -ENOMEM;

	if (r == 0)
		r = end_walk(g, scan_from(o, d, o->args.gitignore, &v));
	if (g)
		grep_free(g);
	return r;
}
