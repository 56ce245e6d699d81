/*
 * The operations over the memory backend, in this process: what goes out in how many pieces, who
 * may what, what a cancelled one leaves, and a tree that fails.
 */
#include "backend.h"
#include "ops/ops.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <fcntl.h>

#define ROOT_UID 0
#define OWNER 1000
#define OTHER 2000

struct world {
	struct bk *bk;
	struct ops_tree tree;
	struct ops_who who;
	struct ops_io io;

	const char *input; /* of a write, byte by byte */
	int input_error;
	struct buf out, messages;
	size_t largest; /* piece that was put out */
	struct ops *cancel_at_output;
	unsigned replaced;
};

/* ---- The world ---- */

static int put(void *ctx, int stream, const void *data, size_t len)
{
	struct world *w = ctx;

	if (len > w->largest)
		w->largest = len;
	if (w->cancel_at_output)
		ops_cancel(w->cancel_at_output);
	return buf_add(stream == 1 ? &w->out : &w->messages, data, len);
}

static ssize_t get(void *ctx, void *data, size_t size)
{
	struct world *w = ctx;

	if (!w->input || !*w->input)
		return w->input_error;
	*(char *)data = *w->input++;
	return 1;
}

static void replaced(void *ctx, struct bk_node *dir, const char *name)
{
	((struct world *)ctx)->replaced++;
}

static void begin(struct world *w)
{
	static const struct bk_mount mount = {
	    .id = "test", .mountpoint = "/", .uid = OWNER, .gid = OWNER};
	const struct bk_type *type;

	*w = (struct world){.out = BUF_INIT(SIZE_MAX / 2), .messages = BUF_INIT(1 << 20)};
	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/", NULL, NULL, &w->bk, NULL), 0);
	w->tree = (struct ops_tree){.root = w->bk,
				    .mountpoint = "/usr",
				    .owner = OWNER,
				    .allow_other = true,
				    .deadline_ms = 30000,
				    .threads = 3,
				    .replaced = replaced,
				    .ctx = w};
	w->who = (struct ops_who){.uid = OWNER, .gid = OWNER};
	w->io = (struct ops_io){.ctx = w, .write = put, .read = get};
}

static void end(struct world *w)
{
	buf_done(&w->out);
	buf_done(&w->messages);
	bk_free(w->bk);
}

static struct ops *make(struct world *w, const char *json)
{
	cJSON *request = cJSON_Parse(json);
	struct err err = {""};
	struct ops *o;

	CHECK(request);
	CHECK_EQ(ops_new(&w->tree, &w->who, &w->io, request, &o, &err), 0);
	cJSON_Delete(request);
	buf_done(&w->out);
	buf_done(&w->messages);
	w->out = BUF_INIT(SIZE_MAX / 2);
	w->messages = BUF_INIT(1 << 20);
	return o;
}

static int run(struct world *w, const char *json)
{
	struct ops *o = make(w, json);
	int status = ops_run(o);

	ops_free(o);
	return status;
}

static void check(struct world *w, const char *json, int status, const char *out,
		  const char *messages)
{
	CHECK_EQ(run(w, json), status);
	CHECK_STR(w->out.data ? w->out.data : "", out);
	CHECK_STR(w->messages.data ? w->messages.data : "", messages);
}

static void write_file(struct world *w, const char *path, const char *text)
{
	char json[256];

	snprintf(json, sizeof(json), "{\"op\": \"write\", \"at\": \"/usr/%s\", \"path\": \"%s\"}",
		 path, path);
	w->input = text;
	CHECK_EQ(run(w, json), 0);
}

static void chmod_path(struct world *w, const char *name, mode_t mode)
{
	struct bk_node *root = bk_root(w->bk), *node;
	struct bk_setattr a = {.mask = BK_SET_MODE, .mode = mode};
	struct stat st;

	CHECK_EQ(bk_lookup(NULL, root, name, &node, &st), 0);
	CHECK_EQ(bk_setattr(NULL, node, NULL, &a, &st), 0);
	bk_node_unref(node);
	bk_node_unref(root);
}

static unsigned names_of_root(struct world *w)
{
	char *text;
	unsigned n = 0;

	CHECK_EQ(run(w, "{\"op\": \"ls\", \"at\": \"/usr\", \"path\": \"\"}"), 0);
	for (text = w->out.data; text && (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

/* ---- Tests ---- */

static void bad_requests_are_refused(void)
{
	static const char *const bad[] = {
	    "{\"op\": \"read\", \"path\": \"f\"}",
	    "{\"op\": \"read\", \"at\": \"/usr\"}",
	    "{\"op\": \"read\", \"at\": \"/usr/f\", \"path\": \"f\", \"nonsense\": 1}",
	    "{\"op\": \"read\", \"at\": \"/usr/f\", \"path\": \"f\", \"limit\": -1}",
	    "{\"op\": \"grep\", \"at\": \"/usr/f\", \"path\": \"f\"}",
	    "{\"op\": \"grep\", \"at\": \"/usr/f\", \"path\": \"f\", \"pattern\": 7}",
	    "{\"op\": \"grep\", \"at\": \"/usr\", \"path\": \"\", \"pattern\": \"x\", \"mode\": "
	    "\"all\"}",
	    "{\"op\": \"edit\", \"at\": \"/usr/f\", \"path\": \"f\"}",
	    "{\"op\": \"dance\", \"at\": \"/usr/f\", \"path\": \"f\"}",
	    "{\"at\": \"/usr/f\", \"path\": \"f\"}",
	    "7",
	};
	struct world w;

	begin(&w);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cJSON *request = cJSON_Parse(bad[i]);
		struct err err = {""};
		struct ops *o = NULL;

		CHECK_EQ(ops_new(&w.tree, &w.who, &w.io, request, &o, &err), -EINVAL);
		CHECK(err.text[0] && !o);
		cJSON_Delete(request);
	}
	end(&w);
}

static void what_is_written_is_read_and_told(void)
{
	struct world w;

	begin(&w);
	write_file(&w, "a/b/f", "one\ntwo");
	CHECK(w.replaced >= 1);
	check(&w, "{\"op\": \"read\", \"at\": \"/usr/a/b/f\", \"path\": \"x/f\"}", 0,
	      "     1\tone\n     2\ttwo\n", "");
	check(&w, "{\"op\": \"read\", \"at\": \"/usr/a\", \"path\": \"a\"}", 1, "",
	      "Error: 'a' is a directory\n");
	check(&w,
	      "{\"op\": \"edit\", \"at\": \"/usr/a/b/f\", \"path\": \"f\", \"old\": \"e\\nt\", "
	      "\"new\": \"\"}",
	      0, "1 occurrence replaced\n", "");
	check(&w, "{\"op\": \"read\", \"at\": \"/usr/a/b/f\", \"path\": \"f\", \"raw\": true}", 0,
	      "onwo", "");
	end(&w);
}

static void input_that_ends_too_early_leaves_nothing(void)
{
	struct world w;

	begin(&w);
	w.input = "half";
	w.input_error = -EPIPE;
	CHECK_EQ(run(&w, "{\"op\": \"write\", \"at\": \"/usr/f\", \"path\": \"f\"}"), 1);
	CHECK_EQ(names_of_root(&w), 0);
	end(&w);
}

static void modes_decide_as_the_kernel_does(void)
{
	static const struct {
		uid_t uid;
		gid_t gid, more;
		mode_t dir, file;
		int read, write;
	} cases[] = {
	    {OWNER, OWNER, 0, 0755, 0600, 0, 0},     {OTHER, OTHER, 0, 0755, 0600, 1, 1},
	    {OTHER, OTHER, 0, 0755, 0644, 0, 1},     {OTHER, OTHER, 0, 0777, 0666, 0, 0},
	    {OTHER, OTHER, 0, 0777, 0644, 0, 1},     {OTHER, OTHER, 0, 01777, 0666, 0, 1},
	    {OTHER, OTHER, OWNER, 0770, 0660, 0, 0}, {OTHER, OWNER, 0, 0770, 0640, 0, 1},
	    {OTHER, OTHER, OWNER, 0707, 0666, 1, 1}, {OWNER, OWNER, 0, 0077, 0666, 1, 1},
	    {OWNER, OWNER, 0, 0755, 0066, 1, 1},     {ROOT_UID, 0, 0, 0, 0, 0, 0},
	    {OTHER, OTHER, 0, 0711, 0644, 0, 1},
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(&w);
		write_file(&w, "d/f", "text");
		/* Of the tree's owner. */
		struct bk_node *root = bk_root(w.bk), *d, *f;
		struct bk_setattr a = {.mask = BK_SET_MODE, .mode = cases[i].file};
		struct stat st;

		CHECK_EQ(bk_lookup(NULL, root, "d", &d, &st), 0);
		CHECK_EQ(bk_lookup(NULL, d, "f", &f, &st), 0);
		CHECK_EQ(bk_setattr(NULL, f, NULL, &a, &st), 0);
		bk_node_unref(f);
		bk_node_unref(d);
		bk_node_unref(root);
		chmod_path(&w, "d", cases[i].dir);
		w.who = (struct ops_who){.uid = cases[i].uid,
					 .gid = cases[i].gid,
					 .groups = &cases[i].more,
					 .n_groups = cases[i].more ? 1 : 0};
		CHECK_EQ(run(&w, "{\"op\": \"read\", \"at\": \"/usr/d/f\", \"path\": \"f\"}"),
			 cases[i].read);
		w.input = "new";
		CHECK_EQ(run(&w, "{\"op\": \"write\", \"at\": \"/usr/d/f\", \"path\": \"f\"}"),
			 cases[i].write);
		end(&w);
	}
}

static void a_private_mount_is_its_owners(void)
{
	struct world w;

	begin(&w);
	write_file(&w, "f", "x");
	w.tree.allow_other = false;
	w.who.uid = OTHER;
	check(&w, "{\"op\": \"read\", \"at\": \"/usr/f\", \"path\": \"f\"}", 1, "",
	      "Error: 'f': Permission denied\n");
	w.who.uid = ROOT_UID;
	check(&w, "{\"op\": \"ls\", \"at\": \"/usr\", \"path\": \"\"}", 1, "",
	      "Error: '': Permission denied\n");
	end(&w);
}

static void output_goes_on_in_pieces_and_stops_when_cancelled(void)
{
	struct world w;
	char *text = malloc(4 << 20);
	struct ops *o;

	for (int i = 0; i < (4 << 20); i++)
		text[i] = i % 8 == 7 ? '\n' : 'x';
	text[(4 << 20) - 1] = '\0';
	begin(&w);
	struct bk_node *root = bk_root(w.bk), *node;
	struct bk_file *file;
	struct stat st;

	CHECK_EQ(bk_create(NULL, root, "f", 0644, O_CREAT | O_WRONLY, &node, &file, &st), 0);
	CHECK_EQ(bk_write(NULL, file, text, (4 << 20) - 1, 0), (4 << 20) - 1);
	bk_release(file);
	bk_node_unref(node);
	bk_node_unref(root);

	CHECK_EQ(
	    run(&w, "{\"op\": \"grep\", \"at\": \"/usr\", \"path\": \"\", \"pattern\": \"x$\"}"),
	    0);
	CHECK(w.out.len > (4 << 20) && w.largest <= 256 * 1024);
	CHECK_EQ(run(&w, "{\"op\": \"read\", \"at\": \"/usr/f\", \"path\": \"f\", \"raw\": true}"),
		 0);
	CHECK_EQ(w.out.len, (4 << 20) - 1);

	o = make(&w, "{\"op\": \"grep\", \"at\": \"/usr\", \"path\": \"\", \"pattern\": \"x$\"}");
	w.cancel_at_output = o;
	CHECK_EQ(ops_run(o), 2);
	CHECK(w.out.len < (2 << 20));
	ops_free(o);
	w.cancel_at_output = NULL;
	end(&w);
	free(text);
}

static void a_cancelled_write_is_undone(void)
{
	struct world w;
	struct ops *o;

	begin(&w);
	o = make(&w, "{\"op\": \"write\", \"at\": \"/usr/f\", \"path\": \"f\"}");
	w.input = "text";
	ops_cancel(o);
	CHECK_EQ(ops_run(o), 1);
	ops_free(o);
	CHECK_EQ(names_of_root(&w), 0);
	end(&w);
}

int main(void)
{
	bad_requests_are_refused();
	what_is_written_is_read_and_told();
	input_that_ends_too_early_leaves_nothing();
	modes_decide_as_the_kernel_does();
	a_private_mount_is_its_owners();
	output_goes_on_in_pieces_and_stops_when_cancelled();
	a_cancelled_write_is_undone();
	return 0;
}
