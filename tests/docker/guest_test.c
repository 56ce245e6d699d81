/*
 * Connections to a container's guest: `guest_test CASE`, with the environment of guest_world.h. Run
 * by test_guest.py, which looks into the container meanwhile.
 */
#include "base/clock.h"
#include "protocol.h"
#include "remote/remote.h"

#include "guest_world.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>

#define SPEED_BYTES (64 << 20)
#define SPEED_CALLS 5000

/* Say WORD and wait until who runs this has done his part. */
static void pause_at(const char *word)
{
	char line[16];

	printf("%s\n", word);
	fflush(stdout);
	CHECK(fgets(line, sizeof(line), stdin));
}

static int root_attr(struct guest *g)
{
	_cleanup_(bk_node_unrefp) struct bk_node *root = bk_root(guest_bk(g));
	struct stat st;

	return bk_getattr(NULL, root, NULL, &st);
}

/* Make a file, write, read back, remove: with what the container's root allows. */
static int write_at(struct guest *g, const char *dir_name)
{
	_cleanup_(bk_node_unrefp) struct bk_node *root = bk_root(guest_bk(g));
	struct bk_node *dir, *node;
	struct bk_file *file;
	struct stat st;
	char got[8];
	int r;

	CHECK_EQ(bk_lookup(NULL, root, dir_name, &dir, &st), 0);
	r = bk_create(NULL, dir, "f", 0600, O_CREAT | O_RDWR, &node, &file, &st);
	if (r == 0) {
		CHECK_EQ(bk_write(NULL, file, "hello", 5, 0), 5);
		CHECK_EQ(bk_read(NULL, file, got, sizeof(got), 0), 5);
		CHECK(memcmp(got, "hello", 5) == 0);
		bk_release(file);
		bk_node_unref(node);
		CHECK_EQ(bk_unlink(NULL, dir, "f"), 0);
	}
	bk_node_unref(dir);
	return r;
}

static void case_files(struct docker *d)
{
	struct guest *g;

	CHECK_EQ(world_connect(d, &g), 0);
	CHECK_EQ(write_at(g, "workspace"), 0);
	guest_close(g);
}

static void case_readonly(struct docker *d)
{
	struct guest *g;

	CHECK_EQ(world_connect(d, &g), 0);
	CHECK_EQ(write_at(g, "etc"), -EROFS);
	CHECK_EQ(write_at(g, "tmp"), 0);
	guest_close(g);
}

/* The guest dies while a caller uses it. */
static void case_killed(struct docker *d)
{
	struct guest *g;
	uint64_t start;

	CHECK_EQ(world_connect(d, &g), 0);
	CHECK_EQ(root_attr(g), 0);
	pause_at("kill it");
	start = clock_ms();
	while (root_attr(g) == 0)
		CHECK(clock_ms() - start < 5000);
	CHECK_EQ(root_attr(g), -EIO);
	CHECK(guest_is_over(g));
	guest_close(g);
	CHECK_EQ(world_connect(d, &g), 0);
	CHECK_EQ(root_attr(g), 0);
	guest_close(g);
	pause_at("closed");
}

/* What is in the guest's place says something else: an error with its words. */
static void case_no_guest(struct docker *d)
{
	struct guest *g;
	struct err err = {""};
	struct bk_req req;

	CHECK_EQ(world_connect(d, &g), 0);
	guest_close(g);
	pause_at("replace it");
	bk_req_init(&req, 0, 0, 0, 60000);
	CHECK(guest_connect(&req, &d->sb, world_way(), &g, &err) < 0);
	bk_req_done(&req);
	printf("%s\n", err.text);
	/* It was put again. */
	CHECK_EQ(world_connect(d, &g), 0);
	guest_close(g);
}

/* ---- The direct way ---- */

/* Make a file in the directory PATH; whether it has its descriptor, which is told as well. */
static void check_descriptor(struct guest *g, const char *dir_name)
{
	_cleanup_(bk_node_unrefp) struct bk_node *root = bk_root(guest_bk(g));
	struct bk_node *dir, *node;
	struct bk_file *file;
	struct stat st, own;

	CHECK_EQ(bk_lookup(NULL, root, dir_name, &dir, &st), 0);
	CHECK_EQ(bk_create(NULL, dir, "f", 0600, O_CREAT | O_RDWR, &node, &file, &st), 0);
	CHECK_EQ(bk_write(NULL, file, "hello", 5, 0), 5);
	CHECK(bk_backing_fd(file) >= 0);
	CHECK_EQ(fstat(bk_backing_fd(file), &own), 0);
	CHECK_EQ(own.st_size, 5);
	bk_release(file);
	/* Also of what was there: of a lower layer, or not. */
	CHECK_EQ(bk_open(NULL, node, O_RDONLY, &file), 0);
	CHECK(bk_backing_fd(file) >= 0);
	bk_release(file);
	bk_node_unref(node);
	CHECK_EQ(bk_unlink(NULL, dir, "f"), 0);
	bk_node_unref(dir);
}

static struct bk_file *open_at(struct guest *g, const char *dir_name, const char *name)
{
	_cleanup_(bk_node_unrefp) struct bk_node *root = bk_root(guest_bk(g));
	struct bk_node *dir, *node;
	struct bk_file *file;
	struct stat st;

	CHECK_EQ(bk_lookup(NULL, root, dir_name, &dir, &st), 0);
	CHECK_EQ(bk_lookup(NULL, dir, name, &node, &st), 0);
	CHECK_EQ(bk_open(NULL, node, O_RDONLY, &file), 0);
	bk_node_unref(node);
	bk_node_unref(dir);
	return file;
}

/* Files of the container's layers, its memory and a volume have descriptors; others are read. */
static void case_direct(struct docker *d)
{
	static const char *const dirs[] = {"workspace", "tmp", "volume"};
	struct bk_file *file;
	struct guest *g;
	char data[64];

	CHECK_EQ(world_connect(d, &g), 0);
	CHECK_STR(guest_way(g), "direct");
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		check_descriptor(g, dirs[i]);
	file = open_at(g, "bin", "busybox");
	CHECK(bk_backing_fd(file) >= 0);
	CHECK_EQ(bk_read(NULL, file, data, sizeof(data), 0), sizeof(data));
	bk_release(file);
	file = open_at(g, "proc", "version");
	CHECK_EQ(bk_backing_fd(file), -EOPNOTSUPP);
	CHECK(bk_read(NULL, file, data, sizeof(data), 0) > 0);
	bk_release(file);
	pause_at("mount it");
	check_descriptor(g, "later");
	guest_close(g);
}

/* Whatever the environment asks for, what came of it. */
static void case_way(struct docker *d)
{
	struct err err = {""};
	struct bk_req req;
	struct guest *g;

	bk_req_init(&req, 0, 0, 0, 60000);
	if (guest_connect(&req, &d->sb, world_way(), &g, &err) == 0) {
		CHECK_EQ(root_attr(g), 0);
		printf("%s\n", guest_way(g));
		guest_close(g);
	} else {
		printf("no: %s\n", err.text);
	}
	bk_req_done(&req);
}

/* ---- Commands over the direct way ---- */

#define COMMANDS 200

/* Start `run` of CMD, with no other variable than A=b. */
static struct bk_stream *run_command(struct guest *g, bool job, const char *cmd)
{
	const char *const plain[] = {"aib-guest", "run", "--", "/bin/sh", "-c", cmd, NULL};
	const char *const lasting[] = {"aib-guest", "run", "-j", "1a", "--",
				       "/bin/sh",   "-c",  cmd,	 NULL};
	const char *const env[] = {"A=b", NULL};
	struct err err = {""};
	struct bk_stream *s;
	int r = remote_exec(NULL, guest_bk(g), job ? lasting : plain, env, &s, &err);

	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK_EQ(r, 0);
	return s;
}

static void read_all(struct bk_stream *s, void *data, size_t size)
{
	for (size_t got = 0; got < size;) {
		struct pollfd p = {.fd = s->ops->fd(s), .events = POLLIN};
		ssize_t n = s->ops->read(s, (char *)data + got, size - got);

		if (n == -EAGAIN) {
			CHECK_EQ(poll(&p, 1, 10000), 1);
			continue;
		}
		CHECK(n > 0);
		got += n;
	}
}

/* To its end: the status, what it wrote in OUT (terminated, at most SIZE - 1 bytes). */
static int finish_command(struct bk_stream *s, char *out, size_t size)
{
	uint8_t bytes[PROTO_HEADER], payload[PROTO_MAX_PAYLOAD];
	struct proto_header head = {.type = 0};
	struct proto_exit end;
	size_t len = 0;

	while (head.type != PROTO_EXIT) {
		read_all(s, bytes, sizeof(bytes));
		CHECK_EQ(proto_get_header(bytes, &head), 0);
		read_all(s, payload, head.len);
		if (head.type != PROTO_STDOUT)
			continue;
		CHECK(len + head.len < size);
		memcpy(out + len, payload, head.len);
		len += head.len;
	}
	out[len] = '\0';
	CHECK_EQ(proto_get_exit(payload, head.len, &end), 0);
	s->ops->free(s);
	return proto_exit_status(&end);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void many_commands(struct guest *g)
{
	uint64_t us[COMMANDS];
	char out[64], cmd[32];

	for (int i = 0; i < COMMANDS; i++) {
		uint64_t start = clock_us();

		snprintf(cmd, sizeof(cmd), "exit %d", i % 256);
		CHECK_EQ(finish_command(run_command(g, false, cmd), out, sizeof(out)), i % 256);
		us[i] = clock_us() - start;
	}
	qsort(us, COMMANDS, sizeof(us[0]), by_value);
	fprintf(stderr, "%d commands: median %.1f ms, the slowest %.1f ms\n", COMMANDS,
		us[COMMANDS / 2] / 1000.0, us[COMMANDS - 1] / 1000.0);
}

static void case_exec(struct docker *d)
{
	struct bk_stream *left, *kept;
	unsigned fds;
	struct guest *g;
	uint8_t line[PROTO_HEADER + 2];
	char out[4096];

	CHECK_EQ(world_connect(d, &g), 0);
	fds = count_fds();
	/* What a command starts with is the container's, and nothing of serve's. */
	left = run_command(g, false, "echo $A $HOME; umask; ulimit -Sn");
	CHECK_EQ(finish_command(left, out, sizeof(out)), 0);
	printf("%s", out);
	many_commands(g);
	CHECK_EQ(count_fds(), fds);
	/* The end of its stream ends a command that is no job's. */
	left = run_command(g, false, "exec sleep 1000");
	left->ops->free(left);
	left = run_command(g, true, "exec sleep 2000");
	left->ops->free(left);
	pause_at("look");
	/* That of the connection ends none. */
	kept = run_command(g, false, "echo started; read line; echo $line; exit 7");
	guest_close(g);
	pause_at("closed");
	proto_put_header(line, PROTO_STDIN, 2);
	memcpy(line + PROTO_HEADER, "x\n", 2);
	CHECK_EQ(kept->ops->write(kept, line, sizeof(line)), sizeof(line));
	CHECK_EQ(finish_command(kept, out, sizeof(out)), 7);
	CHECK_STR(out, "started\nx\n");
}

static double seconds_since(uint64_t start)
{
	uint64_t ms = clock_ms() - start;

	return (ms ? ms : 1) / 1000.0;
}

static void case_speed(struct docker *d)
{
	_cleanup_free_ char *data = calloc(1, 1 << 20);
	struct bk_node *root, *dir, *node;
	struct bk_file *file;
	struct guest *g;
	struct stat st;
	uint64_t start;

	CHECK_EQ(world_connect(d, &g), 0);
	printf("%s:\n", guest_way(g));
	root = bk_root(guest_bk(g));
	CHECK_EQ(bk_lookup(NULL, root, "workspace", &dir, &st), 0);
	CHECK_EQ(bk_create(NULL, dir, "f", 0600, O_CREAT | O_RDWR, &node, &file, &st), 0);
	start = clock_ms();
	for (int i = 0; i < SPEED_CALLS; i++)
		CHECK_EQ(bk_getattr(NULL, node, NULL, &st), 0);
	printf("getattr %.0f /s\n", SPEED_CALLS / seconds_since(start));
	start = clock_ms();
	for (off_t at = 0; at < SPEED_BYTES; at += 1 << 20)
		CHECK_EQ(bk_write(NULL, file, data, 1 << 20, at), 1 << 20);
	printf("write %.0f MiB/s\n", (SPEED_BYTES >> 20) / seconds_since(start));
	start = clock_ms();
	for (off_t at = 0; at < SPEED_BYTES; at += 1 << 20)
		CHECK_EQ(bk_read(NULL, file, data, 1 << 20, at), 1 << 20);
	printf("read %.0f MiB/s\n", (SPEED_BYTES >> 20) / seconds_since(start));
	bk_release(file);
	bk_node_unref(node);
	bk_node_unref(dir);
	bk_node_unref(root);
	guest_close(g);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct docker *d);
	} cases[] = {
	    {"files", case_files},	 {"readonly", case_readonly}, {"killed", case_killed},
	    {"no_guest", case_no_guest}, {"direct", case_direct},     {"way", case_way},
	    {"exec", case_exec},	 {"speed", case_speed},
	};
	struct docker *d = world_route("auto");

	CHECK_EQ(argc, 2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run(d);
			bk_free(&d->bk);
			return 0;
		}
	bk_free(&d->bk);
	return 125;
}
