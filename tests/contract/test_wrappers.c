/*
 * What the wrappers promise for every backend: read-only routes, cancelled and late requests.
 */
#include "suite.h"

static void a_readonly_route_changes_nothing(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *f = s_file(s, s->dir, "f", "text");
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct bk_setattr set = {.mask = BK_SET_MODE, .mode = 0600};
	struct bk *bk = bk_serving(s->dir, "x");
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;

	bk->readonly = true;
	CHECK_EQ(bk_mknod(s->req, s->dir, "x", S_IFREG | 0644, 0, &node, &st), -EROFS);
	CHECK_EQ(bk_mkdir(s->req, s->dir, "x", 0755, &node, &st), -EROFS);
	CHECK_EQ(bk_symlink(s->req, s->dir, "x", "t", &node, &st), -EROFS);
	CHECK_EQ(bk_link(s->req, f, s->dir, "x", &node, &st), -EROFS);
	CHECK_EQ(bk_create(s->req, s->dir, "x", 0644, O_RDWR, &node, &file, &st), -EROFS);
	CHECK_EQ(bk_unlink(s->req, s->dir, "f"), -EROFS);
	CHECK_EQ(bk_rmdir(s->req, s->dir, "d"), -EROFS);
	CHECK_EQ(bk_rename(s->req, s->dir, "f", s->dir, "g", 0), -EROFS);
	CHECK_EQ(bk_setattr(s->req, f, NULL, &set, &st), -EROFS);
	CHECK_EQ(bk_setxattr(s->req, f, "user.a", "1", 1, 0), -EROFS);
	CHECK_EQ(bk_removexattr(s->req, f, "user.a"), -EROFS);
	CHECK_EQ(bk_open(s->req, f, O_WRONLY, &file), -EROFS);
	CHECK_EQ(bk_open(s->req, f, O_RDONLY | O_TRUNC, &file), -EROFS);
	s_check_content(s, f, "text");
	CHECK_EQ(s_count(s, s->dir), 2 + 2);
	file = s_open(s, f, O_RDONLY);
	CHECK_EQ(bk_write(s->req, file, "x", 1, 0), -EROFS);
	CHECK_EQ(bk_fallocate(s->req, file, 0, 0, 10), -EROFS);
	bk_release(file);
	bk->readonly = false;
	s_check_content(s, f, "text");
}

/* Ended or done, never half. */
static void check_ended(struct suite *s, struct bk_req *req, int want)
{
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;
	int r = bk_mkdir(req, s->dir, "d", 0755, &node, &st);

	CHECK(r == 0 || r == want);
	CHECK_EQ(s_exists(s, s->dir, "d"), r == 0 ? 0 : -ENOENT);
	if (r == 0)
		bk_node_unref(node);
	r = bk_create(req, s->dir, "f", 0644, O_CREAT | O_EXCL | O_RDWR, &node, &file, &st);
	CHECK(r == 0 || r == want);
	if (r < 0)
		return;
	r = bk_write(req, file, "data", 4, 0);
	CHECK(r == 4 || r == want);
	bk_release(file);
	bk_node_unref(node);
}

static void a_cancelled_request_ends(struct suite *s)
{
	struct bk_req req;

	bk_req_init(&req, getuid(), getgid(), 0, 0);
	bk_req_cancel(&req);
	bk_req_cancel(&req);
	CHECK_EQ(bk_req_check(&req), -EINTR);
	check_ended(s, &req, -EINTR);
	bk_req_done(&req);
}

static void a_late_request_ends(struct suite *s)
{
	struct bk_req req;

	bk_req_init(&req, getuid(), getgid(), 0, 1);
	usleep(3000);
	CHECK_EQ(bk_req_check(&req), -ETIMEDOUT);
	check_ended(s, &req, -ETIMEDOUT);
	bk_req_done(&req);
}

static void dots_are_not_names(struct suite *s)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(s_exists(s, s->dir, "."), -EINVAL);
	CHECK_EQ(s_exists(s, s->dir, ".."), -EINVAL);
	CHECK_EQ(bk_mkdir(s->req, s->dir, "..", 0755, &node, &st), -EINVAL);
	CHECK_EQ(bk_unlink(s->req, s->dir, ".."), -EINVAL);
}

static void calls_and_errors_are_counted(struct suite *s)
{
	uint64_t calls = atomic_load(&s->dir->bk->calls), errors = atomic_load(&s->dir->bk->errors);

	CHECK_EQ(s_exists(s, s->dir, "none"), -ENOENT);
	CHECK_EQ(atomic_load(&s->dir->bk->calls), calls + 1);
	CHECK_EQ(atomic_load(&s->dir->bk->errors), errors + 1);
}

const struct suite_test wrapper_tests[] = {
    TEST(a_readonly_route_changes_nothing),
    TEST(a_cancelled_request_ends),
    TEST(a_late_request_ends),
    TEST(dots_are_not_names),
    TEST(calls_and_errors_are_counted),
    {NULL},
};
