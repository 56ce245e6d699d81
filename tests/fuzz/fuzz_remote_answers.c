/*
 * A guest that lies: each request of the daemon is answered with the next piece of the input, a
 * byte that says how, two of its length, and so many bytes: as the payload of a proper answer, as
 * an error, or as they are.
 */
#include "fuzz.h"

#include "../unit/remote_world.h"
#include "base/log.h"

#include <sys/socket.h>

struct guest {
	int fd;
	const uint8_t *data;
	size_t size;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_stderr(0);
	return 0;
}

static void say_hello(struct guest *g, uint64_t id)
{
	const struct remote_msg m = {.magic = REMOTE_MAGIC,
				     .version = REMOTE_VERSION,
				     .inflight = 8,
				     .flags = REMOTE_CAN_SEARCH,
				     .node = 1,
				     .st = {.st_mode = S_IFDIR | 0755, .st_ino = 1, .st_nlink = 2}};
	static uint8_t frame[REMOTE_HEADER + REMOTE_MAX_PAYLOAD];

	raw_write(g->fd, frame, raw_encode(frame, REMOTE_HELLO, REMOTE_ANSWER, id, 0, &m));
}

/* The next piece: false where there is none. */
static bool next_piece(struct guest *g, unsigned *ret_how, const uint8_t **ret, size_t *ret_len)
{
	size_t len;

	if (g->size < 3)
		return false;
	*ret_how = g->data[0];
	len = g->data[1] | g->data[2] << 8;
	*ret = g->data + 3;
	*ret_len = len < g->size - 3 ? len : g->size - 3;
	g->data += 3 + *ret_len;
	g->size -= 3 + *ret_len;
	return true;
}

static void put_head(uint8_t *out, size_t len, const struct remote_head *head, unsigned error)
{
	const struct remote_msg none = {0};
	static uint8_t frame[REMOTE_MAX_HEAD];

	remote_encode(frame, head->op, REMOTE_ANSWER, head->id, error ? error : 1, &none);
	memcpy(out, frame, REMOTE_HEADER);
	if (error)
		return;
	for (int i = 0; i < 4; i++)
		out[i] = len >> 8 * i;
	out[5] = 0;
}

static bool answer(struct guest *g, const struct remote_head *head)
{
	uint8_t start[REMOTE_HEADER];
	const uint8_t *piece;
	unsigned how;
	size_t len;

	if (!next_piece(g, &how, &piece, &len))
		return false;
	if (how == 255) {
		raw_write(g->fd, piece, len);
		return true;
	}
	put_head(start, len, head, how % 134);
	raw_write(g->fd, start, sizeof(start));
	if (how % 134 == 0)
		raw_write(g->fd, piece, len);
	return true;
}

static void *play(void *arg)
{
	static uint8_t payload[REMOTE_MAX_PAYLOAD];
	struct guest *g = arg;
	struct remote_head head;
	bool more = true;

	while (more && raw_read(g->fd, &head, payload)) {
		if (head.op == REMOTE_HELLO)
			say_hello(g, head.id);
		else if (remote_has_answer(head.op))
			more = answer(g, &head);
	}
	shutdown(g->fd, SHUT_RDWR);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest g = {.data = data, .size = size};
	struct bk_node *root;
	struct bk_req req;
	pthread_t thread;
	int fds[2];
	struct bk *bk;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	g.fd = fds[1];
	CHECK_EQ(pthread_create(&thread, NULL, play, &g), 0);
	bk_req_init(&req, 0, 0, 0, 5000);
	CHECK_EQ(remote_new(&req, fds[0], fds[0], "/remote", NULL, &bk, NULL), 0);
	bk_req_done(&req);
	root = bk_root(bk);
	world_try_all(root);
	bk_node_unref(root);
	bk_free(bk);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	close(g.fd);
	return 0;
}
