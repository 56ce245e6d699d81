/*
 * The guest transport: the container's whole tree, from its root, served to the daemon by the host
 * backend behind remote_serve. Links are shown as they are stored, since what they may lead to is
 * judged where they are followed. It ends with its stream, has no child and leaves nothing.
 */
#include "guest.h"

#include "host/host.h"
#include "remote/serve.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/*
 * The stream, out of reach of whatever prints: only frames may go to standard output. What is
 * printed goes to standard error, which the daemon keeps for people.
 */
static int take_streams(int *ret_in, int *ret_out)
{
	int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);

	if (in < 0 || out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
	    dup2(STDERR_FILENO, STDIN_FILENO) < 0) {
		closep(&in);
		closep(&out);
		return -EBADF;
	}
	*ret_in = in;
	*ret_out = out;
	return 0;
}

/* Open files and cached nodes are descriptors: as many as this user may have. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Whether files can be made as their callers: root, and not one whom that was taken from. */
static bool can_switch_user(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	const uint32_t both = CAP_TO_MASK(CAP_SETUID) | CAP_TO_MASK(CAP_SETGID);

	return geteuid() == 0 && syscall(SYS_capget, &head, caps) == 0 &&
	       (caps[0].effective & both) == both;
}

static int make(struct bk **ret, struct err *err)
{
	const struct bk_mount mount = {.can_switch_user = can_switch_user()};
	struct host_conf conf = {
	    .path = strdup("/"), .symlinks = strdup("verbatim"), .blocking = strdup("no")};
	struct bk *bk;
	int r;

	if (!conf.path || !conf.symlinks || !conf.blocking) {
		host_conf_done(&conf);
		return err_set(err, -ENOMEM, "%s", strerror(ENOMEM));
	}
	r = host_new(&mount, "/", &conf, &bk);
	if (r < 0)
		return err_set(err, r, "%s", strerror(-r));
	r = bk->ops->prepare(NULL, bk, NULL, NULL, err);
	if (r < 0)
		bk_free(bk);
	else
		*ret = bk;
	return r;
}

int guest_serve(int argc, char **argv)
{
	struct err err = {""};
	struct bk *bk = NULL;
	int in, out, r;

	if (argc > 0) {
		fprintf(stderr, "aib-guest serve: takes no argument\n");
		return GUEST_USAGE;
	}
	r = take_streams(&in, &out);
	if (r < 0)
		return GUEST_USAGE;
	umask(0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	raise_limit();
	r = make(&bk, &err);
	if (r < 0) {
		fprintf(stderr, "aib-guest serve: %s\n", err.text);
		return 1;
	}
	r = remote_serve(bk, in, out, NULL);
	bk_free(bk);
	return r < 0;
}
