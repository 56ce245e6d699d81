#include "ssh.h"

#include "../../base/clock.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define LAST_WORDS_MS 500 /* for an ssh that hung up to say why, and end */
#define STATUS_NOT_FOUND 127
#define STATUS_OF_SSH 255

struct ssh_child {
	struct ssh_child *next;
	pid_t pid;    /* also of its session; 0 before it is started */
	int fd;	      /* libcurl's end; closed with the child */
	int listener; /* where libcurl connects that to, or -1 when it has */
	int way;      /* the path by which it does, likewise */
	int errors;   /* what it writes to standard error */
};

/* ---- Children ---- */

static int spawn(char *const argv[], int stream, int errors, pid_t *ret)
{
	posix_spawn_file_actions_t fds;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
					    POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&fds);
	posix_spawn_file_actions_adddup2(&fds, stream, 0);
	posix_spawn_file_actions_adddup2(&fds, stream, 1);
	posix_spawn_file_actions_adddup2(&fds, errors, 2);
	/* libcurl's own sockets are not all close-on-exec. */
	posix_spawn_file_actions_addclosefrom_np(&fds, 3);
	r = posix_spawnp(ret, argv[0], &fds, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&fds);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* Run ssh for C with STREAM as its standard input and output. */
static int child_start(const struct ssh *s, struct ssh_child *c, int stream)
{
	_cleanup_close_ int r_end = -1, w_end = -1;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	r_end = fds[0];
	w_end = fds[1];
	if (fcntl(r_end, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = spawn(ssh_argv(s), stream, w_end, &c->pid);
	if (r == 0)
		c->errors = TAKE_FD(r_end);
	return r;
}

/* Bind FD to a name in a directory of its own that is gone again: *RET leads to it all the same. */
static int bind_nameless(int fd, int *ret)
{
	static const char name[] = "s";
	const char *tmp = getenv("TMPDIR");
	_cleanup_close_ int dir_fd = -1;
	struct sockaddr_un place = {.sun_family = AF_UNIX};
	char dir[PATH_MAX];
	int r = 0;

	if (snprintf(dir, sizeof(dir), "%s/aib-ssh-XXXXXX", tmp && *tmp ? tmp : "/tmp") >=
	    (int)sizeof(dir))
		return -ENAMETOOLONG;
	if (!mkdtemp(dir))
		return -errno;
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(place.sun_path, sizeof(place.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
	if (dir_fd < 0 || bind(fd, (const struct sockaddr *)&place, sizeof(place)) < 0 ||
	    (*ret = openat(dir_fd, name, O_PATH | O_CLOEXEC)) < 0)
		r = -errno;
	(void)unlinkat(dir_fd, name, 0);
	(void)rmdir(dir);
	return r;
}

/* A socket for libcurl to connect, and PLACE, where it will be taken by a child. (libcurl would not
 * use a connection again whose peer has an abstract name.) */
static int child_new(struct ssh_child **ret, struct sockaddr_un *place)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int listener =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	_cleanup_close_ int way = -1;
	struct ssh_child *c;
	int r;

	if (fd < 0 || listener < 0)
		return -errno;
	r = bind_nameless(listener, &way);
	if (r < 0)
		return r;
	if (listen(listener, 1) < 0)
		return -errno;
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	*place = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(place->sun_path, sizeof(place->sun_path), "/proc/self/fd/%d", way);
	*c = (struct ssh_child){
	    .fd = TAKE_FD(fd), .listener = TAKE_FD(listener), .way = TAKE_FD(way), .errors = -1};
	*ret = c;
	return 0;
}

/* Keep the last line of TEXT, which is another machine's. */
static void keep_last_line(char *to, size_t size, const char *text, size_t n)
{
	size_t start;

	while (n > 0 && (unsigned char)text[n - 1] <= ' ')
		n--;
	for (start = n; start > 0 && text[start - 1] != '\n';)
		start--;
	if (n - start >= size)
		n = start + size - 1;
	for (size_t i = start; i < n; i++)
		*to++ = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
	*to = '\0';
}

/* What a child that hung up says last. Its standard error ends when it does. */
static void listen_to(struct ssh_dialer *d, const struct ssh_child *c)
{
	uint64_t end = clock_ms() + LAST_WORDS_MS, now;
	char text[4096];
	size_t len = 0;

	while ((now = clock_ms()) < end) {
		struct pollfd p = {.fd = c->errors, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, end - now) <= 0)
			continue;
		if (len == sizeof(text)) { /* the newest half */
			len /= 2;
			memcpy(text, text + len, len);
		}
		n = read(c->errors, text + len, sizeof(text) - len);
		if (n <= 0)
			break;
		len += n;
	}
	keep_last_line(d->said, sizeof(d->said), text, len);
}

static bool has_hung_up(const struct ssh_child *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) == 1 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* The end of a child, by itself or not. */
static void child_end(struct ssh_dialer *d, struct ssh_child *c)
{
	bool by_itself = c->pid && has_hung_up(c);
	int status = 0;

	if (by_itself)
		listen_to(d, c);
	if (c->pid) {
		kill(-c->pid, SIGKILL);
		while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (by_itself)
		d->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	closep(&c->fd);
	closep(&c->listener);
	closep(&c->way);
	closep(&c->errors);
	free(c);
}

/* ---- Between libcurl and the children ---- */

static void cannot(struct ssh_dialer *d, int r)
{
	snprintf(d->said, sizeof(d->said), "cannot run ssh: %s", strerror(-r));
	d->status = STATUS_OF_SSH;
}

static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct ssh_dialer *d = ctx;
	struct ssh_child *c = NULL;
	struct sockaddr_un place;
	int r = child_new(&c, &place);

	if (r < 0) {
		cannot(d, r);
		return CURL_SOCKET_BAD;
	}
	memcpy(&address->addr, &place, sizeof(place));
	address->addrlen = sizeof(place);
	d->said[0] = '\0';
	d->status = -1;
	c->next = d->children;
	d->children = c;
	return c->fd;
}

void ssh_dialer_connect(struct ssh_dialer *d)
{
	for (struct ssh_child *c = d->children; c; c = c->next) {
		_cleanup_close_ int stream =
		    c->listener >= 0 ? accept4(c->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
		int r;

		if (stream < 0)
			continue;
		r = child_start(d->ssh, c, stream);
		close(TAKE_FD(c->listener));
		close(TAKE_FD(c->way));
		if (r < 0)
			cannot(d, r);
	}
}

static int on_close(void *ctx, curl_socket_t fd)
{
	struct ssh_dialer *d = ctx;

	for (struct ssh_child **p = &d->children, *c; (c = *p); p = &c->next) {
		if (c->fd != fd)
			continue;
		*p = c->next;
		child_end(d, c);
		return 0;
	}
	return close(fd);
}

CURLcode ssh_dialer_setup(struct ssh_dialer *d, const struct ssh *s, CURL *easy)
{
	CURLcode c;

	d->ssh = s;
	d->said[0] = '\0';
	d->status = -1;
	/* on_open says what it is connected to. */
	c = curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, "/ssh");
	if (c == CURLE_OK)
		c = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	if (c == CURLE_OK)
		c = curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, d);
	if (c == CURLE_OK)
		c = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	if (c == CURLE_OK)
		c = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, d);
	return c;
}

bool ssh_dialer_ended(const struct ssh_dialer *d)
{
	for (const struct ssh_child *c = d->children; c; c = c->next)
		if (has_hung_up(c))
			return true;
	return false;
}

/* ---- Why it failed ---- */

static int errno_of(const struct ssh_dialer *d)
{
	static const struct {
		const char *text;
		int err;
	} table[] = {
	    {"permission denied", EACCES},
	    {"verification failed", EACCES},
	    {"too many authentication failures", EACCES},
	    {"could not resolve", EHOSTUNREACH},
	    {"no route to host", EHOSTUNREACH},
	    {"network is unreachable", EHOSTUNREACH},
	    {"timed out", ETIMEDOUT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (strcasestr(d->said, table[i].text))
			return -table[i].err;
	return -ECONNREFUSED;
}

int ssh_dialer_failed(struct ssh_dialer *d, const char *name, struct err *err)
{
	if (d->status < 0 && d->children && d->children->pid && has_hung_up(d->children)) {
		listen_to(d, d->children);
		d->status = STATUS_OF_SSH;
	}
	if (d->status == STATUS_NOT_FOUND)
		return err_set(
		    err, -ECONNREFUSED,
		    "engine %s: %s; \"ssh_dial\" of the engine may name the program there "
		    "(podman, /usr/local/bin/docker)",
		    name, d->said);
	if (d->status <= 0 || !d->said[0])
		return 0;
	return err_set(err, errno_of(d), "engine %s: %s; try: %s", name, d->said,
		       ssh_by_hand(d->ssh));
}
