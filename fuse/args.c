#include "args.h"

#include "base/macros.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char args_usage[] =
    "usage: aibfs [-c CONFIG] [-r ROUTE]... [-o OPT,...] [-f] [--supervise] MOUNTPOINT\n"
    "       aibfs CONFIG MOUNTPOINT [-o OPT,...]     (fstab, mount -t fuse.aibfs; \"none\": no "
    "file)\n"
    "       aibfs --no-mount [-c CONFIG] [-r ROUTE]... [-o OPT,...]\n"
    "       aibfs --show-config [-c CONFIG] [-r ROUTE]... [-o OPT,...]\n"
    "       aibfs --check-config CONFIG | --doctor [--json] | --prune [--dry-run] | --help-routes\n"
    "       aibfs --runtime ls|show|build|rm|prune [NAME] [-c CONFIG] [--engine ENGINE] [--json]\n"
    "\n"
    "The daemon of aib: serves one directory tree whose parts live in memory, in host\n"
    "directories and in containers. Use `aib mount`.\n"
    "\n"
    "  -c, --config FILE    the configuration, JSON (default: $AIB_CONFIG, or none)\n"
    "  -r, --route ROUTE    PATH=TYPE[:SOURCE][,KEY=VALUE]...; a comma in a value is \\,\n"
    "  -o OPT[=VALUE],...   options of the mount, see below\n"
    "  -f, --foreground     stay in the foreground and log to standard error\n"
    "      --no-mount       serve the socket alone, without /dev/fuse; prints where it is\n"
    "      --supervise      start the daemon again when it crashes or hangs (-o supervise)\n"
    "      --help-routes    the types of routes and their keys\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n";

enum {
	SHOW = 256,
	CHECK,
	DOCTOR,
	PRUNE,
	RUNTIME,
	ROUTE_HELP,
	JSON,
	ENGINE,
	DRY_RUN,
	NO_MOUNT,
	SUPERVISE
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"route", required_argument, NULL, 'r'},
    {"options", required_argument, NULL, 'o'},
    {"foreground", no_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"show-config", no_argument, NULL, SHOW},
    {"check-config", no_argument, NULL, CHECK},
    {"doctor", no_argument, NULL, DOCTOR},
    {"help-routes", no_argument, NULL, ROUTE_HELP},
    {"json", no_argument, NULL, JSON},
    {"prune", no_argument, NULL, PRUNE},
    {"runtime", no_argument, NULL, RUNTIME},
    {"engine", required_argument, NULL, ENGINE},
    {"dry-run", no_argument, NULL, DRY_RUN},
    {"no-mount", no_argument, NULL, NO_MOUNT},
    {"supervise", no_argument, NULL, SUPERVISE},
    {NULL},
};

/* What is left after the options: [CONFIG] [MOUNTPOINT]. */
static int positional(struct args *a, char **argv, int n)
{
	if (a->what == ARGS_CHECK_CONFIG && n == 1 && !a->config) {
		a->config = argv[0];
		return 0;
	}
	if (a->what == ARGS_CHECK_CONFIG && n == 0 && a->config)
		return 0;
	if (a->what == ARGS_MOUNT && a->no_mount && n == 0)
		return 0;
	if (a->what == ARGS_MOUNT && !a->no_mount && n == 2 && !a->config) {
		if (*argv[0] && strcmp(argv[0], "none") != 0)
			a->config = argv[0];
		a->mountpoint = argv[1];
		return 0;
	}
	if (a->what == ARGS_MOUNT && !a->no_mount && n == 1) {
		a->mountpoint = argv[0];
		return 0;
	}
	if (a->what == ARGS_RUNTIME) {
		a->words = argv;
		a->n_words = n;
		return 0;
	}
	if (a->what != ARGS_MOUNT && a->what != ARGS_CHECK_CONFIG && n == 0)
		return 0;
	if (a->what == ARGS_MOUNT && !a->no_mount && n == 0)
		fprintf(stderr, "aibfs: where is the mount point? (aibfs --help)\n");
	else
		fprintf(stderr, "aibfs: wrong number of arguments (aibfs --help)\n");
	return -1;
}

int args_parse(int argc, char **argv, struct args *ret)
{
	int c;

	*ret = (struct args){
	    .routes = calloc(argc, sizeof(char *)),
	    .options = calloc(argc, sizeof(char *)),
	};
	if (!ret->routes || !ret->options)
		return -1;
	while ((c = getopt_long(argc, argv, "c:r:o:fhV", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			ret->config = optarg;
			break;
		case 'r':
			ret->routes[ret->n_routes++] = optarg;
			break;
		case 'o':
			ret->options[ret->n_options++] = optarg;
			break;
		case 'f':
			ret->foreground = true;
			break;
		case SUPERVISE:
			ret->options[ret->n_options++] = (char *)"supervise";
			break;
		case JSON:
			ret->json = true;
			break;
		case NO_MOUNT:
			ret->no_mount = ret->foreground = true;
			break;
		case DRY_RUN:
			ret->dry_run = true;
			break;
		case ENGINE:
			ret->engine = optarg;
			break;
		case SHOW:
		case CHECK:
		case DOCTOR:
		case PRUNE:
		case RUNTIME:
		case ROUTE_HELP:
			ret->what = ARGS_SHOW_CONFIG + (c - SHOW);
			break;
		case 'h':
			ret->what = ARGS_HELP;
			return 0;
		case 'V':
			ret->what = ARGS_VERSION;
			return 0;
		default:
			fprintf(stderr, "aibfs: see aibfs --help\n");
			return -1;
		}
	}
	return positional(ret, argv + optind, argc - optind);
}

void args_done(struct args *a)
{
	free(a->routes);
	free(a->options);
}
