#include "tree.h"

#include "fuzz.h"

static int put(void *ctx, int stream, const void *data, size_t len)
{
	struct tree *t = ctx;

	return buf_add(stream == 1 ? &t->out : &t->messages, data, len);
}

static ssize_t get(void *ctx, void *data, size_t size)
{
	struct tree *t = ctx;
	size_t n = t->input_len < size ? t->input_len : size;

	if (n)
		memcpy(data, t->input, n);
	t->input += n;
	t->input_len -= n;
	return n;
}

void tree_init(struct tree *t)
{
	static const struct bk_mount mount = {.id = "fuzz", .mountpoint = TREE_MOUNTPOINT};
	const struct bk_type *type;

	*t = (struct tree){.out = BUF_INIT(TREE_MAX_OUTPUT), .messages = BUF_INIT(TREE_MAX_OUTPUT)};
	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/", NULL, NULL, &t->bk, NULL), 0);
}

void tree_done(struct tree *t)
{
	buf_done(&t->out);
	buf_done(&t->messages);
	bk_free(t->bk);
}

int tree_run(struct tree *t, const char *op, const char *name, cJSON *args)
{
	const struct ops_tree tree = {
	    .root = t->bk, .mountpoint = TREE_MOUNTPOINT, .deadline_ms = 30000, .threads = 2};
	const struct ops_io io = {.ctx = t, .write = put, .read = get};
	const struct ops_who who = {0};
	struct err err = {""};
	struct ops *o;
	char at[256];
	int status = -1;

	if (!args)
		args = cJSON_CreateObject();
	snprintf(at, sizeof(at), TREE_MOUNTPOINT "/%s", name);
	cJSON_AddStringToObject(args, "op", op);
	cJSON_AddStringToObject(args, "at", at);
	cJSON_AddStringToObject(args, "path", name);
	buf_done(&t->out);
	buf_done(&t->messages);
	t->out = t->messages = BUF_INIT(TREE_MAX_OUTPUT);
	if (ops_new(&tree, &who, &io, args, &o, &err) == 0) {
		status = ops_run(o);
		ops_free(o);
	}
	cJSON_Delete(args);
	return status;
}

void tree_write(struct tree *t, const char *name, const void *data, size_t len)
{
	t->input = data;
	t->input_len = len;
	CHECK_EQ(tree_run(t, "write", name, NULL), 0);
}
