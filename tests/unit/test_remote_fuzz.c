/*
 * Frames that are changed at random, the same ones in every run: answers on their way to the
 * client, and requests of a client that sends what it likes, over a host directory. Whatever comes,
 * the other end is neither hurt nor held, and keeps nothing.
 */
#include "remote_world.h"

#include "base/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

extern const struct bk_type host_type;

#define FRAME (REMOTE_HEADER + REMOTE_MAX_PAYLOAD)

/* ---- Answers that are changed on the way ---- */

struct proxy {
	int client, server;
	uint64_t random;
	unsigned after; /* frames from the server that pass as they are */
	pthread_t thread;
};

static void mutate(uint64_t *random, uint8_t *frame, size_t *size)
{
	switch (raw_random(random, 6)) {
	case 0: /* the length, or another part of the header */
		frame[raw_random(random, REMOTE_HEADER)] = raw_random(random, 256);
		break;
	case 1:
		*size = raw_random(random, *size);
		break;
	case 2:
		frame[4] = raw_random(random, REMOTE_N_OPS + 2);
		break;
	default:
		for (unsigned n = 1 + raw_random(random, 4); n > 0; n--)
			frame[raw_random(random, *size)] ^= 1 << raw_random(random, 8);
	}
}

/* One frame from the server to the client; false at the end. */
static bool pass_answer(struct proxy *p, uint8_t *frame)
{
	struct remote_head head;
	size_t size;

	if (recv(p->server, frame, REMOTE_HEADER, MSG_WAITALL) != REMOTE_HEADER)
		return false;
	CHECK_EQ(remote_decode_head(frame, &head), 0);
	size = REMOTE_HEADER + head.len;
	if (head.len > 0 &&
	    recv(p->server, frame + REMOTE_HEADER, head.len, MSG_WAITALL) != head.len)
		return false;
	if (p->after > 0)
		p->after--;
	else if (raw_random(&p->random, 3) == 0)
		mutate(&p->random, frame, &size);
	raw_write(p->client, frame, size);
	return true;
}

static bool pass_requests(struct proxy *p, uint8_t *frame)
{
	ssize_t n = recv(p->client, frame, FRAME, 0);

	if (n > 0)
		raw_write(p->server, frame, n);
	return n > 0;
}

static void *run_proxy(void *arg)
{
	struct proxy *p = arg;
	uint8_t *frame = malloc(FRAME);
	bool more = true;

	while (more) {
		struct pollfd fds[] = {{p->client, POLLIN, 0}, {p->server, POLLIN, 0}};

		poll(fds, 2, -1);
		if (fds[0].revents)
			more = pass_requests(p, frame);
		if (more && fds[1].revents)
			more = pass_answer(p, frame);
	}
	close(p->client);
	close(p->server);
	free(frame);
	return NULL;
}

static void answers_round(struct bk *served, unsigned seed)
{
	struct proxy p = {.random = seed, .after = 1 + seed % 12};
	struct bk_node *root;
	struct world w;
	struct bk_req req;
	int fds[2];

	p.server = world_serve(&w, served, 4);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p.client = fds[1];
	CHECK_EQ(pthread_create(&p.thread, NULL, run_proxy, &p), 0);
	bk_req_init(&req, 0, 0, 0, 5000);
	CHECK_EQ(remote_new(&req, fds[0], fds[0], "/remote", NULL, &w.bk, NULL), 0);
	bk_req_done(&req);
	root = bk_root(w.bk);
	world_try_all(root);
	bk_node_unref(root);
	bk_free(w.bk);
	CHECK_EQ(pthread_join(p.thread, NULL), 0);
	world_join(&w);
}

/* ---- A client that sends what it likes ---- */

/* What a client has that has made a file and opened the root: nodes 1 and 2, and these. */
#define THE_FILE 1
#define THE_DIR 2

static enum remote_op any_op(uint64_t *random)
{
	return 1 + raw_random(random, REMOTE_N_OPS - 1);
}

static enum remote_op any_call(uint64_t *random)
{
	return REMOTE_LOOKUP + raw_random(random, REMOTE_N_OPS - REMOTE_LOOKUP);
}

static size_t any_request(uint8_t *out, uint64_t *random)
{
	static const char *const names[] = {"f", "l", "d", "..", ".", "new", "other"};
	static const uint8_t data[3000];
	enum remote_op op = raw_random(random, 40) ? any_call(random) : any_op(random);
	struct remote_msg m = {
	    .magic = REMOTE_MAGIC,
	    .version = 1,
	    .inflight = 1 + raw_random(random, 8),
	    .node = raw_random(random, 40) ? 1 + raw_random(random, 2) : 3,
	    .node2 = raw_random(random, 40) ? 1 + raw_random(random, 2) : 3,
	    .name = names[raw_random(random, ARRAY_SIZE(names))],
	    .name2 = names[raw_random(random, ARRAY_SIZE(names))],
	    .text = "user.a",
	    .mode = raw_random(random, 2) ? S_IFREG | 0600 : raw_random(random, 0xffff),
	    .flags = raw_random(random, 4),
	    .size = raw_random(random, 200000),
	    .whence = raw_random(random, 5),
	    .off = raw_random(random, 100000),
	    .attr = {.mask = raw_random(random, 512)},
	    .data = data,
	};

	if ((op != REMOTE_GETATTR && op != REMOTE_SETATTR) || raw_random(random, 8) == 0) {
		m.file = raw_random(random, 40) ? THE_FILE : 2;
		m.dir = raw_random(random, 40) ? THE_DIR : 1;
	}
	if (op == REMOTE_WRITE || op == REMOTE_SETXATTR)
		m.data_len = raw_random(random, sizeof(data));
	return raw_encode(out, op, REMOTE_REQUEST, raw_random(random, 20), 0, &m);
}

static void *read_on(void *arg)
{
	char data[4096];

	while (recv(*(int *)arg, data, sizeof(data), 0) > 0)
		;
	return NULL;
}

/* One request that is answered as it should be. */
static void ask(int fd, uint8_t *frame, enum remote_op op, const struct remote_msg *m)
{
	struct remote_head head;

	raw_write(fd, frame, raw_encode(frame, op, REMOTE_REQUEST, 1, 0, m));
	CHECK(raw_read(fd, &head, frame));
	CHECK_EQ(head.op, op);
	CHECK_EQ(head.error, 0);
}

static void begin(int fd, uint8_t *frame, unsigned seed)
{
	char name[32];
	const struct remote_msg m = {
	    .magic = REMOTE_MAGIC,
	    .version = 1,
	    .inflight = 8,
	    .node = 1,
	    .name = name,
	    .mode = 0600,
	    .flags = O_CREAT | O_RDWR,
	};

	snprintf(name, sizeof(name), "made-%u", seed);
	ask(fd, frame, REMOTE_HELLO, &m);
	ask(fd, frame, REMOTE_CREATE, &m);
	ask(fd, frame, REMOTE_OPENDIR, &m);
}

static void requests_round(struct bk *served, unsigned seed)
{
	uint8_t *frame = malloc(FRAME);
	uint64_t random = seed;
	struct world w;
	pthread_t reader;
	size_t size;
	int fd = world_serve(&w, served, 4);

	begin(fd, frame, seed);
	CHECK_EQ(pthread_create(&reader, NULL, read_on, &fd), 0);
	for (int i = 0; i < 40; i++) {
		size = any_request(frame, &random);
		if (raw_random(&random, 30) == 0)
			mutate(&random, frame, &size);
		raw_write(fd, frame, size);
	}
	shutdown(fd, SHUT_WR);
	world_join(&w);
	CHECK_EQ(pthread_join(reader, NULL), 0);
	close(fd);
	free(frame);
}

/* ---- Rounds over a host directory ---- */

static void with_host(void (*round)(struct bk *, unsigned), unsigned rounds)
{
	char path[] = "/tmp/aib-test-remote-XXXXXX", command[64];
	const struct bk_mount mount = {.can_switch_user = geteuid() == 0};
	cJSON *options = cJSON_CreateObject();
	struct bk_node *root;
	unsigned fds;
	struct bk *host;

	CHECK(mkdtemp(path));
	cJSON_AddStringToObject(options, "path", path);
	CHECK_EQ(host_type.make(&mount, "/host", options, NULL, &host, NULL), 0);
	CHECK_EQ(host->ops->prepare(NULL, host, NULL, NULL, NULL), 0);
	cJSON_Delete(options);
	root = bk_root(host);
	fds = count_fds();
	for (unsigned i = 0; i < rounds; i++) {
		round(host, i);
		CHECK_EQ(atomic_load(&root->refs), 2);
		CHECK(count_fds() <= fds + 64); /* the backend's own cache */
	}
	bk_node_unref(root);
	bk_free(host);
	snprintf(command, sizeof(command), "rm -rf %s", path);
	CHECK_EQ(system(command), 0);
}

/* ---- Bytes without a connection ---- */

static void no_payload_hurts_the_decoder(void)
{
	uint8_t *payload = malloc(1024);
	uint64_t random = 1;

	for (int i = 0; i < 300000; i++) {
		enum remote_op op = 1 + raw_random(&random, REMOTE_N_OPS - 1);
		size_t size = raw_random(&random, 300), pos = 0;
		struct remote_entry e;
		struct remote_msg m;

		for (size_t k = 0; k < size; k++)
			payload[k] = raw_random(&random, 3) ? 0 : raw_random(&random, 256);
		if (remote_decode(payload, size, op, i % 2, &m) == 0)
			CHECK(!m.name || (m.name[0] && !strchr(m.name, '/')));
		while (remote_get_entry(payload, size, &pos, &e) > 0)
			CHECK(pos <= size && e.name[0] && !strchr(e.name, '/'));
	}
	free(payload);
}

int main(void)
{
	unsigned fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	umask(0);
	log_set_stderr(0);
	no_payload_hurts_the_decoder();
	with_host(answers_round, 1500);
	with_host(requests_round, 1500);
	CHECK_EQ(count_fds(), fds);
	return 0;
}
