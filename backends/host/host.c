/*
 * The host backend: its life, and its table of operations.
 */
#include "host.h"

#include "base/log.h"
#include "base/path.h"

#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* ---- What prepare finds out ---- */

static int check_mountpoint(const struct host *h, struct err *err)
{
	_cleanup_free_ char *real = realpath(h->conf.path, NULL);

	if (!real)
		return err_set(err, -errno, "host directory %s: %s", h->conf.path, strerror(errno));
	if (!h->mountpoint || h->mountpoint[0] != '/')
		return 0;
	if (path_below(h->mountpoint, real))
		return err_set(
		    err, -EINVAL,
		    "host directory %s contains the mount point %s: a host route that contains "
		    "the mount point deadlocks; mount elsewhere, or choose a directory below",
		    h->conf.path, h->mountpoint);
	if (path_below(real, h->mountpoint))
		return err_set(
		    err, -EINVAL,
		    "host directory %s lies within the mount point %s and would be covered by "
		    "the mount; mount elsewhere",
		    h->conf.path, h->mountpoint);
	return 0;
}

static int check_proc(struct err *err)
{
	struct statfs st;

	if (statfs("/proc/self/fd", &st) == 0 && st.f_type == PROC_SUPER_MAGIC)
		return 0;
	return err_set(err, -ENOSYS, "/proc is not mounted; host directories need it");
}

/* Other users of descriptors (open files, other routes) need the most of them. */
static unsigned fd_budget(const struct host *h)
{
	struct rlimit limit;
	rlim_t n;

	if (h->conf.fd_cache > 0)
		return h->conf.fd_cache < INT_MAX ? h->conf.fd_cache : INT_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 64;
	n = limit.rlim_cur / 16;
	return n < 32 ? 32 : n > 4096 ? 4096 : n;
}

static const struct bk_ops host_ops, host_blocking_ops;

static int host_prepare(struct bk_req *req, struct bk *bk, void (*progress)(void *, const char *),
			void *ctx, struct err *err)
{
	struct host *h = container_of(bk, struct host, bk);
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = check_proc(err);

	if (r == 0)
		r = check_mountpoint(h, err);
	if (r < 0)
		return r;
	fd = open(h->conf.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "host directory %s: %s", h->conf.path, strerror(errno));
	host_probe(h, fd);
	h->fds.budget = fd_budget(h);
	if (!strcmp(h->conf.blocking, "yes") ||
	    (!strcmp(h->conf.blocking, "auto") && host_is_remote(fd)))
		h->bk.blocking = true;
	h->bk.ops = h->bk.blocking ? &host_blocking_ops : &host_ops;
	r = h->switch_user ? caps_get(h->caps) : 0;
	if (r == 0)
		r = host_node_for(h, NULL, NULL, TAKE_FD(fd), &h->root, &st);
	if (r < 0)
		return err_set(err, r, "host directory %s: %s", h->conf.path, strerror(-r));
	host_fds_give(h, h->root, -1, true);
	h->root_dev = h->bk.ino_dev = st.st_dev;
	h->bk.root_ino = st.st_ino;
	return 0;
}

void host_conf_done(struct host_conf *c)
{
	free(TAKE(c->path));
	free(TAKE(c->symlinks));
	free(TAKE(c->blocking));
	free(TAKE(c->outside));
	free(TAKE(c->place));
}

static void host_destroy(struct bk *bk)
{
	struct host *h = container_of(bk, struct host, bk);

	host_node_unref(TAKE(h->root));
	if (h->nodes)
		log_error("route %s: %u files still in use at the end", bk->route,
			  HASH_COUNT(h->nodes));
	closer_done(&h->closer);
	pthread_mutex_destroy(&h->lock);
	pthread_mutex_destroy(&h->fds.lock);
	pthread_rwlock_destroy(&h->moving);
	for (size_t i = 0; i < HOST_NAME_LOCKS; i++)
		pthread_mutex_destroy(&h->names[i]);
	host_conf_done(&h->conf);
	for (size_t i = 0; i < HOST_SPARE_DIRS; i++)
		free(h->spare_dirs[i]);
	free(h->mountpoint);
	bk_done(bk);
	free(h);
}

static struct bk_node *host_root(struct bk *bk)
{
	return bk_node_ref(&container_of(bk, struct host, bk)->root->base);
}

static const char *host_dir_path(struct bk *bk)
{
	return container_of(bk, struct host, bk)->conf.path;
}

/* ---- Operations ---- */

#define HOST_OPS                                                                                   \
	.type = "host", .prepare = host_prepare, .destroy = host_destroy, .root = host_root,       \
	.node_free = host_node_free, .lookup = host_lookup, .mknod = host_mknod,                   \
	.mkdir = host_mkdir, .symlink = host_symlink, .link = host_link, .unlink = host_unlink,    \
	.rmdir = host_rmdir, .rename = host_rename, .getattr = host_getattr,                       \
	.setattr = host_setattr, .born = host_born, .readlink = host_readlink,                     \
	.statfs = host_statfs, .getxattr = host_getxattr, .listxattr = host_listxattr,             \
	.setxattr = host_setxattr, .removexattr = host_removexattr, .open = host_open,             \
	.peek = host_peek, .create = host_create, .tmpfile = host_tmpfile, .read = host_read,      \
	.write = host_write, .fsync = host_fsync, .release = host_release, .lseek = host_lseek,    \
	.fallocate = host_fallocate, .backing_fd = host_backing_fd, .opendir = host_opendir,       \
	.readdir = host_readdir, .fsyncdir = host_fsyncdir, .host_dir = host_dir_path

static const struct bk_ops host_ops = {HOST_OPS};
/* Only a file system that is elsewhere has anything to tell at close(2). */
static const struct bk_ops host_blocking_ops = {HOST_OPS, .flush = host_flush};

/* ---- Making one ---- */

static void configure(struct host *h, struct host_conf *conf)
{
	h->conf = *conf;
	*conf = (struct host_conf){.path = NULL};
	h->contain = strcmp(h->conf.symlinks, "contain") == 0;
	h->bk.entry_ttl_ms = h->bk.negative_ttl_ms = h->conf.entry_timeout;
	h->bk.attr_ttl_ms = h->conf.attr_timeout;
}

int host_new(const struct bk_mount *mount, const char *route, struct host_conf *conf,
	     struct bk **ret)
{
	struct host *h = calloc(1, sizeof(*h));
	int r = h ? bk_init(&h->bk, &host_ops, route) : -ENOMEM;

	if (r < 0) {
		free(h);
		host_conf_done(conf);
		return r;
	}
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_init(&h->fds.lock, NULL);
	pthread_rwlock_init(&h->moving, NULL);
	for (size_t i = 0; i < HOST_NAME_LOCKS; i++)
		pthread_mutex_init(&h->names[i], NULL);
	h->switch_user = mount->can_switch_user;
	configure(h, conf);
	if (mount->mountpoint)
		h->mountpoint = strdup(mount->mountpoint);
	r = mount->mountpoint && !h->mountpoint ? -ENOMEM : closer_init(&h->closer);
	if (r < 0)
		host_destroy(&h->bk);
	else
		*ret = &h->bk;
	return r;
}
