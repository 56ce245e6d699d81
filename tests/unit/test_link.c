#include "test.h"

#include "base/link.h"

#include <string.h>

static enum link_class classify(const char *target, size_t depth)
{
	return link_classify(target, strlen(target), depth);
}

static void names_only_are_inside_everywhere(void)
{
	static const char *const targets[] = {
	    "a",   "a/b/c", "./a",	 "a/.",	  "a//b", "a/",	   "./././a", ".",	 "...",
	    "..a", "a..",   "a/..b/...", "a/b//", "./",	  ". ./a", ".a/b",    "\xff\xfe"};

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		for (size_t depth = 0; depth < 3; depth++)
			CHECK_EQ(classify(targets[i], depth), LINK_INSIDE);
}

static void absolute_and_empty_are_outside(void)
{
	CHECK_EQ(classify("/", 5), LINK_OUTSIDE);
	CHECK_EQ(classify("//a", 5), LINK_OUTSIDE);
	CHECK_EQ(classify("/a/../b", 5), LINK_OUTSIDE);
	CHECK_EQ(classify("", 5), LINK_OUTSIDE);
}

static void leading_ups_count_against_the_depth(void)
{
	CHECK_EQ(classify("..", 0), LINK_OUTSIDE);
	CHECK_EQ(classify("..", 1), LINK_INSIDE);
	CHECK_EQ(classify("../", 1), LINK_INSIDE);
	CHECK_EQ(classify("../a", 1), LINK_INSIDE);
	CHECK_EQ(classify("../../a", 1), LINK_OUTSIDE);
	CHECK_EQ(classify("../../a", 2), LINK_INSIDE);
	CHECK_EQ(classify("./../a", 0), LINK_OUTSIDE);
	CHECK_EQ(classify("./..//./../a/b", 2), LINK_INSIDE);
	CHECK_EQ(classify(".//..//..//../a", 2), LINK_OUTSIDE);
}

static void an_up_after_a_name_needs_a_walk(void)
{
	CHECK_EQ(classify("a/..", 0), LINK_NEEDS_WALK);
	CHECK_EQ(classify("a/../b", 0), LINK_NEEDS_WALK);
	CHECK_EQ(classify("a//./../b/", 0), LINK_NEEDS_WALK);
	CHECK_EQ(classify("../a/../b", 1), LINK_NEEDS_WALK);
	CHECK_EQ(classify("a/b/../..", 0), LINK_NEEDS_WALK);
	CHECK_EQ(classify("a/../..", 0), LINK_OUTSIDE);
	CHECK_EQ(classify("a/../../b", 1), LINK_NEEDS_WALK);
	CHECK_EQ(classify("a/../../b", 0), LINK_OUTSIDE);
	CHECK_EQ(classify("../a/../../b", 1), LINK_OUTSIDE);
	/* below the root on the way, though it comes back */
	CHECK_EQ(classify("a/../../b/c", 0), LINK_OUTSIDE);
	CHECK_EQ(classify("../x/y", 0), LINK_OUTSIDE);
}

static void the_longest_targets(void)
{
	char t[4096];

	memset(t, 'a', 4095);
	CHECK_EQ(link_classify(t, 4095, 0), LINK_INSIDE);
	memset(t, '/', 4095);
	CHECK_EQ(link_classify(t, 4095, 9), LINK_OUTSIDE);
	t[0] = '.';
	CHECK_EQ(link_classify(t, 4095, 0), LINK_INSIDE);
	for (size_t i = 0; i < 4095; i++)
		t[i] = "../"[i % 3];
	CHECK_EQ(link_classify(t, 4095, 1364), LINK_OUTSIDE);
	CHECK_EQ(link_classify(t, 4095, 1365), LINK_INSIDE);
	for (size_t i = 0; i < 4095; i++)
		t[i] = "a/../"[i % 5];
	CHECK_EQ(link_classify(t, 4095, 0), LINK_NEEDS_WALK);
}

static void only_len_bytes_count(void)
{
	CHECK_EQ(link_classify("../..", 2, 1), LINK_INSIDE);
	CHECK_EQ(link_classify("a/..", 3, 0), LINK_INSIDE); /* "a/." */
}

static void components_come_one_by_one(void)
{
	const char *path = "./a//bc/./../d/", *name;
	static const char *const expect[] = {"a", "bc", "..", "d"};
	size_t pos = 0, n;

	for (size_t i = 0; i < 4; i++) {
		n = link_next(path, strlen(path), &pos, &name);
		CHECK_EQ(n, strlen(expect[i]));
		CHECK(memcmp(name, expect[i], n) == 0);
	}
	CHECK_EQ(link_next(path, strlen(path), &pos, &name), 0);
	CHECK_EQ(link_next(path, strlen(path), &pos, &name), 0);
}

static void check_straight(const char *target, const char *want)
{
	char t[64];
	size_t n = strlen(target);

	memcpy(t, target, n);
	n = link_straighten(t, n);
	CHECK_EQ(n, strlen(want));
	CHECK(memcmp(t, want, n) == 0);
}

static void names_before_an_up_are_taken_out(void)
{
	check_straight("a/../f", "f");
	check_straight("a/b/../../c/f", "c/f");
	check_straight("a/b/../f", "a/f");
	check_straight("a/../../f", "../f");
	check_straight("../../a/../f", "../../f");
	check_straight("../a/../..//./b/", "../../b/");
	check_straight("a/..", ".");
	check_straight("a/../", ".");
	check_straight("..", "..");
	check_straight("...a/../..b", "..b");
	check_straight("a/../b/../..", "..");
}

int main(void)
{
	names_before_an_up_are_taken_out();
	names_only_are_inside_everywhere();
	absolute_and_empty_are_outside();
	leading_ups_count_against_the_depth();
	an_up_after_a_name_needs_a_walk();
	the_longest_targets();
	only_len_bytes_count();
	components_come_one_by_one();
	return 0;
}
