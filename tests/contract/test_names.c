/*
 * Making, finding and removing names: identity of nodes, errnos, hard links, names of any bytes.
 */
#include "suite.h"

#include <limits.h>
#include <sys/sysmacros.h>

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

static void a_hard_link_is_the_same_node(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *a = s_file(s, s->dir, "a", "text");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_node *b;
	struct stat st;
	int r = bk_link(s->req, a, d, "b", &b, &st);

	CHECK_EQ(r, s->traits->link);
	if (r < 0) {
		CHECK_EQ(s_exists(s, d, "b"), -ENOENT);
		CHECK_EQ(s_stat(s, a).st_nlink, 1);
		return;
	}
	CHECK_EQ(a != b, s->traits->links_apart);
	CHECK_EQ(st.st_nlink, s->traits->links_apart ? 1 : 2);
	s_check_content(s, b, "text");
	bk_node_unref(b);
	CHECK_EQ(bk_link(s->req, a, d, "b", &b, &st), -EEXIST);
	CHECK_EQ(bk_unlink(s->req, s->dir, "a"), 0);
	b = s_lookup(s, d, "b");
	CHECK_EQ(s_stat(s, b).st_nlink, 1);
	s_check_content(s, b, "text");
	bk_node_unref(b);
}

static void a_directory_has_no_hard_links(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_link(s->req, d, s->dir, "e", &node, &st),
		 s->traits->link ? s->traits->link : -EPERM);
	CHECK_EQ(s_exists(s, s->dir, "e"), -ENOENT);
}

static void removing_checks_the_type(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");

	s_touch(s, s->dir, "f", "");
	s_touch(s, d, "inside", "");
	CHECK_EQ(bk_unlink(s->req, s->dir, "d"), -EISDIR);
	CHECK_EQ(bk_rmdir(s->req, s->dir, "f"), -ENOTDIR);
	CHECK_EQ(bk_rmdir(s->req, s->dir, "d"), -ENOTEMPTY);
	CHECK_EQ(bk_unlink(s->req, d, "inside"), 0);
	CHECK_EQ(bk_rmdir(s->req, s->dir, "d"), 0);
	CHECK_EQ(bk_unlink(s->req, s->dir, "f"), 0);
	CHECK_EQ(s_exists(s, s->dir, "d"), -ENOENT);
	CHECK_EQ(s_exists(s, s->dir, "f"), -ENOENT);
}

static void nothing_is_made_in_a_removed_directory(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_rmdir(s->req, s->dir, "d"), 0);
	CHECK_EQ(bk_mknod(s->req, d, "f", S_IFREG | 0644, 0, &node, &st), -ENOENT);
	CHECK_EQ(bk_mkdir(s->req, d, "e", 0755, &node, &st), -ENOENT);
	CHECK_EQ(s_exists(s, d, "f"), -ENOENT);
	s_touch(s, s->dir, "g", "");
	CHECK_EQ(bk_rename(s->req, s->dir, "g", d, "g", 0), -ENOENT);
	CHECK_EQ(s_exists(s, s->dir, "g"), 0);
}

static void a_directory_counts_its_directories(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	_cleanup_(bk_node_unrefp) struct bk_node *e = s_mkdir(s, s->dir, "e");
	_cleanup_(bk_node_unrefp) struct bk_node *sub = s_mkdir(s, d, "sub");

	s_touch(s, d, "file", "");
	if (s->traits->dir_links) {
		CHECK_EQ(s_stat(s, d).st_nlink, 3);
		CHECK_EQ(s_stat(s, e).st_nlink, 2);
		CHECK_EQ(bk_rename(s->req, d, "sub", e, "sub", 0), 0);
		CHECK_EQ(s_stat(s, d).st_nlink, 2);
		CHECK_EQ(s_stat(s, e).st_nlink, 3);
		CHECK_EQ(bk_rmdir(s->req, e, "sub"), 0);
		CHECK_EQ(s_stat(s, e).st_nlink, 2);
	} else {
		CHECK(s_stat(s, d).st_nlink >= 1);
	}
}

static void a_name_is_utf8(struct suite *s)
{
	static const char *const bad[] = {"\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80",
					  "\xf5\x80\x80\x80"};
	static const char *const good[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	struct bk_node *node;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = bk_mkdir(s->req, s->dir, bad[i], 0755, &node, &st);

		CHECK_EQ(r, s->traits->utf8_names ? -EILSEQ : 0);
		if (r == 0)
			bk_node_unref(node);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		node = s_file(s, s->dir, good[i], good[i]);
		s_check_content(s, node, good[i]);
		bk_node_unref(node);
	}
}

#define NAME_BYTES 16 /* in one name, where each file takes its time */

/* A name of `n` bytes from `c` on, but for the slash, and of one more: so it is no "." either. */
static void byte_name(char *name, int c, int n)
{
	char more = 'x';

	for (int i = 0; i < n; i++, c++) {
		*name++ = c == '/' ? 'x' : c;
		if (c == '/')
			more = 'y';
	}
	*name++ = more;
	*name = 0;
}

static void names_may_hold_any_byte(struct suite *s)
{
	int end = s->traits->utf8_names ? 128 : 256, step = s->slow ? NAME_BYTES : 1;
	char name[NAME_BYTES + 2];
	struct bk_node *node;

	for (int c = 1; c < end; c += step) {
		byte_name(name, c, c + step < end ? step : end - c);
		node = s_file(s, s->dir, name, name);
		bk_node_unref(node);
	}
	for (int c = 1; c < end; c += step) {
		byte_name(name, c, c + step < end ? step : end - c);
		node = s_lookup(s, s->dir, name);
		s_check_content(s, node, name);
		bk_node_unref(node);
	}
}

static void names_are_at_most_255_bytes(struct suite *s)
{
	char ok[NAME_MAX + 1] = "", bad[NAME_MAX + 2] = "";
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;

	memset(ok, 'n', NAME_MAX);
	memset(bad, 'n', NAME_MAX + 1);
	s_touch(s, s->dir, ok, "long");
	CHECK_EQ(s_exists(s, s->dir, ok), 0);
	CHECK_EQ(s_exists(s, s->dir, bad), -ENAMETOOLONG);
	CHECK_EQ(bk_mknod(s->req, s->dir, bad, S_IFREG | 0644, 0, &node, &st), -ENAMETOOLONG);
	CHECK_EQ(bk_create(s->req, s->dir, bad, 0644, O_RDWR, &node, &file, &st), -ENAMETOOLONG);
	CHECK_EQ(bk_mkdir(s->req, s->dir, bad, 0755, &node, &st), -ENAMETOOLONG);
	CHECK_EQ(bk_symlink(s->req, s->dir, bad, "t", &node, &st), -ENAMETOOLONG);
	CHECK_EQ(bk_unlink(s->req, s->dir, bad), -ENAMETOOLONG);
	CHECK_EQ(bk_rmdir(s->req, s->dir, bad), -ENAMETOOLONG);
	CHECK_EQ(bk_rename(s->req, s->dir, ok, s->dir, bad, 0), -ENAMETOOLONG);
	CHECK_EQ(bk_unlink(s->req, s->dir, ok), 0);
}

static void check_special(struct suite *s, const char *name, mode_t type, dev_t dev, int want)
{
	struct bk_node *node;
	struct stat st;
	int r = bk_mknod(s->req, s->dir, name, type | 0640, dev, &node, &st);

	CHECK_EQ(r, want);
	if (r < 0) {
		CHECK_EQ(s_exists(s, s->dir, name), -ENOENT);
		return;
	}
	CHECK_EQ(st.st_mode, type | 0640);
	if (dev)
		CHECK_EQ(st.st_rdev, dev);
	bk_node_unref(node);
	CHECK_EQ(bk_unlink(s->req, s->dir, name), 0);
}

static void special_files_are_made(struct suite *s)
{
	check_special(s, "fifo", S_IFIFO, 0, s->traits->fifo);
	check_special(s, "socket", S_IFSOCK, 0, s->traits->socket);
	check_special(s, "device", S_IFCHR, makedev(1, 3), s->traits->device);
}

static void check_link(struct suite *s, const char *target)
{
	struct bk_node *node;
	struct stat st;
	char got[PATH_MAX + 1];
	int n;

	CHECK_EQ(bk_symlink(s->req, s->dir, "link", target, &node, &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	CHECK_EQ(st.st_size, strlen(target));
	n = bk_readlink(s->req, node, got);
	CHECK_EQ(n, strlen(target));
	CHECK(memcmp(got, target, n) == 0);
	bk_node_unref(node);
	CHECK_EQ(bk_unlink(s->req, s->dir, "link"), 0);
}

static void symlinks_keep_their_target(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "");
	char longest[PATH_MAX] = "", too_long[PATH_MAX + 1] = "", buf[PATH_MAX];
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_readlink(s->req, f, buf), -EINVAL);
	memset(too_long, 'x', PATH_MAX);
	CHECK_EQ(bk_symlink(s->req, s->dir, "link", too_long, &node, &st), -ENAMETOOLONG);
	if (s->traits->symlink) {
		CHECK_EQ(bk_symlink(s->req, s->dir, "link", "f", &node, &st), s->traits->symlink);
		return;
	}
	check_link(s, "f");
	check_link(s, "none/of/these");
	if (!s->traits->links_verbatim)
		return;
	check_link(s, "/etc/passwd");
	check_link(s, "../../../..");
	for (size_t i = 0; i < PATH_MAX - 1; i++)
		longest[i] = i % 100 == 50 ? '/' : 'y';
	check_link(s, longest);
}

static void new_files_belong_to_the_caller(struct suite *s)
{
	struct bk_setattr open_to_all = {.mask = BK_SET_MODE, .mode = 0777};
	struct bk_req req;
	struct bk_node *f, *d;
	struct stat st;

	if (!s->traits->owner_of_request)
		return;
	if (getuid() == 0)
		s_setattr(s, s->dir, &open_to_all);
	bk_req_init(&req, getuid() ? getuid() : 1234, getgid() ? getgid() : 1235, 0, 0);
	CHECK_EQ(bk_mknod(&req, s->dir, "f", S_IFREG | 0604, 0, &f, &st), 0);
	CHECK_EQ(st.st_uid, req.uid);
	CHECK_EQ(st.st_gid, req.gid);
	CHECK_EQ(st.st_mode, S_IFREG | 0604);
	CHECK_EQ(bk_mkdir(&req, s->dir, "d", 0705, &d, &st), 0);
	CHECK_EQ(st.st_uid, req.uid);
	CHECK_EQ(st.st_mode, S_IFDIR | 0705);
	bk_req_done(&req);
	bk_node_unref(f);
	bk_node_unref(d);
}

const struct suite_test names_tests[] = {
    TEST(a_missing_name_is_ENOENT),
    TEST(a_file_is_the_same_node_at_every_lookup),
    TEST(a_number_stays_when_no_node_is_held),
    TEST(an_existing_name_is_EEXIST),
    TEST(a_hard_link_is_the_same_node),
    TEST(a_directory_has_no_hard_links),
    TEST(removing_checks_the_type),
    TEST(nothing_is_made_in_a_removed_directory),
    TEST(a_directory_counts_its_directories),
    TEST(a_name_is_utf8),
    TEST(names_may_hold_any_byte),
    TEST(names_are_at_most_255_bytes),
    TEST(special_files_are_made),
    TEST(symlinks_keep_their_target),
    TEST(new_files_belong_to_the_caller),
    {NULL},
};
