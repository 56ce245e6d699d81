/*
 * A client of the guest that lies: the input is requests, each its kind, its id, two bytes of
 * length and the payload, over a tree in memory. Kind 255 is bytes as they are.
 */
#include "fuzz.h"

#include "../unit/remote_world.h"
#include "base/log.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <sys/socket.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_stderr(0);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static void say_hello(int fd)
{
	const struct remote_msg m = {
	    .magic = REMOTE_MAGIC, .version = REMOTE_VERSION, .inflight = 8};
	static uint8_t frame[REMOTE_HEADER + REMOTE_MAX_PAYLOAD];

	raw_write(fd, frame, raw_encode(frame, REMOTE_HELLO, REMOTE_REQUEST, 1, 0, &m));
}

static void ask(int fd, enum remote_op op, uint64_t id, const uint8_t *payload, size_t len)
{
	uint8_t head[REMOTE_MAX_HEAD];

	remote_encode(head, op, REMOTE_ANSWER, id, 1, NULL);
	for (int i = 0; i < 4; i++)
		head[i] = len >> 8 * i;
	head[5] = 0;
	raw_write(fd, head, REMOTE_HEADER);
	raw_write(fd, payload, len);
}

static void ask_all(int fd, const uint8_t *data, size_t size)
{
	while (size >= 4) {
		size_t len = data[2] | data[3] << 8;

		len = len < size - 4 ? len : size - 4;
		if (data[0] == 255)
			raw_write(fd, data + 4, len);
		else
			ask(fd, 1 + data[0] % (REMOTE_N_OPS - 1), data[1] % 16, data + 4, len);
		data += 4 + len;
		size -= 4 + len;
	}
}

static void *read_on(void *arg)
{
	char data[4096];

	while (recv(*(int *)arg, data, sizeof(data), 0) > 0)
		;
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct bk_mount mount = {.id = "fuzz", .mountpoint = "/"};
	const struct bk_type *type;
	struct world w;
	pthread_t reader;
	struct bk *tree;
	int fd;

	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/", NULL, NULL, &tree, NULL), 0);
	fd = world_serve(&w, tree, 2);
	CHECK_EQ(pthread_create(&reader, NULL, read_on, &fd), 0);
	say_hello(fd);
	ask_all(fd, data, size);
	shutdown(fd, SHUT_WR);
	world_join(&w);
	CHECK_EQ(pthread_join(reader, NULL), 0);
	close(fd);
	bk_free(tree);
	return 0;
}
