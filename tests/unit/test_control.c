/* The control tree: directories that are made and removed, owners, files that gather, foreign
 * trees. */
#include "control/control.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define OWNER 1000
#define USER 2000
#define STRANGER 3000

struct world {
	struct bk *control;
	struct control_dir *jobs;
	struct bk_req root, owner, user, stranger;
};

/* A directory that users make: one file, of one value. */
struct item {
	atomic_int refs;
	char text[64];
	int stores;
};

static atomic_int items;

static void item_unref(void *object)
{
	struct item *i = object;

	if (atomic_fetch_sub(&i->refs, 1) > 1)
		return;
	items--;
	free(i);
}

static int item_show(void *object, struct buf *out)
{
	return buf_adds(out, ((struct item *)object)->text);
}

static int item_store(void *object, const struct bk_req *req, const char *text, size_t len)
{
	struct item *i = object;

	i->stores++;
	if (len >= sizeof(i->text) || strchr(text, '!'))
		return -EINVAL;
	strcpy(i->text, text);
	return 0;
}

static int item_wait(void *object, uid_t uid, const char *request, size_t len,
		     struct control_reply *reply)
{
	struct buf text = BUF_INIT(100);

	CHECK_EQ(buf_addf(&text, "%zu %s", len, ((struct item *)object)->text), 0);
	control_reply_done(reply, 0, &text);
	return 0;
}

static const struct control_file_ops value_file = {
    .show = item_show, .store = item_store, .object_free = item_unref};
static const struct control_file_ops wait_file = {
    .transact = item_wait, .read_only = true, .object_free = item_unref};

static struct control_dir *made[8];

static int items_mkdir(void *object, const struct bk_req *req, const char *name)
{
	struct world *w = object;
	struct item *i;
	struct control_dir *dir;
	int r;

	if (strchr(name, '-'))
		return -EINVAL;
	i = calloc(1, sizeof(*i));
	i->refs = 2;
	items++;
	r = control_add_dir(
	    w->control, w->jobs, name,
	    &(struct control_dir_conf){.owned = true, .uid = req->uid, .gid = req->gid}, &dir);
	if (r < 0) {
		item_unref(i);
		item_unref(i);
		return r;
	}
	CHECK_EQ(control_add_file(w->control, dir, "value", &value_file, i), 0);
	CHECK_EQ(control_add_file(w->control, dir, "wait", &wait_file, i), 0);
	made[name[0] - 'a'] = dir;
	return 0;
}

static int items_rmdir(void *object, const struct bk_req *req, const char *name)
{
	control_remove(((struct world *)object)->control, made[name[0] - 'a']);
	return 0;
}

static const struct control_dir_ops items_ops = {.mkdir = items_mkdir, .rmdir = items_rmdir};

static void begin(struct world *w)
{
	CHECK_EQ(control_new(&(struct control_conf){.uid = OWNER, .gid = OWNER, .open = true},
			     &w->control),
		 0);
	CHECK_EQ(control_add_dir(
		     w->control, NULL, "jobs",
		     &(struct control_dir_conf){.open = true, .ops = &items_ops, .object = w},
		     &w->jobs),
		 0);
	bk_req_init(&w->root, 0, 0, 0, 0);
	bk_req_init(&w->owner, OWNER, OWNER, 0, 0);
	bk_req_init(&w->user, USER, USER, 0, 0);
	bk_req_init(&w->stranger, STRANGER, STRANGER, 0, 0);
}

static void end(struct world *w)
{
	bk_free(w->control);
	CHECK_EQ(items, 0);
	bk_req_done(&w->root);
	bk_req_done(&w->owner);
	bk_req_done(&w->user);
	bk_req_done(&w->stranger);
}

/* The node of PATH, "jobs/a/value", or NULL with errno. */
static struct bk_node *walk(struct world *w, struct bk_req *req, const char *path, struct stat *st)
{
	struct bk_node *node = bk_root(w->control);
	char copy[256], *save, *name;

	snprintf(copy, sizeof(copy), "%s", path);
	for (name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		struct bk_node *next;
		int r = bk_lookup(req, node, name, &next, st);

		bk_node_unref(node);
		if (r < 0) {
			errno = -r;
			return NULL;
		}
		node = next;
	}
	return node;
}

static int make_dir(struct world *w, struct bk_req *req, const char *name)
{
	struct bk_node *jobs = walk(w, &w->root, "jobs", &(struct stat){0}), *node = NULL;
	struct stat st;
	int r = bk_mkdir(req, jobs, name, 0777, &node, &st);

	bk_node_unref(node);
	bk_node_unref(jobs);
	return r;
}

static int remove_dir(struct world *w, struct bk_req *req, const char *name)
{
	struct bk_node *jobs = walk(w, &w->root, "jobs", &(struct stat){0});
	int r = bk_rmdir(req, jobs, name);

	bk_node_unref(jobs);
	return r;
}

static struct bk_file *open_file(struct world *w, struct bk_req *req, const char *path, int flags)
{
	struct bk_node *node = walk(w, req, path, &(struct stat){0});
	struct bk_file *f = NULL;
	int r = node ? bk_open(req, node, flags, &f) : -errno;

	bk_node_unref(node);
	errno = -r;
	return f;
}

static void check_value(struct world *w, const char *want)
{
	char text[128];
	struct bk_file *f = open_file(w, &w->root, "jobs/a/value", O_RDONLY);
	ssize_t n = bk_read(&w->root, f, text, sizeof(text) - 1, 0);

	CHECK(n >= 0);
	text[n] = '\0';
	CHECK_STR(text, want);
	bk_release(f);
}

static void who_makes_a_directory_owns_it(void)
{
	struct world w;
	struct stat st;
	struct bk_node *n;

	begin(&w);
	CHECK_EQ(make_dir(&w, &w.user, "a"), 0);
	CHECK_EQ(make_dir(&w, &w.user, "a"), -EEXIST);
	CHECK_EQ(make_dir(&w, &w.user, "b-"), -EINVAL);
	n = walk(&w, &w.user, "jobs/a", &st);
	CHECK(n);
	CHECK_EQ(st.st_uid, USER);
	CHECK_EQ(st.st_mode, S_IFDIR | 0500);
	bk_node_unref(n);
	CHECK(!walk(&w, &w.stranger, "jobs/a", &st));
	CHECK_EQ(errno, EACCES);
	CHECK(!open_file(&w, &w.stranger, "jobs/a/value", O_RDONLY));
	CHECK_EQ(remove_dir(&w, &w.stranger, "a"), -EACCES);
	n = walk(&w, &w.owner, "jobs/a/value", &st);
	CHECK(n);
	bk_node_unref(n);
	CHECK_EQ(remove_dir(&w, &w.user, "a"), 0);
	CHECK_EQ(remove_dir(&w, &w.user, "a"), -ENOENT);
	end(&w);
}

static void a_directory_that_is_given_away_is_the_new_owners(void)
{
	struct world w;
	struct stat st;
	struct bk_node *n;

	begin(&w);
	CHECK_EQ(make_dir(&w, &w.root, "a"), 0);
	control_chown(w.control, made[0], STRANGER, STRANGER);
	CHECK(!walk(&w, &w.user, "jobs/a", &st));
	n = walk(&w, &w.stranger, "jobs/a/value", &st);
	CHECK(n);
	CHECK_EQ(st.st_uid, STRANGER);
	bk_node_unref(n);
	end(&w);
}

static void a_file_outlives_its_directory_while_it_is_open(void)
{
	struct world w;
	struct bk_file *f;
	char text[8];

	begin(&w);
	CHECK_EQ(make_dir(&w, &w.user, "a"), 0);
	f = open_file(&w, &w.user, "jobs/a/value", O_RDWR | O_TRUNC);
	CHECK_EQ(bk_write(&w.user, f, "x", 1, 0), 1);
	CHECK_EQ(remove_dir(&w, &w.user, "a"), 0);
	CHECK_EQ(items, 1);
	CHECK_EQ(bk_flush(&w.user, f), 0);
	CHECK_EQ(bk_read(&w.user, f, text, sizeof(text), 0), 1);
	bk_release(f);
	CHECK_EQ(items, 0);
	CHECK_EQ(make_dir(&w, &w.user, "a"), 0);
	end(&w);
}

/* As `{ echo a; echo b; } > value` of a shell comes: it closes a copy first, then writes twice. */
static void writes_are_one_value_at_close(void)
{
	struct world w;
	struct bk_file *f;

	begin(&w);
	CHECK_EQ(make_dir(&w, &w.user, "a"), 0);
	f = open_file(&w, &w.user, "jobs/a/value", O_WRONLY | O_TRUNC);
	CHECK_EQ(bk_flush(&w.user, f), 0);
	CHECK_EQ(bk_write(&w.user, f, "a\n", 2, 0), 2);
	CHECK_EQ(bk_write(&w.user, f, "b\n", 2, 2), 2);
	check_value(&w, "");
	CHECK_EQ(bk_flush(&w.user, f), 0);
	check_value(&w, "a\nb\n");
	bk_release(f);

	/* Without O_TRUNC it is changed in place, with O_APPEND at its end. */
	f = open_file(&w, &w.user, "jobs/a/value", O_WRONLY);
	CHECK_EQ(bk_write(&w.user, f, "A", 1, 0), 1);
	CHECK_EQ(bk_flush(&w.user, f), 0);
	bk_release(f);
	f = open_file(&w, &w.user, "jobs/a/value", O_WRONLY | O_APPEND);
	CHECK_EQ(bk_write(&w.user, f, "c\n", 2, 0), 2);
	CHECK_EQ(bk_flush(&w.user, f), 0);
	bk_release(f);
	check_value(&w, "A\nb\nc\n");

	/* What is refused is told at close, and changes nothing. */
	f = open_file(&w, &w.user, "jobs/a/value", O_WRONLY | O_TRUNC);
	CHECK_EQ(bk_write(&w.user, f, "no!", 3, 0), 3);
	CHECK_EQ(bk_flush(&w.user, f), -EINVAL);
	bk_release(f);
	check_value(&w, "A\nb\nc\n");

	/* `: > value` */
	f = open_file(&w, &w.user, "jobs/a/value", O_WRONLY | O_TRUNC);
	CHECK_EQ(bk_flush(&w.user, f), 0);
	bk_release(f);
	check_value(&w, "");
	end(&w);
}

static void a_value_has_a_limit(void)
{
	struct world w;
	struct bk_file *f;

	begin(&w);
	CHECK_EQ(make_dir(&w, &w.user, "a"), 0);
	f = open_file(&w, &w.user, "jobs/a/value", O_WRONLY | O_TRUNC);
	CHECK_EQ(bk_write(&w.user, f, "x", 1, 1LL << 40), -EFBIG);
	CHECK_EQ(bk_write(&w.user, f, "x", 1, INT64_MAX), -EFBIG);
	CHECK_EQ(bk_write(&w.user, f, "x", 1, 4 << 20), -EFBIG);
	bk_release(f);
	end(&w);
}

static void a_file_may_answer_without_a_request(void)
{
	struct world w;
	struct bk_file *f;
	char text[100];

	begin(&w);
	CHECK_EQ(make_dir(&w, &w.user, "a"), 0);
	CHECK(!open_file(&w, &w.user, "jobs/a/wait", O_RDWR));
	CHECK_EQ(errno, EACCES);
	f = open_file(&w, &w.user, "jobs/a/wait", O_RDONLY);
	CHECK_EQ(bk_read(&w.user, f, text, sizeof(text), 0), 2);
	CHECK(memcmp(text, "0 ", 2) == 0);
	CHECK_EQ(bk_read(&w.user, f, text, sizeof(text), 2), 0);
	bk_release(f);
	end(&w);
}

/* ---- A tree of another backend ---- */

struct grafted {
	struct bk *bk;
	struct bk_node *root; /* NULL: none yet */
	int entered;
};

static struct bk_node *grafted_root(void *object)
{
	return ((struct grafted *)object)->root;
}

static int grafted_enter(struct bk_req *req, void *object)
{
	((struct grafted *)object)->entered++;
	return 0;
}

static const struct control_tree_ops grafted_ops = {.root = grafted_root, .enter = grafted_enter};

static bool count_names(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	++*(int *)ctx;
	return true;
}

static void a_tree_is_reached_by_name_alone(void)
{
	struct bk_mount mount = {.id = "t", .mountpoint = "/nowhere", .uid = getuid()};
	struct grafted g = {0};
	const struct bk_type *type;
	struct world w;
	struct bk_node *root, *node;
	struct bk_file *dir;
	struct stat st;
	int names = 0;

	begin(&w);
	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/m", NULL, NULL, &g.bk, NULL), 0);
	CHECK_EQ(control_add_tree(w.control, NULL, "tree", &grafted_ops, &g), 0);
	root = bk_root(w.control);
	CHECK_EQ(bk_lookup(&w.root, root, "tree", &node, &st), -ENOENT);
	g.root = bk_root(g.bk);
	CHECK_EQ(bk_lookup(&w.root, root, "tree", &node, &st), 0);
	CHECK(node == g.root);
	CHECK_EQ(g.entered, 2);
	bk_node_unref(node);
	CHECK(bk_serving(root, "tree") == g.bk);
	CHECK(bk_serving(root, "jobs") == w.control);
	CHECK_EQ(bk_rmdir(&w.root, root, "tree"), -EBUSY);
	CHECK_EQ(bk_mkdir(&w.root, root, "other", 0777, &node, &st), -EPERM);
	CHECK_EQ(bk_opendir(&w.root, root, &dir), 0);
	CHECK_EQ(bk_readdir(&w.root, dir, 0, count_names, &names), 0);
	CHECK_EQ(names, 3); /* with the dots */
	bk_release(dir);
	CHECK_EQ(bk_lookup(&w.stranger, root, "tree", &node, &st), -EACCES);
	bk_node_unref(root);
	bk_node_unref(g.root);
	end(&w);
	bk_free(g.bk);
}

int main(void)
{
	who_makes_a_directory_owns_it();
	a_directory_that_is_given_away_is_the_new_owners();
	a_file_outlives_its_directory_while_it_is_open();
	writes_are_one_value_at_close();
	a_value_has_a_limit();
	a_file_may_answer_without_a_request();
	a_tree_is_reached_by_name_alone();
	return 0;
}
