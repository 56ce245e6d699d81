/* See direct.h. */
#include "direct.h"

#include "devices.h"

#include "../base/clock.h"
#include "../base/procpid.h"

#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#define READ_AGAIN_MS 1000

struct direct {
	int pidfd;
	pid_t pid; /* what it means holds while the process lives */
	bool is_root;

	pthread_mutex_t lock; /* guards the two below; a leaf */
	struct devices devices;
	uint64_t read_ms;
};

/* What was read of /proc/PID before this was read of the process that PIDFD is. */
static bool lives(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* Whether one of PID's control groups has ID in its name. */
static bool is_in_container(pid_t pid, const char *id)
{
	_cleanup_fclose_ FILE *groups = *id ? procpid_fopen(pid, "cgroup") : NULL;
	char line[4096];
	bool found = false;

	while (groups && !found && fgets(line, sizeof(line), groups))
		found = strstr(line, id);
	return found;
}

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

/* Whether FD is the socket that was offered: looked at, nothing is read from one that is not. */
static bool is_offered(int fd, const struct remote_offer *offer)
{
	uint8_t nonce[REMOTE_OFFER_NONCE];

	return socket_option(fd, SO_DOMAIN) == AF_UNIX &&
	       socket_option(fd, SO_TYPE) == SOCK_STREAM &&
	       recv(fd, nonce, sizeof(nonce), MSG_PEEK | MSG_DONTWAIT) == sizeof(nonce) &&
	       memcmp(nonce, offer->nonce, sizeof(nonce)) == 0 &&
	       recv(fd, nonce, sizeof(nonce), MSG_DONTWAIT) == sizeof(nonce);
}

static int take_socket(struct direct *d, const char *id, const struct remote_offer *offer,
		       int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = -1;
	bool ours;

	d->pidfd = syscall(SYS_pidfd_open, d->pid, 0);
	if (d->pidfd < 0)
		return err_set(err, -errno, "pidfd_open: %s", strerror(errno));
	ours = is_in_container(d->pid, id);
	if (!ours || !lives(d->pidfd))
		return err_set(err, -ESRCH, "its process is none of this machine");
	fd = syscall(SYS_pidfd_getfd, d->pidfd, offer->fd, 0);
	if (fd < 0)
		return err_set(err, -errno, "pidfd_getfd: %s", strerror(errno));
	if (!is_offered(fd, offer))
		return err_set(err, -EPROTO, "what it offers is not its socket");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- Rights ---- */

#define CHANGE_FILES                                                                               \
	(CAP_TO_MASK(CAP_CHOWN) | CAP_TO_MASK(CAP_DAC_OVERRIDE) | CAP_TO_MASK(CAP_FOWNER) |        \
	 CAP_TO_MASK(CAP_FSETID))

static bool has_our_users(pid_t pid)
{
	_cleanup_fclose_ FILE *map = procpid_fopen(pid, "uid_map");
	unsigned first, ours, n;

	return map && fscanf(map, "%u %u %u", &first, &ours, &n) == 3 && first == 0 && ours == 0 &&
	       n == UINT32_MAX;
}

static bool may_change_files(pid_t pid)
{
	_cleanup_fclose_ FILE *status = procpid_fopen(pid, "status");
	unsigned long long caps = 0;
	unsigned uid = 1;
	char line[4096];

	while (status && fgets(line, sizeof(line), status)) {
		(void)sscanf(line, "Uid: %*u %u", &uid);
		(void)sscanf(line, "CapEff: %llx", &caps);
	}
	return uid == 0 && (caps & CHANGE_FILES) == CHANGE_FILES;
}

bool direct_is_root(const struct direct *d)
{
	return d->is_root;
}

/* ---- File systems ---- */

static void read_devices_locked(struct direct *d)
{
	struct devices now = {.list = NULL};

	d->read_ms = clock_ms();
	if (devices_read(&now, d->pid) < 0)
		return;
	if (!lives(d->pidfd)) {
		devices_done(&now);
		return;
	}
	devices_done(&d->devices);
	d->devices = now;
}

bool direct_has_file(void *ctx, const struct stat *st)
{
	struct direct *d = ctx;
	bool has;

	pthread_mutex_lock(&d->lock);
	has = devices_have(&d->devices, st->st_dev);
	if (!has && clock_ms() - d->read_ms >= READ_AGAIN_MS) {
		read_devices_locked(d);
		has = devices_have(&d->devices, st->st_dev);
	}
	pthread_mutex_unlock(&d->lock);
	return has;
}

/* ---- Life ---- */

int direct_take(pid_t pid, const char *id, const struct remote_offer *offer, struct direct **ret,
		int *ret_fd, struct err *err)
{
	struct direct *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(err, -ENOMEM, "%s", strerror(ENOMEM));
	d->pid = pid;
	d->pidfd = -1;
	pthread_mutex_init(&d->lock, NULL);
	r = take_socket(d, id, offer, ret_fd, err);
	if (r < 0) {
		direct_free(d);
		return r;
	}
	d->is_root = has_our_users(pid) && may_change_files(pid) && lives(d->pidfd);
	pthread_mutex_lock(&d->lock);
	read_devices_locked(d);
	pthread_mutex_unlock(&d->lock);
	*ret = d;
	return 0;
}

void direct_free(struct direct *d)
{
	if (!d)
		return;
	devices_done(&d->devices);
	pthread_mutex_destroy(&d->lock);
	closep(&d->pidfd);
	free(d);
}
