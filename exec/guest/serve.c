/*
 * The guest transport: the container's whole tree, from its root, served to the daemon by the host
 * backend behind remote_serve. Links are shown as they are stored, since what they may lead to is
 * judged where they are followed. It ends with its stream and leaves nothing but the commands that
 * it was told to start, which do not end with it.
 *
 * What is to be searched in the tree is searched here (ops/far.h).
 *
 * With --direct it offers a socket beside the stream (remote/offer.h). The daemon takes one of
 * both; then the stream is only the line that its life hangs on. Over the socket alone it starts
 * commands, always with itself as the program: their arguments begin with its name and a verb.
 */
#include "guest.h"

#include "start.h"

#include "base/caps.h"
#include "base/spin.h"
#include "host/host.h"
#include "ops/far.h"
#include "remote/offer.h"
#include "remote/serve.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

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

/* Nobody waits for what was started: the kernel does. */
static void ignore_children(void)
{
	const struct sigaction act = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};

	sigaction(SIGCHLD, &act, NULL);
}

/* Whether this is root, and not one whom any of CAPABILITIES (CAP_TO_MASK, below 32) was taken
 * from. */
static bool is_root_with(uint32_t capabilities)
{
	struct __user_cap_data_struct caps[2];

	return geteuid() == 0 && caps_get(caps) == 0 &&
	       (caps[0].effective & capabilities) == capabilities;
}

#define SWITCH_USER (CAP_TO_MASK(CAP_SETUID) | CAP_TO_MASK(CAP_SETGID))

static int make(struct bk **ret, struct err *err)
{
	const struct bk_mount mount = {.can_switch_user = is_root_with(SWITCH_USER)};
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

/* ---- Two ways ---- */

/* PAIR is both ends of a socket, ours first; -1 where there is none. */
static int offer_socket(int out, int pair[2])
{
	struct remote_offer offer = {.fd = -1};
	uint8_t bytes[REMOTE_OFFER_SIZE];
	const ssize_t size = sizeof(offer.nonce);

	pair[0] = pair[1] = -1;
	if (getrandom(offer.nonce, size, 0) == size &&
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 &&
	    write(pair[0], offer.nonce, size) == size)
		offer.fd = pair[1];
	remote_offer_put(bytes, &offer);
	return write(out, bytes, sizeof(bytes)) == sizeof(bytes) ? 0 : -EIO;
}

/* Wait for the first word. */
static bool is_direct(int in, int own)
{
	struct pollfd p[] = {{.fd = in, .events = POLLIN}, {.fd = own, .events = POLLIN}};

	while (poll(p, ARRAY_SIZE(p), -1) < 0 && errno == EINTR)
		;
	return p[1].revents & POLLIN;
}

struct life {
	int in, socket;
};

/* The stream says nothing any more: whatever comes is the end. */
static void *watch_life(void *arg)
{
	struct life *l = arg;
	char byte;

	while (read(l->in, &byte, 1) < 0 && errno == EINTR)
		;
	(void)shutdown(l->socket, SHUT_RDWR);
	return NULL;
}

static int serve_direct(struct bk *bk, struct remote_serve_conf conf, int in, int socket)
{
	static struct life life;
	pthread_t thread;
	int e;

	life = (struct life){in, fcntl(socket, F_DUPFD_CLOEXEC, 3)};
	e = life.socket < 0 ? errno : pthread_create(&thread, NULL, watch_life, &life);
	if (e != 0) {
		closep(&socket);
		return -e;
	}
	/* A command that cannot become its user, or whose tree could not be ended: the engine can.
	 */
	if (is_root_with(SWITCH_USER | CAP_TO_MASK(CAP_KILL)))
		conf.exec = start;
	return remote_serve(bk, socket, socket, &conf);
}

/* What a pipe holds at once; an engine's copies from one to the next are woken for each filling. */
#define PIPE_SIZE (1 << 20)

static int serve_stream(struct bk *bk, const struct remote_serve_conf *conf, int in, int out)
{
	(void)fcntl(out, F_SETPIPE_SZ, PIPE_SIZE);
	return remote_serve(bk, in, out, conf);
}

static int serve_either(struct bk *bk, const struct remote_serve_conf *conf, int in, int out)
{
	int pair[2], r = offer_socket(out, pair);
	bool direct = r == 0 && is_direct(in, pair[0]);

	closep(&pair[1]);
	if (direct)
		return serve_direct(bk, *conf, in, pair[0]);
	closep(&pair[0]);
	return r < 0 ? r : serve_stream(bk, conf, in, out);
}

static int serve(struct bk *bk, bool direct, int in, int out)
{
	struct remote_serve_conf conf = {.search = far_server_search};
	struct far_server *searches = NULL;
	int r = far_server_new(bk, &searches);

	conf.ctx = searches;
	if (r == 0)
		r = direct ? serve_either(bk, &conf, in, out) : serve_stream(bk, &conf, in, out);
	far_server_free(searches);
	return r;
}

/* False: they are none that serve has. */
static bool parse_arguments(int argc, char **argv, bool *ret_direct)
{
	unsigned busy_poll = SPIN_US;

	*ret_direct = false;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--direct") == 0)
			*ret_direct = true;
		else if (sscanf(argv[i], "--busy-poll=%u", &busy_poll) != 1)
			return false;
	}
	spin_limit(busy_poll);
	return true;
}

int guest_serve(int argc, char **argv)
{
	struct err err = {""};
	struct bk *bk = NULL;
	bool direct;
	int in, out, r;

	if (!parse_arguments(argc, argv, &direct)) {
		fprintf(stderr, "usage: aib-guest serve [--direct] [--busy-poll=MICROSECONDS]\n");
		return GUEST_USAGE;
	}
	r = take_streams(&in, &out);
	if (r < 0)
		return GUEST_USAGE;
	start_init();
	ignore_children();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	r = make(&bk, &err);
	if (r < 0) {
		fprintf(stderr, "aib-guest serve: %s\n", err.text);
		return 1;
	}
	r = serve(bk, direct, in, out);
	start_done();
	bk_free(bk);
	return r < 0;
}
