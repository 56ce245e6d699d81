/*
 * The session: what is negotiated with the kernel, mounting, and the order of the end. At the end
 * nobody reads requests any more, then calls that run may finish, then they are cancelled, then
 * what is open is flushed; nothing is freed that a call which does not end may still use.
 */
#include "fs.h"

#include "loop.h"
#include "uring.h"

#include "base/log.h"
#include "base/near.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#define MAX_WRITE (1 << 20)
#define MAX_BACKGROUND 64
#define FINISH_MS 2000
#define CANCEL_MS 3000
/* The protocol 7.N that has FUSE_NOTIFY_INC_EPOCH. */
#define EPOCH_MINOR 44

const struct fs_conf fs_conf_default = {
    .timeout_ms = 30000,
    .threads = 8,
    .pool_threads = 8,
    .pool_queue = 1024,
    .pool_idle_ms = 10000,
    .max_open = 65536,
    .linger_ms = 1000,
    .max_nodes = 16 << 20,
    .passthrough = true,
    .follow_caller = true,
};

/* ---- Negotiation ---- */

static void want(struct fuse_conn_info *conn, uint64_t flag, bool on)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	if (on)
		(void)fuse_set_feature_flag(conn, flag);
	else
		fuse_unset_feature_flag(conn, flag);
#else
	conn->want &= ~flag;
	if (on)
		conn->want |= flag & conn->capable;
#endif
}

void fs_give_up_rights(void)
{
	backing_give_up_rights();
}

/* Negotiate passthrough. Returns NULL, or why there is none. */
static const char *start_passthrough(struct fs *fs, struct fuse_conn_info *conn)
{
#ifdef HAVE_PASSTHROUGH
	want(conn, FUSE_CAP_PASSTHROUGH, false);
	if (fs->unshared)
		return "the kernel keeps files of memory itself";
	if (!fs->conf.passthrough)
		return "it is not wanted";
	if (!(conn->capable & FUSE_CAP_PASSTHROUGH))
		return "the kernel has none (it came with Linux 6.9)";
	if (backing_start(&fs->backings, fuse_session_fd(fs->se), fs->conf.linger_ms,
			  fs->conf.max_open) < 0)
		return "the daemon is not privileged (CAP_SYS_ADMIN)";
	want(conn, FUSE_CAP_PASSTHROUGH, true);
	/* Files on an overlayfs too, such as a container's. libfuse sends one more, and the kernel
	 * turns passthrough off in silence where that is more than 2. */
	conn->max_backing_stack_depth = 1;
	return NULL;
#else
	return "built with libfuse older than 3.17";
#endif
}

static void start_recall(struct fs *fs, const struct fuse_conn_info *conn)
{
#ifdef HAVE_EPOCH
	fs->recall.epoch = conn->proto_minor >= EPOCH_MINOR;
#endif
	atomic_store(&fs->recall.ready, true);
}

/* Where nobody else changes the files, the kernel opens them by itself, and its pages and times are
 * the newest. With ATOMIC_O_TRUNC it would ask for truncation in an open that it does not send. */
static void start_unshared(struct fs *fs, struct fuse_conn_info *conn)
{
	const uint64_t needs =
	    FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT;

	fs->unshared = fs->unshared && (conn->capable & needs) == needs;
	want(conn, FUSE_CAP_WRITEBACK_CACHE, fs->unshared);
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, !fs->unshared);
}

static void session_init(void *userdata, struct fuse_conn_info *conn)
{
	const char *why;

	start_unshared(userdata, conn);
	why = start_passthrough(userdata, conn);
	start_recall(userdata, conn);
	log_info("passthrough: %s%s", why ? "off: " : "on", why ? why : "");
	want(conn, FUSE_CAP_ASYNC_READ, true);
	want(conn, FUSE_CAP_ASYNC_DIO, true);
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, true);
	want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	want(conn, FUSE_CAP_READDIRPLUS, true);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO, true);
	want(conn, FUSE_CAP_HANDLE_KILLPRIV, false);
	want(conn, FUSE_CAP_SPLICE_READ, false);
#ifdef HAVE_KILL_SUIDGID
	want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2, true);
#endif
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
	want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP, true);
#endif
	conn->max_write = MAX_WRITE;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
}

static const struct fuse_lowlevel_ops handlers = {
    .init = session_init,
    .lookup = meta_lookup,
    .forget = meta_forget,
    .forget_multi = meta_forget_multi,
    .getattr = meta_getattr,
    .setattr = meta_setattr,
#ifdef HAVE_STATX
    .statx = meta_statx,
#endif
    .readlink = meta_readlink,
    .statfs = meta_statfs,
    .mknod = meta_mknod,
    .mkdir = meta_mkdir,
    .symlink = meta_symlink,
    .link = meta_link,
    .unlink = meta_unlink,
    .rmdir = meta_rmdir,
    .rename = meta_rename,
    .getxattr = xattr_get,
    .listxattr = xattr_list,
    .setxattr = xattr_set,
    .removexattr = xattr_remove,
    .opendir = dir_open,
    .readdir = dir_read,
    .readdirplus = dir_read_plus,
    .fsyncdir = dir_fsync,
    .releasedir = io_release,
    .open = io_open,
    .create = io_create,
#ifdef HAVE_TMPFILE
    .tmpfile = io_tmpfile,
#endif
    .read = io_read,
    .write = io_write,
    .flush = io_flush,
    .fsync = io_fsync,
    .release = io_release,
    .lseek = io_lseek,
    .fallocate = io_fallocate,
};

/* ---- Making ---- */

int fs_new(struct bk *root, const struct fs_conf *conf, struct fs **ret)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	struct bk_node *node = bk_root(root);
	bool unshared = node && node->bk->unshared && !node->bk->readonly;
	struct pool_conf pool = {
	    .threads = conf->pool_threads,
	    .queue = conf->pool_queue,
	    .idle_ms = conf->pool_idle_ms,
	};

	if (fs && node) {
		fs->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fs->ended >= 0 && inode_init(&fs->inodes, TAKE(node), conf->max_nodes) == 0) {
			fs->root = root;
			fs->conf = *conf;
			fs->unshared = unshared;
			handle_init(&fs->handles, conf->max_open);
			backing_init(&fs->backings);
			recall_init(&fs->recall);
			settle_init(&fs->settle, fs);
			listed_init(&fs->listed);
			pools_init(&fs->pools, &pool, conf->threads);
			watch_init(&fs->watch);
			*ret = fs;
			return 0;
		}
		closep(&fs->ended);
	}
	bk_node_unref(node);
	free(fs);
	return -ENOMEM;
}

/* ---- Mounting ---- */

static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[1024];
	size_t n;

	vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	log_line(level <= FUSE_LOG_ERR	     ? LOG_LEVEL_ERROR
		 : level <= FUSE_LOG_WARNING ? LOG_LEVEL_WARNING
					     : LOG_LEVEL_INFO, /* its debug lines were asked for */
		 "%s", text);
}

static int copy_args(const struct fs *fs, const struct fuse_args *args, struct fuse_args *ret)
{
	char ours[128];
	int r = fuse_opt_add_arg(ret, args && args->argc > 0 ? args->argv[0] : "aibfs");

	/* What the user says comes last, and wins. */
	snprintf(ours, sizeof(ours),
		 "-odefault_permissions,nosuid,nodev,fsname=aib,subtype=aibfs%s%s%s",
		 fs->conf.allow_other ? ",allow_other" : "", fs->conf.debug ? ",debug" : "",
		 fs->conf.io_uring ? ",io_uring" : "");
	if (r == 0)
		r = fuse_opt_add_arg(ret, ours);
	for (int i = 1; args && i < args->argc && r == 0; i++)
		r = fuse_opt_add_arg(ret, args->argv[i]);
	return r == 0 ? 0 : -ENOMEM;
}

/* Follow callers. Returns NULL, or why none is followed: all is as right without. */
static const char *start_near(const struct fs *fs)
{
	int r;

	if (!fs->conf.follow_caller)
		return "it is not wanted";
	r = near_start();
	if (r == -ENOTSUP)
		return "one processor, or another policy";
	if (r == -EPERM)
		return "the daemon is not privileged (CAP_SYS_NICE)";
	return r < 0 ? strerror(-r) : NULL;
}

int fs_mount(struct fs *fs, const char *mountpoint, struct fuse_args *args)
{
	struct fuse_args all = FUSE_ARGS_INIT(0, NULL);
	int r = copy_args(fs, args, &all);
	const char *why;

	fuse_set_log_func(log_libfuse);
	if (r == 0) {
		fs->se = fuse_session_new(&all, &handlers, sizeof(handlers), fs);
		r = fs->se ? 0 : -EINVAL;
	}
	fuse_opt_free_args(&all);
	if (r < 0)
		return r;
	why = start_near(fs);
	log_info("following callers: %s%s", why ? "off: " : "on", why ? why : "");
	if (fuse_session_mount(fs->se, mountpoint) != 0) {
		fuse_session_destroy(TAKE(fs->se));
		return -EIO;
	}
	/* A child that held it would keep callers waiting after this process died. */
	(void)fcntl(fuse_session_fd(fs->se), F_SETFD, FD_CLOEXEC);
	return 0;
}

/* ---- Running and ending ---- */

/* Read no more, let the calls that run finish, then cancel them. Returns whether all ended. */
static bool end_calls(struct fs *fs, struct loop *loop)
{
	bool read = loop_stop(loop, FINISH_MS);
	bool ended = pools_stop(&fs->pools, read ? FINISH_MS : 0);

	watch_stop(&fs->watch);
	watch_end_all(&fs->watch, -EINTR);
	read = read || loop_stop(loop, CANCEL_MS);
	return (ended || pools_stop(&fs->pools, CANCEL_MS)) && read;
}

/* A thread that reads requests, or one that came since: not all hang in theirs. */
static void beat(struct watch *w)
{
	struct fs *fs = container_of(w, struct fs, watch);
	unsigned long requests = atomic_load(&fs->requests);

	if (atomic_load(&fs->readers) > 0 || requests != fs->beaten)
		fs->conf.alive(fs->conf.ctx);
	fs->beaten = requests;
}

static void expire(struct watch *w)
{
	struct fs *fs = container_of(w, struct fs, watch);
	uint64_t ms = backing_expire(&fs->backings);

	if (ms > 0)
		watch_later(w, ms);
}

int fs_run(struct fs *fs)
{
	struct loop *loop;
	int r;

	fs->watch.beat = beat;
	fs->watch.beat_ms = fs->conf.alive_ms;
	fs->watch.later = expire;
	r = watch_start(&fs->watch);
	if (r == 0)
		r = settle_start(&fs->settle);
	if (r == 0)
		r = loop_start(fs, &loop);
	if (r < 0) {
		watch_stop(&fs->watch);
		return r;
	}
	loop_wait(loop);
	near_stop();
	if (!end_calls(fs, loop)) {
		log_error("a call does not end; what it uses is left behind");
		fs->stuck = true;
		return -ETIMEDOUT;
	}
	if (fs->conf.io_uring)
		uring_stop(fs->se);
	loop_free(loop);
	return 0;
}

void fs_exit(struct fs *fs)
{
	uint64_t one = 1;
	int saved = errno;

	(void)!write(fs->ended, &one, sizeof(one));
	errno = saved;
}

void fs_figures(struct fs *fs, struct fs_figures *ret)
{
	*ret = (struct fs_figures){
	    .nodes = inode_count(&fs->inodes),
	    .open = handle_count(&fs->handles),
	    .passthrough = backing_count(&fs->backings),
	    .recalls = atomic_load(&fs->recall.count),
	};
}

void fs_free(struct fs *fs)
{
	if (!fs)
		return;
	near_stop();
	settle_end(&fs->settle);
	if (!fs->stuck) {
		handle_done(&fs->handles, CANCEL_MS);
		backing_done(&fs->backings);
	}
	if (fs->se)
		fuse_session_unmount(fs->se);
	if (fs->stuck)
		return;
	settle_stop(&fs->settle);
	if (fs->se)
		fuse_session_destroy(fs->se);
	inode_done(&fs->inodes);
	recall_done(&fs->recall);
	settle_done(&fs->settle);
	listed_done(&fs->listed);
	pools_done(&fs->pools);
	watch_done(&fs->watch);
	close(fs->ended);
	free(fs);
}
