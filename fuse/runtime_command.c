#include "runtime_command.h"

#include "base/log.h"
#include "base/suggest.h"
#include "base/thread.h"
#include "progress.h"

#include <string.h>

#define INTERRUPTED 130

struct command {
	const struct args *a;
	const struct config *c;
	const char *name; /* NULL for what takes none */
	struct runtimes *rs;
	struct engine *engine;
	struct bk_req req;
	struct err *err;
};

/* ---- An interrupt ends what runs ---- */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

static void signal_set(sigset_t *ret)
{
	sigemptyset(ret);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(ret, signals[i]);
}

static void *wait_for_signal(void *req)
{
	sigset_t set;
	int sig;

	signal_set(&set);
	sigwait(&set, &sig);
	bk_req_cancel(req);
	return NULL;
}

static int catch_signals(struct bk_req *req, pthread_t *ret)
{
	sigset_t set;

	signal_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return thread_start(ret, NULL, wait_for_signal, req);
}

/* ---- Listing ---- */

/* What the engine has; without one the definitions are still told, and why it is not known. */
static bool find_images(struct command *cmd, struct built_images *ret)
{
	struct err err = {""};

	if (built_images_find(&cmd->req, cmd->rs, cmd->engine, NULL, ret, &err) == 0)
		return true;
	fprintf(stderr, "aib: %s\n", err.text[0] ? err.text : "the engine cannot be asked");
	return false;
}

static int list(struct command *cmd)
{
	_cleanup_(built_images_done) struct built_images images = {0};
	bool known = find_images(cmd, &images);
	cJSON *all = cJSON_CreateArray();
	const struct runtime *rt;
	int r;

	for (size_t i = 0; (rt = runtimes_at(cmd->rs, i)); i++) {
		cJSON *about = runtime_about(rt, known ? &images : NULL);

		if (!cJSON_AddItemToArray(all, about)) {
			cJSON_Delete(about);
			cJSON_Delete(all);
			return -ENOMEM;
		}
	}
	r = runtime_print_list(all, cmd->a->json);
	return r < 0 ? r : !known;
}

static int show(struct command *cmd)
{
	_cleanup_(built_images_done) struct built_images images = {0};
	const struct runtime *rt = NULL;
	cJSON *about;
	bool known;
	int r = runtimes_find(cmd->rs, cmd->name, &rt, cmd->err);

	if (r < 0)
		return r;
	known = find_images(cmd, &images);
	about = runtime_about(rt, known ? &images : NULL);
	if (!about)
		return -ENOMEM;
	r = runtime_print_one(about, cmd->a->json);
	return r < 0 ? r : !known;
}

/* ---- Building ---- */

static void say_line(void *ctx, const char *text)
{
	struct progress *p = ctx;

	if (p->terminal)
		progress_line(p, text);
	else
		fprintf(stderr, "%s\n", text);
}

static int build(struct command *cmd)
{
	_cleanup_(runtime_image_done) struct runtime_image image = {0};
	const struct runtime_want want = {
	    .name = cmd->name,
	    .engine = cmd->a->engine,
	    .pull = cmd->c->opt.pull,
	};
	struct progress progress;
	int r;

	bk_req_extend(&cmd->req, cmd->c->opt.prepare_timeout_ms);
	progress_init(&progress);
	progress_begin(&progress, cmd->name);
	r = runtimes_image(&cmd->req, cmd->rs, &want, say_line, &progress, &image, cmd->err);
	progress_end(&progress, r == 0);
	if (r < 0)
		return r;
	puts(image.image);
	return 0;
}

/* ---- Removing ---- */

/* One that a container is of stays, and is told of: 1. */
static int remove_one(struct command *cmd, const char *image)
{
	int r = 0;

	if (!cmd->a->dry_run)
		r = engine_image_remove(&cmd->req, cmd->engine, image, cmd->err);
	if (r == -EBUSY) {
		fprintf(stderr, "aib: %s stays: a container is of it\n", image);
		return 1;
	}
	if (r == 0)
		printf("%s\n", image);
	return r;
}

static int remove_images(struct command *cmd, const struct built_images *images, bool current_too)
{
	int status = 0;

	for (size_t i = 0; i < images->n; i++) {
		int r = 0;

		if (current_too || !images->list[i].current)
			r = remove_one(cmd, images->list[i].name);
		if (r < 0)
			return r;
		status |= r;
	}
	return status;
}

/* Also of a runtime that is no longer in the configuration. */
static int rm(struct command *cmd)
{
	_cleanup_(built_images_done) struct built_images images = {0};
	const struct runtime *rt;
	int r = built_images_find(&cmd->req, cmd->rs, cmd->engine, cmd->name, &images, cmd->err);

	if (r == 0 && images.n == 0)
		return runtimes_find(cmd->rs, cmd->name, &rt, cmd->err);
	return r < 0 ? r : remove_images(cmd, &images, true);
}

static int prune(struct command *cmd)
{
	_cleanup_(built_images_done) struct built_images images = {0};
	int r = built_images_find(&cmd->req, cmd->rs, cmd->engine, NULL, &images, cmd->err);

	if (r < 0)
		return r;
	/* What a container is of is not garbage: nothing went wrong. */
	r = remove_images(cmd, &images, false);
	return r < 0 ? r : 0;
}

/* ---- */

static const struct verb {
	const char *name;
	bool named;
	int (*run)(struct command *cmd);
} verbs[] = {
    {"ls", false, list}, {"show", true, show},	  {"build", true, build},
    {"rm", true, rm},	 {"prune", false, prune},
};

static const struct verb *find_verb(const struct args *a)
{
	const char *word = a->n_words > 0 ? a->words[0] : "";
	struct suggest s = {.word = word};

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		suggest_offer(&s, verbs[i].name);
		if (strcmp(verbs[i].name, word) != 0)
			continue;
		if (a->n_words == 1 + (size_t)verbs[i].named)
			return &verbs[i];
		fprintf(stderr, "aib: runtime %s %s (aib runtime --help)\n", word,
			verbs[i].named ? "takes one NAME" : "takes no argument");
		return NULL;
	}
	if (*word && s.best)
		fprintf(stderr, "aib: runtime %s: did you mean \"%s\"?\n", word, s.best);
	else
		fprintf(stderr, "aib: runtime ls|show|build|rm|prune (aib runtime --help)\n");
	return NULL;
}

static int run(struct command *cmd, const struct verb *verb)
{
	pthread_t thread = 0;
	int r = config_runtimes(cmd->c, &cmd->rs, cmd->err);

	if (r == 0)
		r = runtimes_engine(cmd->rs, cmd->a->engine, &cmd->engine, cmd->err);
	if (r == 0)
		r = catch_signals(&cmd->req, &thread);
	if (r < 0)
		return r;
	r = verb->run(cmd);
	if (r < 0 && bk_req_check(&cmd->req) == -EINTR) {
		fprintf(stderr, "aib: interrupted\n");
		r = INTERRUPTED;
	}
	pthread_kill(thread, signals[0]); /* what it cancels is over */
	pthread_join(thread, NULL);
	return r;
}

int runtime_command(const struct args *a, const struct config *c, struct err *err)
{
	const struct verb *verb = find_verb(a);
	struct command cmd = {.a = a, .c = c, .err = err};
	int r;

	if (!verb)
		return 2;
	log_set_stderr(false); /* what is to be said is printed */
	if (verb->named)
		cmd.name = a->words[1];
	bk_req_init(&cmd.req, geteuid(), getegid(), 0, c->opt.deadline_ms);
	r = run(&cmd, verb);
	bk_req_done(&cmd.req);
	engine_close(cmd.engine);
	runtimes_free(cmd.rs);
	return r;
}
