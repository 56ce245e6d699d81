/*
 * aib-mcp: `aib mcp`, which explains it. Its command line, the mount that is meant or a daemon of
 * its own, and their end.
 */
#include "loop.h"

#include "base/cwd.h"
#include "base/path.h"
#include "base/std.h"
#include "base/units.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#define DEFAULT_REQUESTS 64
#define DEFAULT_BYTES (16 << 20)
#define DEFAULT_RESULT (4 << 20)

struct line {
	const char *mount, *workdir;
	char **args; /* of aibfs */
	size_t n_args;
	bool own;
};

enum { MOUNT = 256, REQUESTS, MESSAGE, RESULT };

static const struct option options[] = {
    {"mount", required_argument, NULL, MOUNT},
    {"config", required_argument, NULL, 'c'},
    {"route", required_argument, NULL, 'r'},
    {"workdir", required_argument, NULL, 'w'},
    {"max-requests", required_argument, NULL, REQUESTS},
    {"max-message", required_argument, NULL, MESSAGE},
    {"max-result", required_argument, NULL, RESULT},
    {NULL},
};

/* ---- The command line ---- */

static int take_limit(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		      struct err *err)
{
	uint64_t n;

	if (option_size(text, &n) < 0 || n < min || n > max)
		return err_set(err, -EINVAL, "--%s %s: expected %llu to %llu", name, text,
			       (unsigned long long)min, (unsigned long long)max);
	*ret = n;
	return 0;
}

static void pass_on(struct line *l, const char *option, char *value)
{
	l->args[l->n_args++] = (char *)option;
	l->args[l->n_args++] = value;
	l->own = true;
}

static int take_option(struct line *l, struct mcp_limits *limits, int c, struct err *err)
{
	switch (c) {
	case MOUNT:
		l->mount = optarg;
		return 0;
	case 'w':
		l->workdir = optarg;
		return 0;
	case 'c':
		pass_on(l, "-c", optarg);
		return 0;
	case 'r':
		pass_on(l, "-r", optarg);
		return 0;
	case 'o':
		pass_on(l, "-o", optarg);
		return 0;
	case REQUESTS:
		return take_limit("max-requests", optarg, 1, 10000, &limits->requests, err);
	case MESSAGE:
		return take_limit("max-message", optarg, 1024, 1 << 30, &limits->message, err);
	case RESULT:
		return take_limit("max-result", optarg, 1024, 1 << 30, &limits->result, err);
	default:
		return err_set(err, -EINVAL, "see aib mcp --help"); /* getopt has said why */
	}
}

static int parse(int argc, char **argv, struct line *l, struct mcp_limits *limits, struct err *err)
{
	int c, r = 0;

	l->args[l->n_args++] = (char *)"aibfs";
	l->args[l->n_args++] = (char *)"--no-mount";
	while (r == 0 && (c = getopt_long(argc, argv, "c:r:o:w:", options, NULL)) != -1)
		r = take_option(l, limits, c, err);
	if (r == 0 && optind < argc)
		r = err_set(err, -EINVAL, "mcp takes no argument \"%s\" (aib mcp --help)",
			    argv[optind]);
	if (r == 0 && l->own && l->mount)
		r = err_set(err, -EINVAL,
			    "--mount is for a mount that is there, -c and -r are for "
			    "one of its own: give one of them");
	return r;
}

/* ---- Where ---- */

/* Relative paths of a mount begin at -w, which is to be in it, or at the working directory. */
static int find_base(const char *workdir, const char *mountpoint, char **ret, struct err *err)
{
	char *base = workdir ? realpath(workdir, NULL) : cwd_get();

	if (workdir && !base)
		return err_set(err, -errno, "-w %s: %m", workdir);
	if (workdir && !path_below(base, mountpoint)) {
		free(base);
		return err_set(err, -EXDEV, "-w %s: it is not in the mount %s", workdir,
			       mountpoint);
	}
	if (!base || !path_below(base, mountpoint)) {
		free(base);
		base = strdup(mountpoint);
	}
	*ret = base;
	return base ? 0 : -ENOMEM;
}

/* The same of a tree without a mount, at which nobody can look from here. */
static int given_base(const char *workdir, char **ret, struct err *err)
{
	size_t n = workdir ? strlen(workdir) : 0;

	if (n > 0 && *workdir != '/')
		return err_set(err, -EINVAL, "-w %s: a directory of these routes begins with /",
			       workdir);
	while (n > 0 && workdir[n - 1] == '/')
		n--;
	*ret = strndup(workdir ? workdir : "", n);
	return *ret ? 0 : -ENOMEM;
}

static int find_tree(const struct line *l, struct mcp *m, struct own *own, struct err *err)
{
	int r;

	if (!l->own) {
		r = registry_choose(l->mount, &m->mount, err);
		return r < 0 ? r : find_base(l->workdir, m->mount.mountpoint, &m->base, err);
	}
	m->mount.mountpoint = strdup("");
	m->mount.uid = geteuid();
	if (!m->mount.mountpoint)
		return -ENOMEM;
	r = given_base(l->workdir, &m->base, err);
	return r < 0 ? r : own_start(l->args, own, err);
}

/* ---- */

/* Waiting for the daemon's end is done with at the next signal: it ends by itself. */
static void end_own(struct own *own)
{
	sigset_t none;

	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	own_end(own);
}

int main(int argc, char **argv)
{
	struct mcp m = {.limits = {DEFAULT_REQUESTS, DEFAULT_BYTES, DEFAULT_RESULT},
			.out = BUF_INIT(SIZE_MAX / 2)};
	struct line l = {.args = calloc(2 * argc + 4, sizeof(char *))};
	struct own own = {.fd = -1};
	struct err err = {""};
	int r;

	std_open();
	r = l.args ? parse(argc, argv, &l, &m.limits, &err) : -ENOMEM;
	if (r < 0) {
		fprintf(stderr, "aib: %s\n", *err.text ? err.text : strerror(-r));
		free(l.args);
		return 2;
	}
	r = find_tree(&l, &m, &own, &err);
	if (r == 0)
		r = loop_run(&m, &own, &err);
	if (r < 0)
		fprintf(stderr, "aib: %s\n", *err.text ? err.text : strerror(-r));
	end_own(&own);
	registry_mount_done(&m.mount);
	free(m.base);
	buf_done(&m.out);
	free(l.args);
	return r < 0;
}
