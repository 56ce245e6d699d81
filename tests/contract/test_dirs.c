/*
 * Listing: every entry once, in pieces of any size, while the directory changes.
 */
#include "suite.h"

#include <dirent.h>

/* What a listing has seen: how often each eN, and where to go on. */
struct seen {
	struct suite *s;
	unsigned char *times; /* by N */
	unsigned max, others, dots;
	unsigned left; /* entries that may still be taken */
	uint64_t cookie;
};

static bool take(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct seen *seen = ctx;
	unsigned n;

	if (seen->left == 0)
		return false;
	seen->left--;
	seen->cookie = next;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		seen->dots++;
	else if (sscanf(name, "e%u", &n) == 1 && n < seen->max)
		seen->times[n]++;
	else
		seen->others++;
	return true;
}

/* Take N entries more; false where there were none. */
static bool go_on(struct seen *seen, struct bk_file *file, unsigned n)
{
	seen->left = n;
	CHECK_EQ(bk_readdir(seen->s->req, file, seen->cookie, take, seen), 0);
	return seen->left < n;
}

static void make_entries(struct suite *s, struct bk_node *dir, unsigned from, unsigned to)
{
	struct bk_node *node;
	struct stat st;
	char name[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "e%u", i);
		CHECK_EQ(bk_mknod(s->req, dir, name, S_IFREG | 0644, 0, &node, &st), 0);
		bk_node_unref(node);
	}
}

static void remove_entry(struct suite *s, struct bk_node *dir, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "e%u", i);
	CHECK_EQ(bk_unlink(s->req, dir, name), 0);
}

static void many_entries_are_listed_once(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	struct seen seen = {.s = s, .times = calloc(s->many, 1), .max = s->many};
	struct bk_file *file;

	make_entries(s, d, 0, s->many);
	CHECK_EQ(bk_opendir(s->req, d, &file), 0);
	while (go_on(&seen, file, 37))
		;
	for (unsigned i = 0; i < s->many; i++)
		CHECK_EQ(seen.times[i], 1);
	CHECK_EQ(seen.dots, 2);
	CHECK_EQ(seen.others, 0);
	CHECK_EQ(bk_fsyncdir(s->req, file, false), 0);
	bk_release(file);
	CHECK_EQ(s_count(s, d), s->many + 2);
	free(seen.times);
}

static bool count_one(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	++*(unsigned *)ctx;
	return true;
}

/* Whoever takes all that there is need not ask whether there is more. */
static void a_listing_goes_on_to_the_end(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	unsigned many = s->slow ? 3 : s->many / 4, n = 0;
	struct bk_file *file;

	make_entries(s, d, 0, many);
	CHECK_EQ(bk_opendir(s->req, d, &file), 0);
	CHECK_EQ(bk_readdir(s->req, file, 0, count_one, &n), 0);
	CHECK_EQ(n, many + 2);
	bk_release(file);
}

/* One entry of three goes, and a new one comes, between every two pieces of the listing. */
static void changes_neither_hide_nor_repeat(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	unsigned n = s->many / 4, made = n, gone = 0;
	struct seen seen = {.s = s, .times = calloc(3 * n, 1), .max = 3 * n};
	struct bk_file *file;

	make_entries(s, d, 0, n);
	CHECK_EQ(bk_opendir(s->req, d, &file), 0);
	while (go_on(&seen, file, 5)) {
		for (int i = 0; i < 3 && gone < n; i++, gone += 3)
			remove_entry(s, d, gone);
		if (made < 3 * n) {
			make_entries(s, d, made, made + 1);
			made++;
		}
	}
	bk_release(file);
	for (unsigned i = 0; i < 3 * n; i++) {
		if (i < n && i % 3 != 0)
			CHECK_EQ(seen.times[i], 1);
		else
			CHECK(seen.times[i] <= 1);
	}
	free(seen.times);
}

/* As rm -r: a piece is listed, then removed, then the listing goes on. */
static void a_directory_is_emptied_while_listed(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *d = s_mkdir(s, s->dir, "d");
	unsigned n = s->many / 4;
	struct seen seen = {.s = s, .times = calloc(n, 1), .max = n};
	struct bk_file *file;

	make_entries(s, d, 0, n);
	CHECK_EQ(bk_opendir(s->req, d, &file), 0);
	while (go_on(&seen, file, 20))
		for (unsigned i = 0; i < n; i++)
			if (seen.times[i] == 1) {
				remove_entry(s, d, i);
				seen.times[i] = 2;
			}
	bk_release(file);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(seen.times[i], 2);
	CHECK_EQ(s_count(s, d), 2);
	CHECK_EQ(bk_rmdir(s->req, s->dir, "d"), 0);
	free(seen.times);
}

struct kinds {
	struct suite *s;
	unsigned found;
};

static bool check_kind(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct kinds *k = ctx;
	struct bk_node *node;
	struct stat st;

	CHECK(next != 0);
	if (name[0] == '.')
		return true;
	/* The backend may be called from here. */
	CHECK_EQ(bk_lookup(k->s->req, k->s->dir, name, &node, &st), 0);
	CHECK(type == DT_UNKNOWN || type == IFTODT(st.st_mode));
	CHECK(ino == 0 || ino == st.st_ino);
	bk_node_unref(node);
	k->found++;
	return true;
}

static void entries_tell_type_and_number(struct suite *s)
{
	struct kinds kinds = {.s = s};
	struct bk_file *file;
	struct bk_node *node;
	struct stat st;
	unsigned made = 2;

	s_touch(s, s->dir, "f", "");
	bk_node_unref(s_mkdir(s, s->dir, "d"));
	if (s->traits->symlink == 0) {
		CHECK_EQ(bk_symlink(s->req, s->dir, "l", "f", &node, &st), 0);
		bk_node_unref(node);
		made++;
	}
	CHECK_EQ(bk_opendir(s->req, s->dir, &file), 0);
	CHECK_EQ(bk_readdir(s->req, file, 0, check_kind, &kinds), 0);
	bk_release(file);
	CHECK_EQ(kinds.found, made);
}

static void an_empty_directory_lists_its_dots(struct suite *s)
{
	CHECK_EQ(s_count(s, s->dir), 2);
}

static void a_listing_starts_again_from_zero(struct suite *s)
{
	struct seen seen = {.s = s, .times = calloc(8, 1), .max = 8};
	struct bk_file *file;

	make_entries(s, s->dir, 0, 4);
	CHECK_EQ(bk_opendir(s->req, s->dir, &file), 0);
	while (go_on(&seen, file, 100))
		;
	make_entries(s, s->dir, 4, 8);
	seen.cookie = 0;
	while (go_on(&seen, file, 100))
		;
	bk_release(file);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(seen.times[i], 2);
	for (int i = 4; i < 8; i++)
		CHECK(seen.times[i] <= 1); /* a backend may list what was there at opendir */
	free(seen.times);
}

const struct suite_test dir_tests[] = {
    TEST(an_empty_directory_lists_its_dots),
    TEST(a_listing_goes_on_to_the_end),
    TEST(many_entries_are_listed_once),
    TEST(changes_neither_hide_nor_repeat),
    TEST(a_directory_is_emptied_while_listed),
    TEST(entries_tell_type_and_number),
    TEST(a_listing_starts_again_from_zero),
    {NULL},
};
