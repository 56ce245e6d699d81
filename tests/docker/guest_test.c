/*
 * Connections to a container's guest: `guest_test CASE`, with the environment of guest_world.h. Run
 * by test_guest.py, which looks into the container meanwhile.
 */
#include "base/clock.h"

#include "guest_world.h"
#include "test.h"

#include <fcntl.h>

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
	    {"speed", case_speed},
	};
	struct docker *d = world_route();

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
