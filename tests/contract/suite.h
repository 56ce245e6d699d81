/*
 * What the tests of the suite share: the place they work in, and calls that must succeed.
 * Each test file ends in a table of its tests; contract_suite.c lists the tables.
 */
#ifndef AIB_CONTRACT_SUITE_H
#define AIB_CONTRACT_SUITE_H

#include "contract.h"
#include "test.h"

#include <fcntl.h>

struct suite {
	const struct contract_traits *traits;
	struct contract_place place;
	struct bk_node *dir; /* place.dir, borrowed */
	struct bk_req *req;
	unsigned seed, steps, many;
	bool slow; /* `many` is not even 1,000: try a sample */
};

struct suite_test {
	const char *name; /* the behaviour, in words_with_underscores */
	void (*run)(struct suite *);
};

#define TEST(function)                                                                             \
	{                                                                                          \
#function, function                                                                \
	}

/* Each table ends with a NULL name. */
extern const struct suite_test names_tests[];
extern const struct suite_test rename_tests[];
extern const struct suite_test attr_tests[];
extern const struct suite_test xattr_tests[];
extern const struct suite_test file_tests[];
extern const struct suite_test dir_tests[];
extern const struct suite_test wrapper_tests[];
extern const struct suite_test thread_tests[];
extern const struct suite_test random_tests[];

/* These must succeed. Nodes come with a reference. */
struct bk_node *s_mkdir(struct suite *, struct bk_node *dir, const char *name);
struct bk_node *s_lookup(struct suite *, struct bk_node *dir, const char *name);
/* A regular file with TEXT in it. */
struct bk_node *s_file(struct suite *, struct bk_node *dir, const char *name, const char *text);
/* The same, without keeping the node. */
void s_touch(struct suite *, struct bk_node *dir, const char *name, const char *text);
struct bk_file *s_open(struct suite *, struct bk_node *node, int flags);
struct stat s_stat(struct suite *, struct bk_node *node);
struct stat s_setattr(struct suite *, struct bk_node *node, const struct bk_setattr *attr);
void s_write(struct suite *, struct bk_file *file, const void *data, size_t size, off_t off);
/* The file's whole content is TEXT. */
void s_check_content(struct suite *, struct bk_node *node, const char *text);

/* 0, or why the name is not there. */
int s_exists(struct suite *, struct bk_node *dir, const char *name);
/* The directory's entries, "." and ".." included. */
size_t s_count(struct suite *, struct bk_node *dir);

/* A number from *STATE below N; the same on every machine. */
uint32_t s_random(uint64_t *state, uint32_t n);

#endif
