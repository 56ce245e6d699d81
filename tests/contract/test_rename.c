/*
 * Rename: what moves, what is replaced, what is refused, and that a refusal changes nothing.
 */
#include "suite.h"

#include <linux/fs.h>

static int rename_in(struct suite *s, const char *from, const char *to, unsigned flags)
{
	return bk_rename(s->req, s->dir, from, s->dir, to, flags);
}

static void a_file_keeps_its_node_and_number(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_file(s, s->dir, "a", "text");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	uint64_t ino = s_stat(s, a).st_ino;
	struct bk_node *b;

	CHECK_EQ(bk_rename(s->req, s->dir, "a", d, "b", 0), 0);
	CHECK_EQ(s_exists(s, s->dir, "a"), -ENOENT);
	b = s_lookup(s, d, "b");
	CHECK(a == b);
	CHECK_EQ(s_stat(s, b).st_ino, ino);
	s_check_content(s, b, "text");
	bk_node_unref(b);
}

static void a_replaced_file_is_gone_but_open(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_file(s, s->dir, "a", "new");
	_cleanup_(bk_node_unrefp) struct bk_node *old = s_file(s, s->dir, "b", "old");
	struct bk_file *file = s_open(s, old, O_RDWR);
	struct bk_node *b;
	char buf[8];

	CHECK_EQ(rename_in(s, "a", "b", 0), 0);
	b = s_lookup(s, s->dir, "b");
	CHECK(b == a);
	s_check_content(s, b, "new");
	bk_node_unref(b);
	if (s->traits->unlinked_open) {
		CHECK_EQ(bk_read(s->req, file, buf, sizeof(buf), 0), 3);
		CHECK(memcmp(buf, "old", 3) == 0);
		CHECK_EQ(s_stat(s, old).st_nlink, 0);
	}
	bk_release(file);
}

static void types_must_agree(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *empty = s_mkdir(s, s->dir, "empty");
	_cleanup_(bk_node_unrefp) struct bk_node *full = s_mkdir(s, s->dir, "full");

	s_touch(s, full, "x", "");
	s_touch(s, s->dir, "f", "");
	CHECK_EQ(rename_in(s, "f", "empty", 0), -EISDIR);
	CHECK_EQ(rename_in(s, "empty", "f", 0), -ENOTDIR);
	CHECK_EQ(rename_in(s, "empty", "full", 0), -ENOTEMPTY);
	CHECK_EQ(s_count(s, s->dir), 2 + 3);
	CHECK_EQ(rename_in(s, "full", "empty", 0), 0);
	CHECK_EQ(s_exists(s, s->dir, "full"), -ENOENT);
	CHECK_EQ(s_exists(s, full, "x"), 0);
}

static void a_directory_never_goes_below_itself(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_mkdir(s, s->dir, "a");
	_cleanup_(bk_node_unrefp) struct bk_node *b = s_mkdir(s, a, "b");

	CHECK_EQ(bk_rename(s->req, s->dir, "a", a, "x", 0), -EINVAL);
	CHECK_EQ(bk_rename(s->req, s->dir, "a", b, "x", 0), -EINVAL);
	CHECK_EQ(bk_rename(s->req, a, "b", s->dir, "a", 0), -ENOTEMPTY);
	CHECK_EQ(s_exists(s, s->dir, "a"), 0);
	CHECK_EQ(s_exists(s, a, "b"), 0);
}

static void a_moved_directory_takes_its_tree(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_mkdir(s, s->dir, "a");
	_cleanup_(bk_node_unrefp) struct bk_node *b = s_mkdir(s, a, "b");
	_cleanup_(bk_node_unrefp) struct bk_node *to = s_mkdir(s, s->dir, "to");
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, b, "f", "deep");
	_cleanup_(bk_node_unrefp) struct bk_node *moved = NULL, *b2 = NULL, *f2 = NULL;

	CHECK_EQ(bk_rename(s->req, s->dir, "a", to, "a2", 0), 0);
	moved = s_lookup(s, to, "a2");
	b2 = s_lookup(s, moved, "b");
	f2 = s_lookup(s, b2, "f");
	CHECK(moved == a && b2 == b && f2 == f);
	s_check_content(s, f2, "deep");
	s_touch(s, b, "g", "made after");
	CHECK_EQ(s_exists(s, b2, "g"), 0);
}

static void noreplace_replaces_nothing(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *b = s_file(s, s->dir, "b", "b");

	s_touch(s, s->dir, "a", "a");
	CHECK_EQ(rename_in(s, "a", "b", RENAME_NOREPLACE), -EEXIST);
	s_check_content(s, b, "b");
	CHECK_EQ(rename_in(s, "a", "c", RENAME_NOREPLACE), 0);
	CHECK_EQ(s_exists(s, s->dir, "a"), -ENOENT);
	CHECK_EQ(s_exists(s, s->dir, "c"), 0);
	CHECK_EQ(rename_in(s, "b", "b", RENAME_NOREPLACE), -EEXIST);
}

static void exchange_swaps_even_types(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	_cleanup_(bk_node_unrefp) struct bk_node *sub = s_mkdir(s, d, "sub");
	_cleanup_(bk_node_unrefp) struct bk_node *f2 = NULL, *sub2 = NULL;

	if (s->traits->exchange) {
		CHECK_EQ(rename_in(s, "f", "d", RENAME_EXCHANGE), s->traits->exchange);
		s_check_content(s, f, "text");
		return;
	}
	CHECK_EQ(rename_in(s, "f", "none", RENAME_EXCHANGE), -ENOENT);
	CHECK_EQ(bk_rename(s->req, s->dir, "f", d, "sub", RENAME_EXCHANGE), 0);
	sub2 = s_lookup(s, s->dir, "f");
	f2 = s_lookup(s, d, "sub");
	CHECK(sub2 == sub && f2 == f);
	CHECK_EQ(bk_rename(s->req, s->dir, "d", d, "sub", RENAME_EXCHANGE), -EINVAL);
	if (s->traits->dir_links)
		CHECK_EQ(s_stat(s, d).st_nlink, 2);
}

static void two_names_of_one_file_both_stay(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_file(s, s->dir, "a", "text");
	struct bk_node *b;
	struct stat st;

	if (s->traits->link)
		return; /* test_names.c holds the errno */
	CHECK_EQ(bk_link(s->req, a, s->dir, "b", &b, &st), 0);
	CHECK_EQ(rename_in(s, "a", "b", 0), 0);
	CHECK_EQ(s_exists(s, s->dir, "a"), 0);
	CHECK_EQ(s_exists(s, s->dir, "b"), 0);
	CHECK_EQ(s_stat(s, a).st_nlink, s->traits->links_apart ? 1 : 2);
	bk_node_unref(b);
}

static void a_rename_to_itself_changes_nothing(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_file(s, s->dir, "a", "text");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");

	CHECK_EQ(rename_in(s, "a", "a", 0), 0);
	CHECK_EQ(rename_in(s, "d", "d", 0), 0);
	s_check_content(s, a, "text");
	CHECK_EQ(s_count(s, s->dir), 2 + 2);
}

static void unknown_flags_are_EINVAL(struct suite *s)
{
	s_touch(s, s->dir, "a", "");
	s_touch(s, s->dir, "b", "");
	CHECK_EQ(rename_in(s, "a", "b", RENAME_WHITEOUT), -EINVAL);
	CHECK_EQ(rename_in(s, "a", "b", RENAME_EXCHANGE | RENAME_NOREPLACE), -EINVAL);
	CHECK_EQ(rename_in(s, "a", "b", 1 << 20), -EINVAL);
	CHECK_EQ(s_exists(s, s->dir, "a"), 0);
}

const struct suite_test rename_tests[] = {
    TEST(a_file_keeps_its_node_and_number),
    TEST(a_replaced_file_is_gone_but_open),
    TEST(types_must_agree),
    TEST(a_directory_never_goes_below_itself),
    TEST(a_moved_directory_takes_its_tree),
    TEST(noreplace_replaces_nothing),
    TEST(exchange_swaps_even_types),
    TEST(two_names_of_one_file_both_stay),
    TEST(a_rename_to_itself_changes_nothing),
    TEST(unknown_flags_are_EINVAL),
    {NULL},
};
