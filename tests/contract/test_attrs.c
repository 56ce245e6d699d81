/*
 * Attributes and extended attributes: what setattr changes and what it leaves, times, set-ID
 * bits, owners, statfs.
 */
#include "suite.h"

#include <sys/xattr.h>

static void chmod_sets_permissions_only(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_setattr set = {.mask = BK_SET_MODE, .mode = 0640};

	CHECK_EQ(s_setattr(s, f, &set).st_mode, S_IFREG | 0640);
	CHECK_EQ(s_stat(s, f).st_mode, S_IFREG | 0640);
	CHECK_EQ(s_stat(s, f).st_size, 4);
	set.mode = 01750;
	CHECK_EQ(s_setattr(s, d, &set).st_mode, S_IFDIR | 01750);
}

static void chown_ends_setid_bits(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	struct bk_setattr setid = {.mask = BK_SET_MODE, .mode = 06755};
	struct bk_setattr owner = {.mask = BK_SET_UID | BK_SET_GID, .uid = 1234, .gid = 1235};
	struct stat st;

	if (s->traits->chown) {
		CHECK_EQ(bk_setattr(s->req, f, NULL, &owner, &st), s->traits->chown);
		CHECK_EQ(s_stat(s, f).st_uid, getuid());
		return;
	}
	CHECK_EQ(s_setattr(s, f, &setid).st_mode, S_IFREG | 06755);
	st = s_setattr(s, f, &owner);
	CHECK_EQ(st.st_uid, 1234);
	CHECK_EQ(st.st_gid, 1235);
	CHECK_EQ(st.st_mode, S_IFREG | 0755);
	owner.mask = BK_SET_GID;
	owner.gid = 1236;
	st = s_setattr(s, f, &owner);
	CHECK_EQ(st.st_uid, 1234);
	CHECK_EQ(st.st_gid, 1236);
}

static void a_truncation_can_end_setid_bits(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	struct bk_setattr setid = {.mask = BK_SET_MODE, .mode = 06755};
	struct bk_setattr cut = {.mask = BK_SET_SIZE | BK_SET_KILL_SUIDGID, .size = 2};

	s_setattr(s, f, &setid);
	CHECK_EQ(s_setattr(s, f, &cut).st_mode, S_IFREG | 0755);
	s_check_content(s, f, "te");
}

static void check_time(struct suite *s, struct timespec got, struct timespec set)
{
	uint32_t step = s->traits->time_step_ns ? s->traits->time_step_ns : 1;

	CHECK_EQ(got.tv_sec, set.tv_sec);
	CHECK_EQ(got.tv_nsec, set.tv_nsec - set.tv_nsec % step);
}

static void times_are_kept(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_setattr set = {
	    .mask = BK_SET_ATIME | BK_SET_MTIME,
	    .atime = {1000000000, 123456789},
	    .mtime = {1700000000, 987654321},
	};
	struct stat st = s_setattr(s, f, &set);

	check_time(s, st.st_atim, s->traits->no_atime ? set.mtime : set.atime);
	check_time(s, st.st_mtim, set.mtime);
	set.mask = BK_SET_MTIME;
	set.mtime.tv_sec = 5;
	st = s_setattr(s, f, &set);
	check_time(s, st.st_atim, s->traits->no_atime ? set.mtime : set.atime);
	check_time(s, st.st_mtim, set.mtime);
	st = s_setattr(s, d, &set);
	check_time(s, st.st_mtim, set.mtime);
}

static void now_is_now(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	struct bk_setattr old = {
	    .mask = BK_SET_ATIME | BK_SET_MTIME, .atime = {1000, 0}, .mtime = {1000, 0}};
	struct bk_setattr now = {.mask = BK_SET_ATIME_NOW | BK_SET_MTIME_NOW};
	time_t t = time(NULL);
	struct stat st;

	s_setattr(s, f, &old);
	st = s_setattr(s, f, &now);
	CHECK(labs(st.st_atim.tv_sec - t) < 60);
	CHECK(labs(st.st_mtim.tv_sec - t) < 60);
}

/* Set the directory's and the file's times far back. */
static void age(struct suite *s, struct bk_node *node)
{
	struct bk_setattr old = {
	    .mask = BK_SET_ATIME | BK_SET_MTIME, .atime = {1000, 0}, .mtime = {1000, 0}};

	s_setattr(s, node, &old);
}

static void changes_move_mtime(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, d, "f", "text");
	struct bk_setattr cut = {.mask = BK_SET_SIZE, .size = 1};
	struct bk_file *file;

	age(s, f);
	age(s, d);
	file = s_open(s, f, O_WRONLY);
	s_write(s, file, "x", 1, 0);
	CHECK_EQ(bk_flush(s->req, file), 0);
	bk_release(file);
	CHECK(s_stat(s, f).st_mtim.tv_sec > 1000);
	if (!s->traits->writes_replace)
		CHECK_EQ(s_stat(s, d).st_mtim.tv_sec, 1000);
	age(s, f);
	s_setattr(s, f, &cut);
	CHECK(s_stat(s, f).st_mtim.tv_sec > 1000);
	s_touch(s, d, "g", "");
	CHECK(s_stat(s, d).st_mtim.tv_sec > 1000);
	age(s, d);
	CHECK_EQ(bk_unlink(s->req, d, "g"), 0);
	CHECK(s_stat(s, d).st_mtim.tv_sec > 1000);
}

static void a_setgid_directory_gives_its_group(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_setattr set = {.mask = BK_SET_GID, .gid = 1235};
	_cleanup_(bk_node_unrefp) struct bk_node *f = NULL, *e = NULL;

	if (s->traits->chown || !s->traits->owner_of_request)
		return;
	s_setattr(s, d, &set);
	set = (struct bk_setattr){.mask = BK_SET_MODE, .mode = 02777};
	CHECK_EQ(s_setattr(s, d, &set).st_mode, S_IFDIR | 02777);
	f = s_file(s, d, "f", "");
	e = s_mkdir(s, d, "e");
	CHECK_EQ(s_stat(s, f).st_gid, 1235);
	CHECK_EQ(s_stat(s, e).st_gid, 1235);
	CHECK_EQ(s_stat(s, e).st_mode, S_IFDIR | 02755);
}

static void statfs_adds_up(struct suite *s)
{
	struct statvfs v;

	CHECK_EQ(bk_statfs(s->req, s->dir, &v), 0);
	CHECK(v.f_bsize > 0 && v.f_frsize > 0);
	CHECK(v.f_bfree <= v.f_blocks && v.f_bavail <= v.f_bfree && v.f_ffree <= v.f_files);
	CHECK(v.f_namemax > 0);
}

const struct suite_test attr_tests[] = {
    TEST(chmod_sets_permissions_only),
    TEST(chown_ends_setid_bits),
    TEST(a_truncation_can_end_setid_bits),
    TEST(times_are_kept),
    TEST(now_is_now),
    TEST(changes_move_mtime),
    TEST(a_setgid_directory_gives_its_group),
    TEST(statfs_adds_up),
    {NULL},
};

/* ---- Extended attributes ---- */

static void xattrs_answer_the_documented_errno(struct suite *s, struct bk_node *f)
{
	char buf[16];

	CHECK_EQ(bk_setxattr(s->req, f, "user.a", "1", 1, 0), s->traits->xattr);
	CHECK_EQ(bk_getxattr(s->req, f, "user.a", buf, sizeof(buf)), s->traits->xattr);
	CHECK_EQ(bk_listxattr(s->req, f, buf, sizeof(buf)), s->traits->xattr);
	CHECK_EQ(bk_removexattr(s->req, f, "user.a"), s->traits->xattr);
}

static void xattrs_are_kept_byte_for_byte(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	static const char value[] = "a\0b\xff";
	char buf[64];

	if (s->traits->xattr) {
		xattrs_answer_the_documented_errno(s, f);
		return;
	}
	CHECK_EQ(bk_getxattr(s->req, f, "user.a", buf, sizeof(buf)), -ENODATA);
	CHECK_EQ(bk_listxattr(s->req, f, NULL, 0), 0);
	CHECK_EQ(bk_setxattr(s->req, f, "user.a", value, sizeof(value), 0), 0);
	CHECK_EQ(bk_setxattr(s->req, f, "user.empty", "", 0, 0), 0);
	CHECK_EQ(bk_getxattr(s->req, f, "user.a", NULL, 0), sizeof(value));
	CHECK_EQ(bk_getxattr(s->req, f, "user.a", buf, sizeof(buf)), sizeof(value));
	CHECK(memcmp(buf, value, sizeof(value)) == 0);
	CHECK_EQ(bk_getxattr(s->req, f, "user.a", buf, 2), -ERANGE);
	CHECK_EQ(bk_getxattr(s->req, f, "user.empty", buf, sizeof(buf)), 0);
	CHECK_EQ(bk_listxattr(s->req, f, NULL, 0), sizeof("user.a") + sizeof("user.empty"));
	CHECK_EQ(bk_listxattr(s->req, f, buf, 3), -ERANGE);
	CHECK_EQ(bk_listxattr(s->req, f, buf, sizeof(buf)),
		 sizeof("user.a") + sizeof("user.empty"));
	CHECK(memmem(buf, sizeof(buf), "user.a", sizeof("user.a")));
	CHECK(memmem(buf, sizeof(buf), "user.empty", sizeof("user.empty")));
}

static void xattr_flags_are_obeyed(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	char buf[8];

	if (s->traits->xattr)
		return;
	CHECK_EQ(bk_setxattr(s->req, f, "user.a", "1", 1, XATTR_REPLACE), -ENODATA);
	CHECK_EQ(bk_setxattr(s->req, f, "user.a", "1", 1, XATTR_CREATE), 0);
	CHECK_EQ(bk_setxattr(s->req, f, "user.a", "2", 1, XATTR_CREATE), -EEXIST);
	CHECK_EQ(bk_setxattr(s->req, f, "user.a", "333", 3, XATTR_REPLACE), 0);
	CHECK_EQ(bk_getxattr(s->req, f, "user.a", buf, sizeof(buf)), 3);
	CHECK_EQ(bk_removexattr(s->req, f, "user.a"), 0);
	CHECK_EQ(bk_removexattr(s->req, f, "user.a"), -ENODATA);
	CHECK_EQ(bk_setxattr(s->req, f, "nospace.a", "1", 1, 0), -EOPNOTSUPP);
}

const struct suite_test xattr_tests[] = {
    TEST(xattrs_are_kept_byte_for_byte),
    TEST(xattr_flags_are_obeyed),
    {NULL},
};
