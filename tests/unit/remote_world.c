#include "remote_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>

/* ---- The fake backend ---- */

#define FAKE_OF(node) container_of((node)->bk, struct fake, bk)

struct fake_node {
	struct bk_node base;
	mode_t mode;
};

static struct stat fake_stat(const struct bk_node *node)
{
	mode_t mode = container_of(node, struct fake_node, base)->mode;

	return (struct stat){.st_ino = S_ISDIR(mode) ? 1 : 2, .st_mode = mode, .st_nlink = 1};
}

static struct bk_node *fake_node(struct fake *f, mode_t mode)
{
	struct fake_node *n = calloc(1, sizeof(*n));

	CHECK(n);
	bk_node_init(&n->base, &f->bk);
	n->mode = mode;
	atomic_fetch_add(&f->nodes, 1);
	return &n->base;
}

static void fake_node_free(struct bk_node *node)
{
	atomic_fetch_sub(&FAKE_OF(node)->nodes, 1);
	free(container_of(node, struct fake_node, base));
}

static struct bk_node *fake_root(struct bk *bk)
{
	return bk_node_ref(container_of(bk, struct fake, bk)->root);
}

static void fake_destroy(struct bk *bk)
{
}

static void wake(void *arg)
{
	struct fake *f = arg;

	pthread_mutex_lock(&f->lock);
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

/* Wait for the gate, or, where that counts, the cancellation. */
static int fake_wait(struct bk_req *req, struct fake *f, bool may_cancel)
{
	int r = 0;

	bk_req_on_cancel(req, wake, f);
	pthread_mutex_lock(&f->lock);
	f->waiting++;
	pthread_cond_broadcast(&f->changed);
	while (!f->gate && r == 0) {
		struct timespec ts;

		/* The request's lock comes before ours. */
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec = (ts.tv_nsec + 2000000) % 1000000000;
		ts.tv_sec += ts.tv_nsec < 2000000;
		pthread_cond_timedwait(&f->changed, &f->lock, &ts);
		pthread_mutex_unlock(&f->lock);
		if (may_cancel)
			r = bk_req_check(req);
		pthread_mutex_lock(&f->lock);
	}
	f->waiting--;
	f->cancelled += r == -EINTR;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	bk_req_on_cancel(req, NULL, NULL);
	return r;
}

static int fake_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		       struct bk_node **ret_node, struct stat *ret_st)
{
	struct fake *f = FAKE_OF(dir);
	int r = 0;

	if (strcmp(name, "slow") == 0)
		r = fake_wait(req, f, true);
	else if (strcmp(name, "fgated") == 0)
		r = fake_wait(req, f, false);
	if (r < 0)
		return r;
	if (name[0] != 'f')
		return -ENOENT;
	*ret_node = fake_node(f, S_IFREG | 0644);
	*ret_st = fake_stat(*ret_node);
	return 0;
}

static int fake_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			struct stat *ret_st)
{
	*ret_st = fake_stat(node);
	return 0;
}

static int fake_open(struct bk_req *req, struct bk_node *node, int flags, struct bk_file **ret)
{
	struct fake *f = FAKE_OF(node);

	if (f->gate_opens)
		fake_wait(req, f, false);
	*ret = calloc(1, sizeof(**ret));
	CHECK(*ret);
	(*ret)->node = bk_node_ref(node);
	atomic_fetch_add(&f->files, 1);
	return 0;
}

static void fake_release(struct bk_file *file)
{
	atomic_fetch_sub(&FAKE_OF(file->node)->files, 1);
	bk_node_unref(file->node);
	free(file);
}

static int fake_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
			void *ctx)
{
	return 0;
}

static const struct bk_ops fake_ops = {
    .type = "fake",
    .destroy = fake_destroy,
    .root = fake_root,
    .node_free = fake_node_free,
    .lookup = fake_lookup,
    .getattr = fake_getattr,
    .open = fake_open,
    .release = fake_release,
    .readdir = fake_readdir,
};

void fake_init(struct fake *f)
{
	*f = (struct fake){.gate = false};
	CHECK_EQ(bk_init(&f->bk, &fake_ops, "/fake"), 0);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	f->root = fake_node(f, S_IFDIR | 0755);
}

void fake_done(struct fake *f)
{
	CHECK_EQ(atomic_load(&f->files), 0);
	CHECK_EQ(atomic_load(&f->root->refs), 1);
	bk_node_unref(f->root);
	CHECK_EQ(atomic_load(&f->nodes), 0);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	bk_done(&f->bk);
}

void fake_open_gate(struct fake *f)
{
	pthread_mutex_lock(&f->lock);
	f->gate = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

void fake_wait_for(struct fake *f, unsigned waiting)
{
	pthread_mutex_lock(&f->lock);
	while (f->waiting != waiting)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

/* ---- Both ends ---- */

static void *serve(void *arg)
{
	struct world *w = arg;
	const struct remote_serve_conf conf = {.threads = w->threads};

	w->result = remote_serve(w->served, w->fd, w->fd, &conf);
	return NULL;
}

int world_serve(struct world *w, struct bk *served, unsigned threads)
{
	int fds[2];

	*w = (struct world){.served = served, .threads = threads};
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	w->fd = fds[1];
	CHECK_EQ(pthread_create(&w->thread, NULL, serve, w), 0);
	return fds[0];
}

void world_init(struct world *w, struct bk *served, unsigned threads)
{
	int fd = world_serve(w, served, threads);

	CHECK_EQ(remote_new(NULL, fd, fd, "/remote", NULL, &w->bk, NULL), 0);
	w->root = bk_root(w->bk);
}

void world_join(struct world *w)
{
	CHECK_EQ(pthread_join(w->thread, NULL), 0);
}

void world_done(struct world *w)
{
	bk_node_unref(w->root);
	bk_free(w->bk);
	world_join(w);
}

/* ---- Some of everything ---- */

static bool count_some(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct bk_node *dir = ctx, *node;
	struct bk_req req;
	struct stat st;

	CHECK(name[0] && !strchr(name, '/'));
	bk_req_init(&req, 0, 0, 0, 50);
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	    bk_lookup(&req, dir, name, &node, &st) == 0)
		bk_node_unref(node);
	bk_req_done(&req);
	return true;
}

static void try_file(struct bk_req *req, struct bk_node *node, struct bk_file *file)
{
	struct bk_setattr set = {.mask = BK_SET_MODE, .mode = 0600};
	static char data[200000];
	struct stat st;

	bk_write(req, file, data, sizeof(data), 0);
	bk_read(req, file, data, sizeof(data), 0);
	bk_lseek(req, file, 0, SEEK_DATA);
	bk_getattr(req, node, file, &st);
	bk_setattr(req, node, NULL, &set, &st);
	bk_getxattr(req, node, "user.a", data, 100);
	bk_listxattr(req, node, data, 100);
	bk_release(file);
}

void world_try_all(struct bk_node *root)
{
	char target[PATH_MAX];
	struct bk_node *node;
	struct bk_file *file;
	struct bk_results *results;
	struct statvfs vfs;
	struct stat st;
	struct bk_req req;

	bk_req_init(&req, 0, 0, 0, 50);
	if (bk_create(&req, root, "f", 0644, O_RDWR | O_CREAT, &node, &file, &st) == 0) {
		try_file(&req, node, file);
		bk_node_unref(node);
	}
	if (bk_symlink(&req, root, "l", "f", &node, &st) == 0) {
		bk_readlink(&req, node, target);
		bk_node_unref(node);
	}
	bk_statfs(&req, root, &vfs);
	if (bk_search(&req, root, &(struct bk_search){.what = "", .size = 0}, &results) == 0) {
		bk_results_read(&req, results, target, sizeof(target));
		bk_results_free(results);
	}
	if (bk_opendir(&req, root, &file) == 0) {
		bk_readdir(&req, file, 0, count_some, root);
		bk_release(file);
	}
	bk_unlink(&req, root, "l");
	bk_req_done(&req);
}

/* ---- Frames by hand ---- */

static bool read_all(int fd, void *data, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = recv(fd, (char *)data + got, size - got, 0);

		if (n <= 0)
			return false;
		got += n;
	}
	return true;
}

bool raw_read(int fd, struct remote_head *ret, uint8_t *payload)
{
	uint8_t head[REMOTE_HEADER];

	if (!read_all(fd, head, sizeof(head)))
		return false;
	CHECK_EQ(remote_decode_head(head, ret), 0);
	return read_all(fd, payload, ret->len);
}

void raw_write(int fd, const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = send(fd, (const char *)data + done, size - done, MSG_NOSIGNAL);

		if (n < 0)
			return;
		done += n;
	}
}

size_t raw_encode(uint8_t *out, enum remote_op op, enum remote_side side, uint64_t id,
		  unsigned error, const struct remote_msg *m)
{
	size_t n = remote_encode(out, op, side, id, error, m);

	if (!error && m->data_len > 0) {
		memcpy(out + n, m->data, m->data_len);
		n += m->data_len;
	}
	return n;
}

uint32_t raw_random(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % n;
}

unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
