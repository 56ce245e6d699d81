/*
 * Helpers of the suite: contract calls that must succeed, in short form.
 */
#include "suite.h"

struct bk_node *s_mkdir(struct suite *s, struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_mkdir(s->req, dir, name, 0755, &node, &st), 0);
	CHECK(S_ISDIR(st.st_mode));
	return node;
}

struct bk_node *s_lookup(struct suite *s, struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_lookup(s->req, dir, name, &node, &st), 0);
	return node;
}

struct bk_node *s_file(struct suite *s, struct bk_node *dir, const char *name, const char *text)
{
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;

	CHECK_EQ(bk_create(s->req, dir, name, 0644, O_CREAT | O_EXCL | O_RDWR, &node, &file, &st),
		 0);
	CHECK(S_ISREG(st.st_mode));
	s_write(s, file, text, strlen(text), 0);
	CHECK_EQ(bk_flush(s->req, file), 0);
	bk_release(file);
	return node;
}

void s_touch(struct suite *s, struct bk_node *dir, const char *name, const char *text)
{
	bk_node_unref(s_file(s, dir, name, text));
}

struct bk_file *s_open(struct suite *s, struct bk_node *node, int flags)
{
	struct bk_file *file;

	CHECK_EQ(bk_open(s->req, node, flags, &file), 0);
	return file;
}

struct stat s_stat(struct suite *s, struct bk_node *node)
{
	struct stat st;

	CHECK_EQ(bk_getattr(s->req, node, NULL, &st), 0);
	return st;
}

struct stat s_setattr(struct suite *s, struct bk_node *node, const struct bk_setattr *attr)
{
	struct stat st;

	CHECK_EQ(bk_setattr(s->req, node, NULL, attr, &st), 0);
	return st;
}

void s_write(struct suite *s, struct bk_file *file, const void *data, size_t size, off_t off)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = bk_write(s->req, file, p, size, off);

		CHECK(n > 0);
		p += n;
		off += n;
		size -= n;
	}
}

void s_check_content(struct suite *s, struct bk_node *node, const char *text)
{
	char got[4096];
	struct bk_file *file = s_open(s, node, O_RDONLY);
	ssize_t n = bk_read(s->req, file, got, sizeof(got) - 1, 0);

	CHECK(n >= 0);
	got[n] = '\0';
	CHECK_STR(got, text);
	CHECK_EQ(s_stat(s, node).st_size, strlen(text));
	bk_release(file);
}

int s_exists(struct suite *s, struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;
	int r = bk_lookup(s->req, dir, name, &node, &st);

	if (r == 0)
		bk_node_unref(node);
	return r;
}

static bool count(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	++*(size_t *)ctx;
	return true;
}

size_t s_count(struct suite *s, struct bk_node *dir)
{
	struct bk_file *file;
	size_t n = 0;

	CHECK_EQ(bk_opendir(s->req, dir, &file), 0);
	CHECK_EQ(bk_readdir(s->req, file, 0, count, &n), 0);
	bk_release(file);
	return n;
}

uint32_t s_random(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % n;
}
