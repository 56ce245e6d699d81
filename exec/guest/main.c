/* aib-guest: chooses the verb. */
#include "guest.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
    {"init", guest_init, "init                              be PID 1 of a container"},
    {"run", guest_run,
     "run [-t ROWSxCOLS] [-2 1] [-T MS] [-C DIR] [-P PWD] [-u USER[:GROUP]] [-e NAME=VALUE]...\n"
     "                     [-j ID [-J MS]] -- CMD [ARG...]\n"
     "                                            run one command; frames on stdin and stdout"},
    {"next", guest_next,
     "next                              run one command, which is told on stdin (by serve)"},
    {"attach", guest_attach,
     "attach ID                         take over the frames of a job, a command with -j ID"},
    {"fs", guest_fs,
     "fs VERB ARG...                    change one file; fs --help lists the verbs"},
    {"serve", guest_serve,
     "serve [--direct] [--busy-poll=US] serve the files from / down; frames on stdin and stdout"},
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static int usage(FILE *to, int status)
{
	fputs("aib-guest " AIB_VERSION ", the part of aib that runs inside a container\n", to);
	for (size_t i = 0; i < N_VERBS; i++)
		fprintf(to, "%s aib-guest %s\n", i ? "      " : "usage:", verbs[i].help);
	fputs("       aib-guest --version | --help\n", to);
	return status;
}

int main(int argc, char **argv)
{
	/* One that serve started was executed as /proc/self/exe. */
	(void)prctl(PR_SET_NAME, ".aib-guest");
	if (argc < 2)
		return usage(stderr, GUEST_USAGE);
	if (strcmp(argv[1], "--version") == 0)
		return puts("aib-guest " AIB_VERSION) < 0;
	if (strcmp(argv[1], "--help") == 0)
		return usage(stdout, 0);
	for (size_t i = 0; i < N_VERBS; i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 2, argv + 2);
	fprintf(stderr, "aib-guest: no verb \"%s\"\n", argv[1]);
	return usage(stderr, GUEST_USAGE);
}
