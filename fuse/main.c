/*
 * aibfs, the FUSE daemon: from the command line to a configuration, and then to what was asked for.
 */
#include "args.h"
#include "config.h"
#include "doctor.h"
#include "lifecycle.h"
#include "mounted.h"
#include "mountpoint.h"
#include "prune.h"
#include "runtime_command.h"
#include "serve.h"
#include "session.h"
#include "supervise.h"

#include "base/log.h"
#include "base/spin.h"
#include "base/std.h"
#include "docker/engine.h"

#include <limits.h>
#include <string.h>

static const char *const levels[] = {"error", "warning", "info", "debug"};

/* All layers, from the weakest. */
static int configure(const struct args *a, struct config *c, struct err *err)
{
	const char *file = a->config ? a->config : getenv("AIB_CONFIG");
	const struct fs_conf *limits = &fs_conf_default;
	int r = config_init(c);

	if (r < 0)
		return r;
	c->opt.threads = limits->threads;
	c->opt.pool_threads = limits->pool_threads;
	c->opt.pool_queue = limits->pool_queue;
	c->opt.pool_idle_ms = limits->pool_idle_ms;
	c->opt.max_open = limits->max_open;
	c->opt.max_nodes = limits->max_nodes;
	c->opt.linger_ms = limits->linger_ms;
	c->opt.busy_poll_us = SPIN_US;
	if (file && *file && strcmp(file, "none") != 0)
		r = config_add_file(c, file, err);
	if (r == 0 && a->what != ARGS_CHECK_CONFIG)
		r = config_add_env(c, err);
	for (size_t i = 0; r == 0 && i < a->n_options; i++)
		r = config_add_options(c, a->options[i], err);
	for (size_t i = 0; r == 0 && i < a->n_routes; i++)
		r = config_add_route(c, a->routes[i], err);
	return r < 0 ? r : config_finish(c, err);
}

static int show(const struct config *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT(4 * CONFIG_MAX_FILE);
	int r = config_show(c, &text);

	if (r == 0)
		fputs(text.data, stdout);
	return r;
}

static void print_options(const struct option *table)
{
	for (; table->key; table++)
		printf("  %-18s %s%s%s%s\n", table->key, table->help ? table->help : "",
		       table->choices ? " (" : "", table->choices ? table->choices : "",
		       table->choices ? ")" : "");
}

static void route_help(void)
{
	const struct bk_type *t;

	printf("A route is PATH=TYPE[:SOURCE][,KEY=VALUE]...\n\nkeys of every route:\n");
	print_options(config_route_table);
	for (size_t i = 0; (t = bk_type_at(i)); i++) {
		printf("\n%s%s%s:\n", t->name, t->source_key ? ":" : "",
		       t->source_key ? t->source_key : "");
		if (t->options)
			print_options(t->options);
	}
	printf("\nan engine (of \"engines\" of the file, by its name):\n");
	print_options(engine_options);
}

static void set_up_log(const char *level)
{
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(levels[i], level) == 0)
			log_set_level(i);
}

static int check_spool(const struct config *c, struct err *err)
{
	if (access(c->opt.spool, W_OK | X_OK) == 0)
		return 0;
	return err_set(err, -errno, "spool directory %s: %m (-o spool=DIR)", c->opt.spool);
}

static int mount_it(const struct args *a, struct config *c, struct err *err)
{
	_cleanup_free_ char *mountpoint = NULL;
	int r;

	set_up_log(c->opt.log_level);
	log_set_stderr(a->foreground);
	if (a->no_mount) {
		r = check_spool(c, err);
		return r < 0 ? r : serve(c, "", true, NULL, err);
	}
	c->opt.allow_other |= geteuid() == 0;
	r = mountpoint_check_fuse(c->opt.allow_other, err);
	if (r == 0)
		r = check_spool(c, err);
	if (r == 0)
		r = mounted_resolve(a->mountpoint, &mountpoint, err);
	if (r == 0)
		r = mountpoint_check(mountpoint, c->opt.nonempty, err);
	if (r < 0)
		return r;
	return c->opt.supervise ? supervise(c, mountpoint, a->foreground, err)
				: serve(c, mountpoint, a->foreground, NULL, err);
}

static void help(void)
{
	printf("%s\noptions of the mount (-o, \"options\" of the file, AIB_<OPTION> of the "
	       "environment):\n",
	       args_usage);
	print_options(config_option_table);
}

static int run(const struct args *a, struct config *c, struct err *err)
{
	int r = a->what <= ARGS_RUNTIME ? configure(a, c, err) : 0;

	if (r < 0)
		return r;
	switch (a->what) {
	case ARGS_MOUNT:
		return mount_it(a, c, err);
	case ARGS_SHOW_CONFIG:
		return show(c);
	case ARGS_CHECK_CONFIG:
		return 0;
	case ARGS_DOCTOR:
		return doctor(c, a->json);
	case ARGS_PRUNE:
		return prune(c, a->dry_run);
	case ARGS_RUNTIME:
		return runtime_command(a, c, err);
	case ARGS_ROUTE_HELP:
		route_help();
		return 0;
	case ARGS_HELP:
		help();
		return 0;
	case ARGS_VERSION:
		puts("aibfs " AIB_VERSION);
		return 0;
	}
	return -EINVAL;
}

int main(int argc, char **argv)
{
	_cleanup_(config_done) struct config c = {0};
	_cleanup_(args_done) struct args a = {0};
	struct err err = {""};
	int r;

	std_open();
	lifecycle_init();
	if (args_parse(argc, argv, &a) < 0)
		return 2;
	r = run(&a, &c, &err);
	if (r < 0)
		fprintf(stderr, "aib: %s\n", err.text[0] ? err.text : strerror(-r));
	return r < 0 ? 1 : r;
}
