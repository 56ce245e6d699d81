/*
 * The memory backend beside the contract: its options, its limits, that what is removed comes
 * back, and directories of a million entries.
 */
#include "backend.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <malloc.h>

#ifdef __has_feature /* clang, which has no macro for it */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#elif __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY 20000
#define MEASURED 0 /* sanitizers have an allocator of their own */
#else
#define MANY 1000000
#define MEASURED 1
#endif

static struct bk *make(const char *json)
{
	static const struct bk_mount mount = {
	    .id = "test", .mountpoint = "/nowhere", .uid = 1000, .gid = 1001};
	cJSON *options = cJSON_Parse(json);
	const struct bk_type *type;
	struct bk *bk;

	CHECK(options);
	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/", options, NULL, &bk, NULL), 0);
	cJSON_Delete(options);
	return bk;
}

static void check_refused(const char *json, const char *word)
{
	static const struct bk_mount mount = {.id = "test", .mountpoint = "/nowhere"};
	cJSON *options = cJSON_Parse(json);
	const struct bk_type *type;
	struct err err = {""};
	struct bk *bk = NULL;

	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/", options, NULL, &bk, &err), -EINVAL);
	CHECK(strstr(err.text, word));
	CHECK(!bk);
	cJSON_Delete(options);
}

static struct bk_node *make_file(struct bk_node *dir, const char *name, struct bk_file **ret)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_create(NULL, dir, name, 0644, O_CREAT | O_EXCL | O_RDWR, &node, ret, &st), 0);
	return node;
}

static struct statvfs usage(struct bk_node *node)
{
	struct statvfs v;

	CHECK_EQ(bk_statfs(NULL, node, &v), 0);
	return v;
}

static void check_all_free(struct bk_node *root)
{
	struct statvfs v = usage(root);

	CHECK_EQ(v.f_bfree, v.f_blocks);
	CHECK_EQ(v.f_ffree, v.f_files - 1);
}

static void bad_options_are_named(void)
{
	check_refused("{\"sice\": \"1G\"}", "sice");
	check_refused("{\"size\": \"lots\"}", "size");
	check_refused("{\"mode\": \"rwx\"}", "mode");
	check_refused("{\"uid\": 4294967295}", "uid");
	check_refused("{\"inodes\": 0}", "inodes");
}

static void the_root_is_the_owners(void)
{
	struct bk *bk = make("{}");
	struct bk_node *root = bk_root(bk);
	struct stat st;

	CHECK_EQ(bk_getattr(NULL, root, NULL, &st), 0);
	CHECK_EQ(st.st_mode, S_IFDIR | 0755);
	CHECK_EQ(st.st_uid, 1000);
	CHECK_EQ(st.st_gid, 1001);
	bk_node_unref(root);
	bk_free(bk);

	bk = make("{\"mode\": \"1777\", \"uid\": 5, \"gid\": 6}");
	root = bk_root(bk);
	CHECK_EQ(bk_getattr(NULL, root, NULL, &st), 0);
	CHECK_EQ(st.st_mode, S_IFDIR | 01777);
	CHECK_EQ(st.st_uid, 5);
	CHECK_EQ(st.st_gid, 6);
	bk_node_unref(root);
	bk_free(bk);
}

static void a_full_route_refuses_and_recovers(void)
{
	struct bk *bk = make("{\"size\": \"1M\"}");
	struct bk_node *root = bk_root(bk), *a, *b;
	struct bk_file *file, *file_b;
	char data[100000];
	off_t off = 0;
	struct stat st;
	ssize_t n;

	memset(data, 'x', sizeof(data));
	a = make_file(root, "a", &file);
	while ((n = bk_write(NULL, file, data, sizeof(data), off)) > 0)
		off += n;
	CHECK_EQ(n, -ENOSPC);
	CHECK(off > 1000000 && off < 1 << 20);
	CHECK_EQ(bk_getattr(NULL, a, NULL, &st), 0);
	CHECK_EQ(st.st_size, off);

	/* What has its memory can still be written; nothing else can be, or changes. */
	CHECK_EQ(bk_write(NULL, file, "y", 1, 0), 1);
	b = make_file(root, "b", &file_b);
	CHECK_EQ(bk_write(NULL, file_b, data, 10, 0), -ENOSPC);
	CHECK_EQ(bk_fallocate(NULL, file_b, 0, 0, 5000), -ENOSPC);
	CHECK_EQ(bk_getattr(NULL, b, NULL, &st), 0);
	CHECK_EQ(st.st_size, 0);
	CHECK_EQ(st.st_blocks, 0);

	/* Removed, but open: still there. Closed: free. */
	CHECK_EQ(bk_unlink(NULL, root, "a"), 0);
	bk_node_unref(a);
	CHECK_EQ(bk_write(NULL, file_b, data, 10, 0), -ENOSPC);
	bk_release(file);
	CHECK_EQ(bk_write(NULL, file_b, data, sizeof(data), 0), sizeof(data));
	bk_release(file_b);
	CHECK_EQ(bk_unlink(NULL, root, "b"), 0);
	bk_node_unref(b);
	check_all_free(root);
	bk_node_unref(root);
	bk_free(bk);
}

static void links_and_xattrs_count_too(void)
{
	struct bk *bk = make("{\"size\": \"64K\"}");
	struct bk_node *root = bk_root(bk), *node;
	char value[60000] = "", target[4001] = "";
	struct stat st;

	memset(target, 't', 4000);
	CHECK_EQ(bk_setxattr(NULL, root, "user.a", value, sizeof(value), 0), 0);
	CHECK_EQ(bk_setxattr(NULL, root, "user.b", value, sizeof(value), 0), -ENOSPC);
	CHECK_EQ(bk_symlink(NULL, root, "l", target, &node, &st), 0);
	bk_node_unref(node);
	CHECK_EQ(bk_symlink(NULL, root, "m", target, &node, &st), -ENOSPC);
	CHECK_EQ(bk_removexattr(NULL, root, "user.a"), 0);
	CHECK_EQ(bk_unlink(NULL, root, "l"), 0);
	check_all_free(root);
	bk_node_unref(root);
	bk_free(bk);
}

static void inodes_are_limited_with_their_links(void)
{
	struct bk *bk = make("{\"inodes\": 3}");
	struct bk_node *root = bk_root(bk), *a, *node;
	struct bk_file *file;
	struct stat st;

	a = make_file(root, "a", &file);
	CHECK_EQ(bk_link(NULL, a, root, "b", &node, &st), 0);
	bk_node_unref(node);
	CHECK_EQ(bk_link(NULL, a, root, "c", &node, &st), -ENOSPC);
	CHECK_EQ(bk_mkdir(NULL, root, "d", 0755, &node, &st), -ENOSPC);
	CHECK_EQ(bk_unlink(NULL, root, "a"), 0);
	CHECK_EQ(bk_mkdir(NULL, root, "d", 0755, &node, &st), 0);
	bk_node_unref(node);
	CHECK_EQ(bk_unlink(NULL, root, "b"), 0);
	CHECK_EQ(bk_mknod(NULL, root, "e", S_IFREG, 0, &node, &st), -ENOSPC); /* a is open */
	bk_release(file);
	bk_node_unref(a);
	CHECK_EQ(bk_rmdir(NULL, root, "d"), 0);
	check_all_free(root);
	bk_node_unref(root);
	bk_free(bk);
}

static void scattered_pages_come_back(void)
{
	struct bk *bk = make("{\"size\": \"8M\"}");
	struct bk_node *root = bk_root(bk), *a;
	struct bk_setattr cut = {.mask = BK_SET_SIZE, .size = 1000};
	struct bk_file *file;
	struct stat st;
	char buf[4];

	a = make_file(root, "a", &file);
	for (int i = 0; i < 62; i++)
		CHECK_EQ(bk_write(NULL, file, "data", 4, 1LL << i), 4);
	CHECK_EQ(bk_write(NULL, file, "data", 4, INT64_MAX - 4), 4);
	CHECK_EQ(bk_write(NULL, file, "data", 4, INT64_MAX - 3), -EFBIG);
	for (int i = 20; i < 62; i++) {
		CHECK_EQ(bk_read(NULL, file, buf, 4, 1LL << i), 4);
		CHECK(memcmp(buf, "data", 4) == 0);
		CHECK_EQ(bk_lseek(NULL, file, (1LL << i) - 5000, SEEK_DATA), 1LL << i);
	}
	CHECK_EQ(bk_setattr(NULL, a, NULL, &cut, &st), 0);
	CHECK_EQ(st.st_blocks, 8);
	CHECK_EQ(usage(root).f_bfree, usage(root).f_blocks - 1);
	CHECK_EQ(bk_fallocate(NULL, file, 0, 0, 1LL << 40), -ENOSPC);
	CHECK_EQ(bk_fallocate(NULL, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1LL << 62),
		 0);
	CHECK_EQ(bk_getattr(NULL, a, NULL, &st), 0);
	CHECK_EQ(st.st_blocks, 0);
	CHECK_EQ(st.st_size, 1000);
	CHECK_EQ(usage(root).f_bfree, usage(root).f_blocks);
	CHECK_EQ(bk_fallocate(NULL, file, FALLOC_FL_ZERO_RANGE, 100, 9000), 0);
	CHECK_EQ(bk_getattr(NULL, a, NULL, &st), 0);
	CHECK_EQ(st.st_size, 9100);
	CHECK_EQ(st.st_blocks, 24);
	CHECK_EQ(bk_fallocate(NULL, file, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	bk_release(file);
	bk_node_unref(a);
	CHECK_EQ(bk_unlink(NULL, root, "a"), 0);
	check_all_free(root);
	bk_node_unref(root);
	bk_free(bk);
}

static void a_tree_deeper_than_the_stack_ends(void)
{
	struct bk *bk = make("{}");
	struct bk_node *dir = bk_root(bk), *next;
	struct stat st;

	for (int i = 0; i < 100000; i++) {
		CHECK_EQ(bk_mkdir(NULL, dir, "d", 0755, &next, &st), 0);
		bk_node_unref(dir);
		dir = next;
	}
	bk_node_unref(dir);
	bk_free(bk);
}

static size_t rss(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	size_t total, resident;

	CHECK(f);
	CHECK_EQ(fscanf(f, "%zu %zu", &total, &resident), 2);
	fclose(f);
	return resident * 4096;
}

static void removed_files_give_their_memory_back(void)
{
	struct bk *bk = make("{}");
	struct bk_node *root = bk_root(bk), *node;
	struct bk_file *file;
	char data[5000] = "x", name[32];
	size_t before, full, after;

	before = rss();
	for (int i = 0; i < MANY / 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		node = make_file(root, name, &file);
		CHECK_EQ(bk_write(NULL, file, data, sizeof(data), 0), sizeof(data));
		bk_release(file);
		bk_node_unref(node);
	}
	full = rss();
	for (int i = 0; i < MANY / 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK_EQ(bk_unlink(NULL, root, name), 0);
	}
	after = rss();
	check_all_free(root);
	printf("  RSS in MiB: before %zu, with the files %zu, after %zu\n", before >> 20,
	       full >> 20, after >> 20);
	if (MEASURED)
		CHECK(after < before + (full - before) / 4);
	bk_node_unref(root);
	bk_free(bk);
}

struct listing {
	unsigned char *seen;
	uint64_t cookie;
	unsigned left;
};

static bool take(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct listing *l = ctx;

	if (l->left == 0)
		return false;
	l->left--;
	l->cookie = next;
	if (name[0] != '.')
		l->seen[atoi(name)]++;
	return true;
}

static void a_million_entries_are_listed_while_they_change(void)
{
	struct bk *bk = make("{}");
	struct bk_node *root = bk_root(bk), *node;
	struct listing l = {.seen = calloc(2 * MANY, 1)};
	struct bk_file *file;
	size_t before = mallinfo2().uordblks, each;
	char name[32];
	struct stat st;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%d", i);
		CHECK_EQ(bk_mknod(NULL, root, name, S_IFREG | 0644, 0, &node, &st), 0);
		bk_node_unref(node);
	}
	each = (mallinfo2().uordblks - before) / MANY;
	printf("  %zu bytes an empty file, its node, name and entry\n", each);
	CHECK(each < 300);

	CHECK_EQ(bk_opendir(NULL, root, &file), 0);
	for (int i = 0;; i++) {
		l.left = 1000;
		CHECK_EQ(bk_readdir(NULL, file, l.cookie, take, &l), 0);
		if (l.left == 1000)
			break;
		if (MANY + i < 2 * MANY && i < 500) {
			snprintf(name, sizeof(name), "%d", MANY + i);
			CHECK_EQ(bk_mknod(NULL, root, name, S_IFREG | 0644, 0, &node, &st), 0);
			bk_node_unref(node);
		}
		for (int k = 0; k < 900 && i * 900 + k < MANY; k++) {
			snprintf(name, sizeof(name), "%d", (i * 900 + k) * 7 % MANY);
			(void)bk_unlink(NULL, root, name);
			l.seen[atoi(name)] |= 128;
		}
	}
	bk_release(file);
	for (int i = 0; i < MANY; i++)
		CHECK(l.seen[i] == 1 || (l.seen[i] & 128 && (l.seen[i] & 127) <= 1));
	free(l.seen);
	bk_node_unref(root);
	bk_free(bk);
}

static void make_name(struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_mknod(NULL, dir, name, S_IFREG | 0644, 0, &node, &st), 0);
	bk_node_unref(node);
}

/* As an editor does: a file, and another that comes and goes. The room for names that is given back
 * leaves enough for the next one. */
static void a_directory_that_shrank_to_one_name_grows_again(void)
{
	struct bk *bk = make("{}");
	struct bk_node *root = bk_root(bk);
	char name[16];

	make_name(root, "stays");
	for (int i = 0; i < 200; i++) {
		make_name(root, "goes");
		CHECK_EQ(bk_unlink(NULL, root, "goes"), 0);
	}
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		make_name(root, name);
	}
	bk_node_unref(root);
	bk_free(bk);
}

int main(void)
{
	a_directory_that_shrank_to_one_name_grows_again();
	setlinebuf(stdout);
	bad_options_are_named();
	the_root_is_the_owners();
	a_full_route_refuses_and_recovers();
	links_and_xattrs_count_too();
	inodes_are_limited_with_their_links();
	scattered_pages_come_back();
	a_tree_deeper_than_the_stack_ends();
	removed_files_give_their_memory_back();
	a_million_entries_are_listed_while_they_change();
	return 0;
}
