/*
 * Making, finding and removing names: identity of nodes, errnos, hard links, names of any bytes.
 */
#include "suite.h"

#include <limits.h>

static void a_missing_name_is_ENOENT(struct suite *s)
{
	CHECK_EQ(s_exists(s, s->dir, "none"), -ENOENT);
	CHECK_EQ(bk_unlink(s->req, s->dir, "none"), -ENOENT);
	CHECK_EQ(bk_rmdir(s->req, s->dir, "none"), -ENOENT);
	CHECK_EQ(bk_rename(s->req, s->dir, "none", s->dir, "other", 0), -ENOENT);
}

static void a_file_is_the_same_node_at_every_lookup(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_file(s, s->dir, "a", "x");
	_cleanup_(bk_node_unrefp) struct bk_node *again = s_lookup(s, s->dir, "a");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	_cleanup_(bk_node_unrefp) struct bk_node *d_again = s_lookup(s, s->dir, "d");
	struct stat st = s_stat(s, a), st_again = s_stat(s, again);

	CHECK(a == again);
	CHECK(d == d_again);
	CHECK_EQ(st.st_ino, st_again.st_ino);
	CHECK(st.st_ino != s_stat(s, d).st_ino);
}

static void a_number_stays_when_no_node_is_held(struct suite *s)
{
	struct stat before, after;
	struct bk_node *node = s_file(s, s->dir, "a", "x");

	before = s_stat(s, node);
	bk_node_unref(node);
	node = s_lookup(s, s->dir, "a");
	after = s_stat(s, node);
	bk_node_unref(node);
	CHECK_EQ(before.st_ino, after.st_ino);
}

static void an_existing_name_is_EEXIST(struct suite *s)
{
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;

	s_touch(s, s->dir, "f", "text");
	CHECK_EQ(bk_mknod(s->req, s->dir, "f", S_IFREG | 0644, 0, &node, &st), -EEXIST);
	CHECK_EQ(bk_mkdir(s->req, s->dir, "f", 0755, &node, &st), -EEXIST);
	if (s->traits->symlink == 0)
		CHECK_EQ(bk_symlink(s->req, s->dir, "f", "t", &node, &st), -EEXIST);
	CHECK_EQ(bk_create(s->req, s->dir, "f", 0644, O_CREAT | O_EXCL | O_RDWR, &node, &file, &st),
		 -EEXIST);
	CHECK_EQ(bk_create(s->req, s->dir, "f", 0600, O_CREAT | O_RDWR, &node, &file, &st), 0);
	CHECK_EQ(st.st_size, 4);
	CHECK_EQ(st.st_mode, S_IFREG | 0644);
	bk_release(file);
	bk_node_unref(node);
}

const struct suite_test names_tests[] = {
    {"a_missing_name_is_ENOENT", a_missing_name_is_ENOENT},
    {"a_file_is_the_same_node_at_every_lookup", a_file_is_the_same_node_at_every_lookup},
    {"a_number_stays_when_no_node_is_held", a_number_stays_when_no_node_is_held},
    {"an_existing_name_is_EEXIST", an_existing_name_is_EEXIST},
    {NULL},
};
