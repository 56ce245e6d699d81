/*
 * Reading and writing: truncation, holes, large offsets, append, files without a name, seeking.
 */
#include "suite.h"

#include <linux/falloc.h>

#define GIB (1ULL << 30)

static void reads_end_at_the_end(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "0123456789");
	struct bk_file *file = s_open(s, f, O_RDONLY);
	char buf[32];

	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), 10);
	CHECK_EQ(bk_read(s->req, file, buf, 4, 3), 4);
	CHECK(memcmp(buf, "3456", 4) == 0);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 8), 2);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 10), 0);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 1000), 0);
	CHECK_EQ(bk_read(s->req, file, buf, 0, 0), 0);
	bk_release(file);
}

static void writes_land_where_they_should(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "0123456789");
	struct bk_file *file = s_open(s, f, O_RDWR);

	s_write(s, file, "abc", 3, 2);
	s_write(s, file, "XY", 2, 9);
	CHECK_EQ(bk_flush(s->req, file), 0);
	CHECK_EQ(bk_fsync(s->req, file, true), 0);
	CHECK_EQ(bk_fsync(s->req, file, false), 0);
	bk_release(file);
	s_check_content(s, f, "01abc5678XY");
}

static void large_data_comes_back(struct suite *s)
{
	size_t size = (3 << 20) + 4567;
	_cleanup_free_ char *data = malloc(size), *got = malloc(size);
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "");
	struct bk_file *file = s_open(s, f, O_RDWR);
	uint64_t random = s->seed;

	for (size_t i = 0; i < size; i++)
		data[i] = s_random(&random, 256);
	for (size_t off = 0; off < size; off += 100003)
		s_write(s, file, data + off, size - off < 100003 ? size - off : 100003, off);
	CHECK_EQ(bk_flush(s->req, file), 0);
	for (size_t off = 0; off < size;) {
		ssize_t n = bk_read(s->req, file, got + off, size - off, off);

		CHECK(n > 0);
		off += n;
	}
	CHECK(memcmp(data, got, size) == 0);
	CHECK_EQ(s_stat(s, f).st_size, size);
	bk_release(file);
}

static void open_truncates_where_asked(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "0123456789");
	struct bk_file *file = s_open(s, f, O_WRONLY | O_TRUNC);
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(s_stat(s, f).st_size, 0);
	s_write(s, file, "ab", 2, 0);
	CHECK_EQ(bk_flush(s->req, file), 0);
	bk_release(file);
	s_check_content(s, f, "ab");
	CHECK_EQ(
	    bk_create(s->req, s->dir, "f", 0600, O_CREAT | O_TRUNC | O_RDWR, &node, &file, &st), 0);
	CHECK(node == f);
	CHECK_EQ(st.st_size, 0);
	CHECK_EQ(bk_flush(s->req, file), 0);
	bk_release(file);
	bk_node_unref(node);
	s_check_content(s, f, "");
}

static void a_directory_is_not_opened_as_a_file(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_file *file;

	CHECK_EQ(bk_open(s->req, d, O_RDWR, &file), -EISDIR);
}

static void shrinking_and_growing_leaves_zeros(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "0123456789");
	struct bk_setattr set = {.mask = BK_SET_SIZE, .size = 3};
	struct bk_file *file;
	char buf[10000];

	CHECK_EQ(s_setattr(s, f, &set).st_size, 3);
	set.size = 9000;
	CHECK_EQ(s_setattr(s, f, &set).st_size, 9000);
	file = s_open(s, f, O_RDONLY);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), 9000);
	CHECK(memcmp(buf, "012", 3) == 0);
	for (int i = 3; i < 9000; i++)
		CHECK_EQ(buf[i], 0);
	bk_release(file);
	set.size = (uint64_t)INT64_MAX + 1;
	CHECK(bk_setattr(s->req, f, NULL, &set, &(struct stat){0}) < 0);
	CHECK_EQ(s_stat(s, f).st_size, 9000);
}

static void an_open_file_sees_a_truncation_by_name(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "0123456789");
	struct bk_setattr set = {.mask = BK_SET_SIZE, .size = 4};
	struct bk_file *file = s_open(s, f, O_RDWR);
	char buf[16];
	struct stat st;

	s_setattr(s, f, &set);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), 4);
	set.size = 2;
	CHECK_EQ(bk_setattr(s->req, f, file, &set, &st), 0);
	CHECK_EQ(st.st_size, 2);
	CHECK_EQ(bk_getattr(s->req, f, file, &st), 0);
	CHECK_EQ(st.st_size, 2);
	CHECK_EQ(bk_flush(s->req, file), 0);
	bk_release(file);
	s_check_content(s, f, "01");
}

static void offsets_go_beyond_4_GiB(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "");
	struct bk_file *file;
	uint64_t off = 5 * GIB + 123;
	char buf[16];

	if (s->traits->max_offset && s->traits->max_offset < off)
		return;
	file = s_open(s, f, O_RDWR);
	s_write(s, file, "far", 3, off);
	s_write(s, file, "near", 4, 10);
	CHECK_EQ(s_stat(s, f).st_size, off + 3);
	if (s->traits->holes)
		CHECK(s_stat(s, f).st_blocks < 1000);
	CHECK_EQ(bk_read(s->req, file, buf, 10, off - 5), 8);
	CHECK(memcmp(buf, "\0\0\0\0\0far", 8) == 0);
	CHECK_EQ(bk_read(s->req, file, buf, 4, 4 * GIB), 4);
	CHECK(memcmp(buf, "\0\0\0\0", 4) == 0);
	CHECK_EQ(bk_read(s->req, file, buf, 4, 10), 4);
	CHECK(memcmp(buf, "near", 4) == 0);
	CHECK_EQ(bk_flush(s->req, file), 0);
	bk_release(file);
}

static void seeking_finds_data_and_holes(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "");
	struct bk_file *file = s_open(s, f, O_RDWR);
	uint64_t mib = 1 << 20;

	s_write(s, file, "data", 4, mib);
	s_write(s, file, "data", 4, 3 * mib);
	CHECK_EQ(bk_fsync(s->req, file, false), 0);
	if (s->traits->holes) {
		CHECK_EQ(bk_lseek(s->req, file, 0, SEEK_HOLE), 0);
		CHECK_EQ(bk_lseek(s->req, file, 0, SEEK_DATA), mib);
		CHECK(bk_lseek(s->req, file, mib, SEEK_HOLE) > (off_t)mib);
		CHECK(bk_lseek(s->req, file, mib, SEEK_HOLE) < (off_t)(2 * mib));
		CHECK_EQ(bk_lseek(s->req, file, 2 * mib, SEEK_DATA), 3 * mib);
	} else {
		CHECK_EQ(bk_lseek(s->req, file, 0, SEEK_DATA), 0);
	}
	CHECK_EQ(bk_lseek(s->req, file, 3 * mib, SEEK_HOLE), 3 * mib + 4);
	CHECK_EQ(bk_lseek(s->req, file, 3 * mib + 4, SEEK_DATA), -ENXIO);
	CHECK_EQ(bk_lseek(s->req, file, 3 * mib + 4, SEEK_HOLE), -ENXIO);
	CHECK_EQ(bk_lseek(s->req, file, 0, SEEK_SET), -EINVAL);
	bk_release(file);
}

static void fallocate_allocates_punches_and_zeroes(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "");
	struct bk_file *file = s_open(s, f, O_RDWR);
	char data[20000], buf[20000];
	blkcnt_t blocks;

	CHECK_EQ(bk_fallocate(s->req, file, 0, 0, 10000), s->traits->fallocate);
	if (s->traits->fallocate) {
		CHECK_EQ(s_stat(s, f).st_size, 0);
		bk_release(file);
		return;
	}
	CHECK_EQ(s_stat(s, f).st_size, 10000);
	CHECK(s_stat(s, f).st_blocks * 512 >= 10000);
	memset(data, 'd', sizeof(data));
	s_write(s, file, data, sizeof(data), 0);
	CHECK_EQ(bk_fsync(s->req, file, false), 0);
	blocks = s_stat(s, f).st_blocks;
	CHECK_EQ(
	    bk_fallocate(s->req, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 13000), 0);
	memset(data + 1000, 0, 13000);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), sizeof(buf));
	CHECK(memcmp(buf, data, sizeof(buf)) == 0);
	if (s->traits->holes)
		CHECK(s_stat(s, f).st_blocks < blocks);
	CHECK_EQ(bk_fallocate(s->req, file, FALLOC_FL_KEEP_SIZE, 15000, 100000), 0);
	CHECK_EQ(s_stat(s, f).st_size, sizeof(data));
	CHECK_EQ(bk_fallocate(s->req, file, 0, -1, 10), -EINVAL);
	CHECK_EQ(bk_fallocate(s->req, file, 0, 0, 0), -EINVAL);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), sizeof(buf));
	CHECK(memcmp(buf, data, sizeof(buf)) == 0);
	bk_release(file);
}

static void an_open_file_outlives_its_name(struct suite *s)
{
	struct bk_node *f = s_file(s, s->dir, "f", "text");
	struct bk_file *file = s_open(s, f, O_RDWR);
	struct stat st;
	char buf[16];

	bk_node_unref(f);
	CHECK_EQ(bk_unlink(s->req, s->dir, "f"), 0);
	CHECK_EQ(s_exists(s, s->dir, "f"), -ENOENT);
	s_touch(s, s->dir, "f", "another");
	if (s->traits->unlinked_open) {
		CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), 4);
		CHECK(memcmp(buf, "text", 4) == 0);
		s_write(s, file, "more", 4, 4);
		CHECK_EQ(bk_getattr(s->req, file->node, file, &st), 0);
		CHECK_EQ(st.st_size, 8);
		CHECK_EQ(st.st_nlink, 0);
		CHECK_EQ(bk_flush(s->req, file), 0);
	}
	bk_release(file);
	f = s_lookup(s, s->dir, "f");
	s_check_content(s, f, "another");
	bk_node_unref(f);
}

static void two_writers_append(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "");
	struct bk_file *a, *b;

	if (!s->traits->append)
		return;
	a = s_open(s, f, O_WRONLY | O_APPEND);
	b = s_open(s, f, O_WRONLY | O_APPEND);
	/* Both were told the same end of the file. */
	s_write(s, a, "one ", 4, 0);
	s_write(s, b, "two ", 4, 0);
	s_write(s, a, "three", 5, 4);
	CHECK_EQ(bk_flush(s->req, a), 0);
	CHECK_EQ(bk_flush(s->req, b), 0);
	bk_release(a);
	bk_release(b);
	s_check_content(s, f, "one two three");
}

static void handles_share_one_content(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "");
	struct bk_file *a = s_open(s, f, O_RDWR), *b = s_open(s, f, O_RDWR);
	char buf[8];

	s_write(s, a, "text", 4, 0);
	CHECK_EQ(bk_flush(s->req, a), 0);
	CHECK_EQ(bk_read(s->req, b, buf, sizeof(buf), 0), 4);
	CHECK(memcmp(buf, "text", 4) == 0);
	bk_release(a);
	bk_release(b);
}

/* Read once by its name; nothing but a regular file is opened. */
static void peek_reads_files_and_nothing_else(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_file *file;
	struct stat st;
	char buf[32];

	s_touch(s, s->dir, "f", "text");
	CHECK_EQ(bk_peek(s->req, s->dir, "f", &file, &st), 0);
	CHECK(S_ISREG(st.st_mode));
	CHECK_EQ(st.st_size, 4);
	CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), 4);
	CHECK(memcmp(buf, "text", 4) == 0);
	bk_release(file);
	CHECK_EQ(bk_peek(s->req, s->dir, "d", &file, &st), -EISDIR);
	CHECK_EQ(bk_peek(s->req, s->dir, "none", &file, &st), -ENOENT);
	CHECK_EQ(bk_peek(s->req, s->dir, "..", &file, &st), -EINVAL);
}

const struct suite_test file_tests[] = {
    TEST(peek_reads_files_and_nothing_else),
    TEST(reads_end_at_the_end),
    TEST(writes_land_where_they_should),
    TEST(large_data_comes_back),
    TEST(open_truncates_where_asked),
    TEST(a_directory_is_not_opened_as_a_file),
    TEST(shrinking_and_growing_leaves_zeros),
    TEST(an_open_file_sees_a_truncation_by_name),
    TEST(offsets_go_beyond_4_GiB),
    TEST(seeking_finds_data_and_holes),
    TEST(fallocate_allocates_punches_and_zeroes),
    TEST(an_open_file_outlives_its_name),
    TEST(two_writers_append),
    TEST(handles_share_one_content),
    {NULL},
};
