/*
 * The remote backend over a stream that is more than its descriptor: bytes that poll(2) knows
 * nothing of, as TLS and a demultiplexer have them, writes that are taken in part or not at all,
 * and one that brings nothing for ever.
 */
#include "remote_world.h"

#include "host/host.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

struct odd {
	struct bk_stream stream;
	int fd;
	size_t at, len;	       /* of `held` */
	unsigned reads, sends; /* so far */
	atomic_bool noise;     /* there seems to be something to read, and never is */
	char held[40000];
};

static int odd_fd(struct bk_stream *s)
{
	return container_of(s, struct odd, stream)->fd;
}

static bool odd_pending(struct bk_stream *s)
{
	struct odd *o = container_of(s, struct odd, stream);

	return o->noise || o->at < o->len;
}

static ssize_t odd_read(struct bk_stream *s, void *data, size_t size)
{
	struct odd *o = container_of(s, struct odd, stream);
	ssize_t n;

	if (o->noise)
		return -EAGAIN;
	if (o->at == o->len) {
		n = recv(o->fd, o->held, sizeof(o->held), MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		o->at = 0;
		o->len = n;
	}
	if (++o->reads % 3 == 0)
		return -EAGAIN;
	if (size > o->len - o->at)
		size = o->len - o->at;
	if (size > 7000)
		size = 7000;
	memcpy(data, o->held + o->at, size);
	o->at += size;
	return size;
}

static ssize_t odd_write(struct bk_stream *s, const void *data, size_t size)
{
	struct odd *o = container_of(s, struct odd, stream);
	ssize_t n;

	if (++o->sends % 3 == 0)
		return -EAGAIN;
	n = send(o->fd, data, size < 30000 ? size : 30000, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static const struct bk_stream_ops odd_ops = {
    .fd = odd_fd, .pending = odd_pending, .read = odd_read, .write = odd_write};

static void odd_init(struct world *w, struct odd *o, struct bk *served)
{
	*o = (struct odd){.stream.ops = &odd_ops, .fd = world_serve(w, served, 0)};
	CHECK_EQ(remote_new_over(NULL, &o->stream, "/remote", &w->bk, NULL), 0);
	w->root = bk_root(w->bk);
}

/* The stream is ours, and open until we close it. */
static void odd_done(struct world *w, struct odd *o)
{
	bk_node_unref(w->root);
	bk_free(w->bk);
	CHECK(fcntl(o->fd, F_GETFD) >= 0);
	close(o->fd);
	world_join(w);
}

/* ---- What is there is found ---- */

static struct bk *make_host(const char *path)
{
	const struct bk_mount mount = {.mountpoint = "/mnt"};
	cJSON *options = cJSON_CreateObject();
	struct bk *bk;

	cJSON_AddStringToObject(options, "path", path);
	CHECK_EQ(host_type.make(&mount, "/host", options, NULL, &bk, NULL), 0);
	CHECK_EQ(bk->ops->prepare(NULL, bk, NULL, NULL, NULL), 0);
	cJSON_Delete(options);
	return bk;
}

struct user {
	struct world *w;
	unsigned id;
	pthread_t thread;
};

static void *write_and_read_back(void *arg)
{
	const size_t size = (3 << 20) + 123;
	struct user *u = arg;
	_cleanup_free_ char *data = malloc(size), *got = malloc(size);
	uint64_t random = u->id + 1;
	struct bk_node *node, *found;
	struct bk_file *file;
	struct stat st;
	char name[16];

	for (size_t i = 0; i < size; i++)
		data[i] = raw_random(&random, 256);
	snprintf(name, sizeof(name), "f%u", u->id);
	CHECK_EQ(bk_create(NULL, u->w->root, name, 0600, O_CREAT | O_RDWR, &node, &file, &st), 0);
	CHECK_EQ(bk_write(NULL, file, data, size, 0), size);
	for (int i = 0; i < 4; i++) {
		memset(got, 0, size);
		CHECK_EQ(bk_read(NULL, file, got, size, 0), size);
		CHECK(memcmp(data, got, size) == 0);
		CHECK_EQ(bk_lookup(NULL, u->w->root, name, &found, &st), 0);
		CHECK(found == node);
		bk_node_unref(found);
	}
	bk_release(file);
	bk_node_unref(node);
	CHECK_EQ(bk_unlink(NULL, u->w->root, name), 0);
	return NULL;
}

static void what_the_stream_holds_back_is_found_by_all(void)
{
	char dir[] = "/tmp/aib-test-remote-XXXXXX";
	struct user users[4];
	struct world w;
	struct odd o;
	struct bk *host;

	CHECK(mkdtemp(dir));
	host = make_host(dir);
	odd_init(&w, &o, host);
	for (unsigned i = 0; i < ARRAY_SIZE(users); i++) {
		users[i] = (struct user){.w = &w, .id = i};
		CHECK_EQ(pthread_create(&users[i].thread, NULL, write_and_read_back, &users[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(users); i++)
		CHECK_EQ(pthread_join(users[i].thread, NULL), 0);
	odd_done(&w, &o);
	CHECK_EQ(w.result, 0);
	bk_free(host);
	CHECK_EQ(rmdir(dir), 0);
}

/* ---- Ends ---- */

static void noise_holds_up_no_deadline(void)
{
	struct bk_req req;
	struct fake f;
	struct world w;
	struct stat st;
	struct odd o;

	fake_init(&f);
	odd_init(&w, &o, &f.bk);
	o.noise = true;
	bk_req_init(&req, 0, 0, 0, 50);
	CHECK_EQ(bk_getattr(&req, w.root, NULL, &st), -ETIMEDOUT);
	bk_req_done(&req);
	CHECK(!remote_is_over(w.bk));
	o.noise = false;
	CHECK_EQ(bk_getattr(NULL, w.root, NULL, &st), 0);
	odd_done(&w, &o);
	fake_done(&f);
}

static void the_end_of_the_stream_ends_all_calls(void)
{
	struct fake f;
	struct world w;
	struct stat st;
	struct odd o;

	fake_init(&f);
	odd_init(&w, &o, &f.bk);
	CHECK_EQ(shutdown(o.fd, SHUT_RDWR), 0);
	CHECK_EQ(bk_getattr(NULL, w.root, NULL, &st), -EIO);
	CHECK(remote_is_over(w.bk));
	odd_done(&w, &o);
	fake_done(&f);
}

int main(void)
{
	unsigned fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	what_the_stream_holds_back_is_found_by_all();
	noise_holds_up_no_deadline();
	the_end_of_the_stream_ends_all_calls();
	CHECK_EQ(count_fds(), fds);
	return 0;
}
