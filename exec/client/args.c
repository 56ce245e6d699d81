#include "args.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

const char args_help[] =
    "usage: aib-exec [OPTION]... [--] CMD [ARG]...\n"
    "       aib-exec [OPTION]... -c 'LINE' [NAME [ARG]...]\n"
    "       aib-exec [OPTION]...                       a shell, at a terminal\n"
    "\n"
    "Run a command in the sandbox that owns the working directory.\n"
    "\n"
    "  -c LINE                 run a shell line ($AIB_SHELL or /bin/sh, of the sandbox)\n"
    "  -l, -i                  a login shell, an interactive shell; as -lc LINE too\n"
    "  -t, --tty               with a terminal (default where stdin and stdout are one)\n"
    "  -T, --no-tty            without a terminal\n"
    "  -n, --no-stdin          standard input is empty; without it, input is read ahead\n"
    "  -d, --detach            start a job, print its name and leave it running (aib job --help);\n"
    "                          its standard input is empty\n"
    "      --name NAME         the job's name, with -d\n"
    "  -e, --env K=V           set a variable; K alone passes the caller's value on\n"
    "  -w, --workdir DIR       run there; a directory of the sandbox, or below the mount\n"
    "  -u, --user USER[:GROUP] run as this user of the sandbox\n"
    "      --timeout S         end the command after S seconds (or 500ms, 5m, 1h): status 124\n"
    "      --sandbox NAME      run in this sandbox ($AIB_SANDBOX: outside the mount's routes)\n"
    "      --mount PATH        of this mount ($AIB_MOUNT; else the working directory's)\n"
    "      --status-fd N       write how it ended, as JSON, to descriptor N\n"
    "      --help, --version\n"
    "\n"
    "A link to aib-exec of another name runs that program of the sandbox (a shell's name:\n"
    "$AIB_SHELL, where it is set), and all arguments are its own. $AIB_PASS_ENV names variables\n"
    "that are passed on, with a comma between.\n"
    "\n"
    "Exit status: the command's; 128+n for signal n; 124 at the timeout; 125 where aib-exec\n"
    "itself failed; 126 not executable; 127 not found.\n";

enum { OPT_TIMEOUT = 256, OPT_SANDBOX, OPT_STATUS_FD, OPT_MOUNT, OPT_NAME, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
    {"tty", no_argument, NULL, 't'},
    {"no-tty", no_argument, NULL, 'T'},
    {"no-stdin", no_argument, NULL, 'n'},
    {"detach", no_argument, NULL, 'd'},
    {"env", required_argument, NULL, 'e'},
    {"workdir", required_argument, NULL, 'w'},
    {"user", required_argument, NULL, 'u'},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"sandbox", required_argument, NULL, OPT_SANDBOX},
    {"status-fd", required_argument, NULL, OPT_STATUS_FD},
    {"mount", required_argument, NULL, OPT_MOUNT},
    {"name", required_argument, NULL, OPT_NAME},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL},
};

/* What the options say of the shell and the terminal, until all are known. */
struct choices {
	const char *line; /* of -c */
	bool login, interactive, tty, no_tty;
};

static int add_env(struct exec_args *args, const char *arg, struct err *err)
{
	const char *value = strchr(arg, '=') ? NULL : getenv(arg);
	const char **more;
	size_t n = 0;
	char *copy;

	if (*arg == '=' || *arg == '\0')
		return err_set(err, -EINVAL, "-e %s: not NAME=VALUE", arg);
	if (!strchr(arg, '=') && !value)
		return 0;
	while (args->env && args->env[n])
		n++;
	more = reallocarray(args->env, n + 2, sizeof(*more));
	if (!more)
		return err_set(err, -ENOMEM, "out of memory");
	args->env = more;
	more[n] = more[n + 1] = NULL;
	if (asprintf(&copy, "%s%s%s", arg, value ? "=" : "", value ? value : "") < 0)
		return err_set(err, -ENOMEM, "out of memory");
	more[n] = copy;
	return 0;
}

static int parse_fd(const char *arg, int *ret, struct err *err)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (!*arg || *end || n < 0 || n > 1 << 20)
		return err_set(err, -EINVAL, "--status-fd %s: not a descriptor's number", arg);
	if (fcntl(n, F_GETFD) < 0)
		return err_set(err, -EBADF, "--status-fd %s: that descriptor is not open", arg);
	*ret = n;
	return 0;
}

static int take_option(int c, struct exec_args *args, struct choices *how, struct err *err)
{
	switch (c) {
	case 't':
		how->tty = true;
		how->no_tty = false;
		return 0;
	case 'T':
		how->no_tty = true;
		how->tty = false;
		return 0;
	case 'n':
		args->no_stdin = true;
		return 0;
	case 'd':
		args->detach = true;
		return 0;
	case 'l':
		how->login = true;
		return 0;
	case 'i':
		how->interactive = true;
		return 0;
	case 'c':
		how->line = optarg;
		return 0;
	case 'e':
		return add_env(args, optarg, err);
	case 'w':
		args->workdir = optarg;
		return 0;
	case 'u':
		args->user = optarg;
		return 0;
	case OPT_TIMEOUT:
		args->timeout = optarg;
		return 0;
	case OPT_SANDBOX:
		args->sandbox = optarg;
		return 0;
	case OPT_MOUNT:
		args->mount = optarg;
		return 0;
	case OPT_NAME:
		args->name = optarg;
		return 0;
	case OPT_STATUS_FD:
		return parse_fd(optarg, &args->status_fd, err);
	case OPT_VERSION:
		args->version = true;
		return 0;
	case 'h':
	case OPT_HELP:
		args->help = true;
		return 0;
	default:
		return -EINVAL;
	}
}

/* The variables that AIB_PASS_ENV names; what -e says comes after them, and wins. */
static int add_passed_env(struct exec_args *args, struct err *err)
{
	const char *given = getenv("AIB_PASS_ENV");
	_cleanup_free_ char *names = strdup(given ? given : "");
	char *save = NULL;
	int r = names ? 0 : err_set(err, -ENOMEM, "out of memory");

	for (char *name = names ? strtok_r(names, ", ", &save) : NULL; name && r == 0;
	     name = strtok_r(NULL, ", ", &save))
		r = strchr(name, '=')
			? err_set(err, -EINVAL, "AIB_PASS_ENV: %s: not a variable's name", name)
			: add_env(args, name, err);
	return r;
}

/* $AIB_SHELL, or NAME. */
static const char *shell_or(const char *name)
{
	const char *shell = getenv("AIB_SHELL");

	return shell && *shell ? shell : name;
}

/* REST is what follows the options: a command, or the names and arguments of a shell line. */
static int make_argv(struct exec_args *args, const struct choices *how, char **rest, int n,
		     struct err *err)
{
	bool shell = how->line || how->login || how->interactive;
	size_t k = 0;

	if (n == 0 && !shell && !(isatty(STDIN_FILENO) && !args->no_stdin))
		return err_set(err, -EINVAL, "no command given; see aib-exec --help");
	args->argv = calloc(n + 6, sizeof(*args->argv));
	if (!args->argv)
		return err_set(err, -ENOMEM, "out of memory");
	if (shell || n == 0) {
		args->argv[k++] = shell_or("/bin/sh");
		if (how->login)
			args->argv[k++] = "-l";
		if (how->interactive)
			args->argv[k++] = "-i";
		if (how->line) {
			args->argv[k++] = "-c";
			args->argv[k++] = how->line;
		}
	}
	for (int i = 0; i < n; i++)
		args->argv[k++] = rest[i];
	return 0;
}

static bool is_at_terminal(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* The option that getopt_long did not like. C libraries differ in where optind is then. */
static const char *wrong_option(int argc, char **argv, char *letter)
{
	const char *last = optind <= argc ? argv[optind - 1] : NULL;

	if (last && strncmp(last, "--", 2) == 0)
		return last;
	for (const struct option *o = long_options; o->name && optopt > UCHAR_MAX; o++)
		if (o->val == optopt)
			return o->name;
	letter[1] = optopt;
	return letter;
}

int args_parse(int argc, char **argv, struct exec_args *ret, struct err *err)
{
	struct exec_args args = {.status_fd = -1};
	struct choices how = {0};
	char letter[] = "-?";
	int c, r = add_passed_env(&args, err);

	optind = 0; /* from the start, also where somebody parsed before */
	opterr = 0;
	while (r == 0 &&
	       (c = getopt_long(argc, argv, "+:tTndlihc:e:w:u:", long_options, NULL)) != -1) {
		if (c == ':')
			r = err_set(err, -EINVAL, "%s wants a value; see aib-exec --help",
				    wrong_option(argc, argv, letter));
		else if (c == '?')
			r = err_set(err, -EINVAL, "%s: no such option; see aib-exec --help",
				    wrong_option(argc, argv, letter));
		else
			r = take_option(c, &args, &how, err);
	}
	if (r == 0 && args.name && !args.detach)
		r = err_set(err, -EINVAL, "--name is a job's: it goes with -d");
	if (r == 0 && !args.help && !args.version)
		r = make_argv(&args, &how, argv + optind, argc - optind, err);
	if (r < 0) {
		args_done(&args);
		return r;
	}
	args.tty = how.tty || (!how.no_tty && !args.no_stdin && !args.detach && is_at_terminal());
	*ret = args;
	return 0;
}

/* ---- By a link ---- */

static bool is_shell(const char *name)
{
	static const char *const shells[] = {"sh", "bash", "dash", "ash", "zsh", "ksh"};

	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strcmp(shells[i], name) == 0)
			return true;
	return false;
}

/* The last component of ARGV0; *ret_login where it is led by a dash, as login(1) has it. */
static const char *name_of(const char *argv0, bool *ret_login)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *name = slash ? slash + 1 : argv0 ? argv0 : "";

	*ret_login = *name == '-';
	return name + *ret_login;
}

bool args_by_link(const char *argv0)
{
	bool login;
	const char *name = name_of(argv0, &login);

	return *name && strncmp(name, "aib-exec", strlen("aib-exec")) != 0;
}

int args_parse_link(int argc, char **argv, struct exec_args *ret, struct err *err)
{
	struct exec_args args = {.status_fd = -1, .tty = is_at_terminal()};
	bool login;
	const char *name = name_of(argv[0], &login);
	size_t k = 0;
	int r = add_passed_env(&args, err);

	args.argv = calloc(argc + 2, sizeof(*args.argv));
	if (r == 0 && !args.argv)
		r = err_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		args_done(&args);
		return r;
	}
	args.argv[k++] = is_shell(name) ? shell_or(name) : name;
	if (login)
		args.argv[k++] = "-l";
	for (int i = 1; i < argc; i++)
		args.argv[k++] = argv[i];
	*ret = args;
	return 0;
}

void args_done(struct exec_args *args)
{
	for (const char **e = args->env; e && *e; e++)
		free((char *)*e);
	free(args->env);
	free(args->argv);
	memset(args, 0, sizeof(*args));
}
