/*
 * The smallest program that serves a directory: what has to link into a static one without JSON,
 * and what test_remote talks to. DIR is served on standard input and output.
 */
#include "host/host.h"
#include "remote/serve.h"

#include <signal.h>
#include <string.h>

static int make(const char *dir, struct bk **ret)
{
	const struct bk_mount mount = {.can_switch_user = geteuid() == 0};
	struct host_conf conf = {
	    .path = strdup(dir), .symlinks = strdup("contain"), .blocking = strdup("no")};
	int r = host_new(&mount, "/", &conf, ret);

	if (r < 0)
		return r;
	r = (*ret)->ops->prepare(NULL, *ret, NULL, NULL, NULL);
	if (r < 0)
		bk_free(*ret);
	return r;
}

int main(int argc, char **argv)
{
	struct bk *bk;
	int r;

	umask(0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (argc != 2 || make(argv[1], &bk) < 0)
		return 125;
	r = remote_serve(bk, 0, 1, NULL);
	bk_free(bk);
	return r < 0;
}
