#include "run_options.h"

#include "environment.h"
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int usage(const char *why)
{
	fprintf(stderr,
		"aib-guest: run: %s\nusage: aib-guest run [-t ROWSxCOLS] [-2 1] [-T MS] [-C DIR] "
		"[-P PWD] [-u USER[:GROUP]] [-e NAME=VALUE]... [-j ID [-J MS]] -- CMD [ARG...]\n",
		why);
	return GUEST_USAGE;
}

/* What the options say of the environment; it changes once all are known. */
struct variables {
	char **list; /* in the place of arguments that were read already */
	size_t n;
};

static int take_option(char option, char *value, struct run_options *o, struct variables *vars)
{
	char *end;

	switch (option) {
	case 't':
		o->conf.tty = true;
		if (sscanf(value, "%hux%hu", &o->conf.rows, &o->conf.cols) != 2)
			return usage("-t wants ROWSxCOLS");
		return 0;
	case '2':
		o->conf.merged = true;
		return strcmp(value, "1") == 0 ? 0 : usage("-2 wants 1");
	case 'T':
		o->timeout_ms = strtoull(value, &end, 10);
		return *end ? usage("-T wants milliseconds") : 0;
	case 'j':
		o->job = value;
		return 0;
	case 'J':
		o->job_wait_ms = strtoull(value, &end, 10);
		return *end ? usage("-J wants milliseconds") : 0;
	case 'C':
		o->conf.cwd = value;
		return 0;
	case 'P':
		o->conf.pwd = value;
		return 0;
	case 'u':
		o->conf.user = value;
		return 0;
	case 'e':
		if (*value == '=' || !strchr(value, '='))
			return usage("-e wants NAME=VALUE");
		vars->list[vars->n++] = value;
		return 0;
	default:
		return usage("wrong options");
	}
}

static int set_environment(const struct run_options *o, const struct variables *vars)
{
	if (o->conf.tty)
		setenv("TERM", "xterm", 0);
	/* What we have is that of the user whom we leave. */
	if (o->conf.user)
		unsetenv("HOME");
	if (environment_set(vars->list, vars->n) == 0)
		return 0;
	fprintf(stderr, "aib-guest: run: out of memory\n");
	return GUEST_USAGE;
}

int run_options_parse(int argc, char **argv, struct run_options *ret)
{
	struct run_options o = {0};
	struct variables vars = {.list = argv};
	int i, r;

	for (i = 0; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++) {
		if (strlen(argv[i]) != 2 || i + 1 == argc)
			return usage("wrong options");
		i++;
		r = take_option(argv[i - 1][1], argv[i], &o, &vars);
		if (r)
			return r;
	}
	if (i < argc && strcmp(argv[i], "--") == 0)
		i++;
	if (i >= argc)
		return usage("no command");
	o.conf.argv = argv + i;
	r = set_environment(&o, &vars);
	if (r == 0)
		*ret = o;
	return r;
}
