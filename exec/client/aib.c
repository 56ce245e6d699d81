/*
 * aib, the front command: finds the command that is meant and runs it, here or in the program
 * beside this one that does it. So it links neither libfuse nor any backend.
 */
#include "aib.h"

#include "base/std.h"
#include "base/suggest.h"
#include "client.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct command {
	const char *name, *summary, *usage;
	int (*run)(int argc, char **argv);
	const char *program;	  /* or: run this one … */
	const char *const *first; /* … with these before the arguments */
};

static int run_config(int argc, char **argv);
static int run_help(int argc, char **argv);

static const struct command commands[] = {
    {.name = "mount",
     .summary = "mount a tree of routes",
     .usage =
	 "aib mount [-c CONFIG] [-r ROUTE]... [-o OPT,...] [-f] [--supervise] MOUNTPOINT\n"
	 "\n"
	 "Makes every route usable, mounts, and leaves the daemon in the background. A route is\n"
	 "PATH=TYPE[:SOURCE][,KEY=VALUE]...:\n"
	 "\n"
	 "  -r /=memory,size=1G                  -r /project=host:$HOME/proj,exec=/py\n"
	 "  -r /data=host:/srv/data,readonly     -r /py=docker:python:3.12-slim\n"
	 "\n"
	 "  -c FILE        the configuration, JSON (default: $AIB_CONFIG, or none)\n"
	 "  -r ROUTE       a route; wins over one of the file with the same path\n"
	 "  -o OPT,...     options of the mount (`aibfs --help` lists them)\n"
	 "  -f             stay in the foreground and log to standard error\n"
	 "  --supervise    start the daemon again when it crashes or hangs\n"
	 "\n"
	 "`aibfs --help-routes` lists the types of routes and their keys.\n",
     .program = "aibfs"},
    {.name = "umount",
     .summary = "unmount, and wait until everything has ended",
     .usage = "aib umount [--lazy | --force] [MOUNTPOINT]\n"
	      "\n"
	      "Unmounts, removes the mount's containers and waits for the daemon's end. Without a "
	      "mount\n"
	      "point: $AIB_MOUNT, the mount of the working directory, or the only one.\n"
	      "\n"
	      "  -l, --lazy     take it from the tree now; it ends when its last user does\n"
	      "  -f, --force    end it though it is in use: its users get errors\n",
     .run = cmd_umount},
    {.name = "status",
     .summary = "list the mounts and their routes",
     .usage = "aib status [--json]\n"
	      "\n"
	      "Lists every mount of this user and of root, its routes and their sandboxes.\n",
     .run = cmd_status},
    {.name = "exec",
     .summary = "run a command in the sandbox of the working directory",
     .run = aib_exec_main},
    {.name = "read",
     .summary = "print a file's lines, numbered",
     .usage = ops_help_read,
     .run = cmd_operation},
    {.name = "write",
     .summary = "make a file of standard input, whole or not at all",
     .usage = ops_help_write,
     .run = cmd_operation},
    {.name = "edit",
     .summary = "replace a string in a file",
     .usage = ops_help_edit,
     .run = cmd_operation},
    {.name = "ls", .summary = "list a directory", .usage = ops_help_ls, .run = cmd_operation},
    {.name = "glob",
     .summary = "find files by a pattern of their paths",
     .usage = ops_help_glob,
     .run = cmd_operation},
    {.name = "grep",
     .summary = "find lines by a regular expression",
     .usage = ops_help_grep,
     .run = cmd_operation},
    {.name = "job",
     .summary = "list, follow, wait for, kill and remove jobs (aib-exec -d)",
     .usage =
	 "aib job ls [--json]\n"
	 "aib job logs [-f] [--stdout | --stderr] JOB\n"
	 "aib job wait JOB\n"
	 "aib job kill [-SIGNAL] JOB...\n"
	 "aib job rm JOB...\n"
	 "\n"
	 "A job is a command that was started with `aib-exec -d` or in .aib/jobs/. It goes on when "
	 "its\n"
	 "client ends, and when the daemon does where its sandbox stays.\n"
	 "\n"
	 "  ls             one a line: name, state, sandbox, time, command\n"
	 "  logs           what it wrote until now, to standard output and error\n"
	 "    -f, --follow    and what it writes, until it ends\n"
	 "    --stdout, --stderr   only this\n"
	 "  wait           until it ends; the exit status is the job's, as aib-exec's would be\n"
	 "  kill           TERM and, after a moment, KILL to all that it started; -KILL: at once;\n"
	 "                 another SIGNAL goes to its process group\n"
	 "  rm             forget it and its output; one that runs is killed\n"
	 "  --mount PATH   of this mount ($AIB_MOUNT; else the working directory's)\n",
     .run = cmd_job},
    {.name = "session",
     .summary = "sandboxes by name, with workspaces that last",
     .usage =
	 "aib session get NAME [--owner USER] [--idle-timeout D] [--image I] [-e K=V]... [...]\n"
	 "aib session ls | status NAME\n"
	 "aib session release NAME | rm [--workspace] NAME\n"
	 "aib session cleanup | shutdown\n"
	 "\n"
	 "Sessions of a mount that has a route of type sessions. get makes one where there is\n"
	 "none, and prints its workspace; what is said of it counts for a new one: --owner,\n"
	 "--idle-timeout, --runtime, --image, --engine, --network, --memory, --cpus, --pids, -e,\n"
	 "and -v /host/dir:/in/sandbox[:ro], which may be said several times, as -e.\n"
	 "release ends the session and its container; the workspace stays, and is the next one's.\n"
	 "rm does the same, and with --workspace deletes that too, a volume on an engine "
	 "included.\n"
	 "cleanup puts to sleep what is idle and removes containers that nobody owns; shutdown "
	 "puts\n"
	 "all to sleep that is not in use. Both print how many.\n"
	 "\n"
	 "  --mount PATH   of this mount\n"
	 "  --json         the whole answer\n",
     .run = cmd_session},
    {.name = "mcp",
     .summary = "serve agents that speak the Model Context Protocol",
     .usage =
	 "aib mcp [--mount DIR | [-c CONFIG] [-r ROUTE]... [-o OPT,...]] [-w DIR]\n"
	 "\n"
	 "Speaks the Model Context Protocol (2026-07-28, and 2024-11-05 to 2025-11-25) over "
	 "standard\n"
	 "input and output: the operations, exec, jobs and sessions as tools, files as resources.\n"
	 "With -c or -r it serves those routes by itself, without a mount and without /dev/fuse:\n"
	 "paths begin at /, and all of it ends with the input. Else it serves a mount, and paths "
	 "are\n"
	 "the mount's own.\n"
	 "\n"
	 "  --mount DIR    this mount ($AIB_MOUNT; else the working directory's, or the only one)\n"
	 "  -c FILE, -r ROUTE, -o OPT,...   as of aib mount\n"
	 "  -w DIR         where relative paths begin (else the working directory, where it is in\n"
	 "                 the mount, or the tree's root)\n"
	 "  --max-requests N      that run at once (64)\n"
	 "  --max-message SIZE    of one message of the client's (16M)\n"
	 "  --max-result SIZE     of one answer of the mount's (4M)\n",
     .program = "aib-mcp"},
    {.name = "config",
     .summary = "check a configuration, or show what is resolved",
     .usage = "aib config check FILE\n"
	      "aib config show [-c FILE] [-r ROUTE]... [-o OPT,...]\n"
	      "\n"
	      "check says what is wrong and where, and nothing where nothing is. show prints what "
	      "a mount\n"
	      "with these arguments would use, defaults and environment included, with secrets "
	      "masked.\n",
     .run = run_config},
    {.name = "runtime",
     .summary = "list, build and remove the images of runtimes",
     .usage = "aib runtime ls [--json]\n"
	      "aib runtime show NAME [--json]\n"
	      "aib runtime build NAME\n"
	      "aib runtime rm NAME [--dry-run]\n"
	      "aib runtime prune [--dry-run]\n"
	      "\n"
	      "A runtime is a recipe of a sandbox's image: `-r /py=runtime:NAME`, or \"runtime\" "
	      "of a\n"
	      "docker route. There are those built in, and \"runtimes\" of the configuration. An "
	      "image is\n"
	      "built at its first use; build does it before, and prints its name. rm removes the "
	      "images\n"
	      "of a runtime, prune those whose recipe is not in this configuration (any more); an "
	      "image\n"
	      "that a container is of stays.\n"
	      "\n"
	      "  -c FILE            the configuration (default: $AIB_CONFIG, or none)\n"
	      "  -o OPT,...         options of the mount: pull, build_network, build_timeout\n"
	      "      --engine NAME  one of its engines, or a URL (default: the usual one)\n"
	      "      --json         ls, show: as JSON\n"
	      "      --dry-run      rm, prune: only say what would go\n",
     .program = "aibfs",
     .first = (const char *const[]){"--runtime", NULL}},
    {.name = "doctor",
     .summary = "check this machine, and say what to do",
     .usage = "aib doctor [--json] [-c FILE]\n"
	      "\n"
	      "Checks FUSE, limits, places and engines. Ends with 1 where something is an error.\n",
     .program = "aibfs",
     .first = (const char *const[]){"--doctor", NULL}},
    {.name = "prune",
     .summary = "remove what killed daemons left and no mount owns",
     .usage =
	 "aib prune [--dry-run] [-c FILE]\n"
	 "\n"
	 "Removes containers of mounts whose daemon is dead (but those that are to be kept) and "
	 "of\n"
	 "sessions that are no more, and entries of dead daemons; stops containers of sessions "
	 "that no\n"
	 "daemon uses. Only what this user made on this machine. A line for each; --dry-run says\n"
	 "what it would do, and does nothing.\n",
     .program = "aibfs",
     .first = (const char *const[]){"--prune", NULL}},
    {.name = "help",
     .summary = "explain a command",
     .usage = "aib help [COMMAND]\n",
     .run = run_help},
};

int aib_fail(const struct err *err)
{
	if (err->text[0])
		fprintf(stderr, "aib: %s\n", err->text);
	return 1;
}

int aib_see_help(const char *command)
{
	fprintf(stderr, "aib: see aib %s --help\n", command);
	return 2;
}

/* ---- Programs beside this one ---- */

/* Become PROGRAM with the strings of FIRST (may be NULL) and those of ARGV from its second on. */
static int become(const char *program, const char *const *first, int argc, char **argv)
{
	_cleanup_free_ const char **args = calloc(argc + 8, sizeof(*args));
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
	size_t n = 0;

	if (!args || len < 0)
		return 1;
	path[len] = '\0';
	strcpy(strrchr(path, '/') + 1, program);
	args[n++] = program;
	while (first && *first)
		args[n++] = *first++;
	for (int i = 1; i < argc; i++)
		args[n++] = argv[i];
	execv(path, (char *const *)args);
	fprintf(stderr, "aib: %s: %s; is the installation complete?\n", path, strerror(errno));
	return 1;
}

static int run_config(int argc, char **argv)
{
	static const char *const check[] = {"--check-config", NULL}, *const show[] = {
									 "--show-config", NULL};

	if (argc == 3 && strcmp(argv[1], "check") == 0)
		return become("aibfs", check, argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "show") == 0)
		return become("aibfs", show, argc - 1, argv + 1);
	fprintf(stderr, "aib: config check FILE, or config show (aib config --help)\n");
	return 2;
}

/* ---- Help ---- */

static const struct command *find_command(const char *name)
{
	struct suggest s = {.word = name};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		suggest_offer(&s, commands[i].name);
	}
	if (s.best)
		fprintf(stderr, "aib: unknown command \"%s\" (did you mean \"%s\"?)\n", name,
			s.best);
	else
		fprintf(stderr, "aib: unknown command \"%s\" (aib help)\n", name);
	return NULL;
}

static int print_help(const struct command *c)
{
	char *help[] = {(char *)c->name, (char *)"--help", NULL};

	if (!c->usage)
		return c->run(2, help);
	printf("aib %s - %s\n\n%s", c->name, c->summary, c->usage);
	return 0;
}

static void print_usage(FILE *out)
{
	fprintf(out,
		"aib - agent sandboxes as a filesystem\n\nusage: aib COMMAND [ARGUMENT]...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\n`aib COMMAND --help` says more; `aib --version` the version.\n");
}

static int run_help(int argc, char **argv)
{
	const struct command *c;

	if (argc < 2) {
		print_usage(stdout);
		return 0;
	}
	c = find_command(argv[1]);
	return c ? print_help(c) : 2;
}

/* ---- */

static int run_command(const struct command *c, int argc, char **argv)
{
	/* Where exec's own arguments end and its command's begin, it knows itself. */
	for (int i = 1; c->usage && i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return print_help(c);
		if (strcmp(argv[i], "--version") == 0) {
			puts("aib " AIB_VERSION);
			return 0;
		}
	}
	return c->run ? c->run(argc, argv) : become(c->program, c->first, argc, argv);
}

int main(int argc, char **argv)
{
	const struct command *c;

	std_open();
	if (argc < 2) {
		print_usage(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("aib " AIB_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_usage(stdout);
		return 0;
	}
	c = find_command(argv[1]);
	return c ? run_command(c, argc - 1, argv + 1) : 2;
}
