/* What only a composite does: prefixes, nested routes, synthesised parents, EBUSY, EXDEV, EROFS. */
#include "composite/composite.h"
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct world {
	struct bk *root, *project, *nested, *deep, *composite;
	struct bk_req req;
};

static struct bk *memory(const char *route, uint64_t space)
{
	struct bk_mount mount = {
	    .id = "t", .mountpoint = "/nowhere", .uid = getuid(), .gid = getgid()};
	const struct bk_type *type;
	struct bk *bk;

	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, route, NULL, NULL, &bk, NULL), 0);
	bk->ino_space = space;
	return bk;
}

static void begin(struct world *w)
{
	w->root = memory("/", 1);
	w->project = memory("/project", 2);
	w->nested = memory("/project/data", 3);
	w->deep = memory("/a/b/c", 4);
	const struct route routes[] = {
	    {.path = "/", .bk = w->root},
	    {.path = "/project", .bk = w->project},
	    {.path = "/project/data", .bk = w->nested},
	    {.path = "/a/b/c", .bk = w->deep},
	    {.path = "/failed", .failure = "no engine"},
	};
	CHECK_EQ(composite_new(routes, 5, &w->composite, NULL), 0);
	bk_req_init(&w->req, getuid(), getgid(), getpid(), 0);
}

static void end(struct world *w)
{
	bk_req_done(&w->req);
	bk_free(w->composite);
	bk_free(w->root);
	bk_free(w->project);
	bk_free(w->nested);
	bk_free(w->deep);
}

/* The node of PATH ("a/b"), by lookups; NULL where one fails, with errno. */
static struct bk_node *walk(struct world *w, const char *path, struct stat *st)
{
	struct bk_node *node = bk_root(w->composite);
	char copy[256], *save, *name;

	CHECK_EQ(bk_getattr(&w->req, node, NULL, st), 0);
	snprintf(copy, sizeof(copy), "%s", path);
	for (name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		struct bk_node *next;
		int r = bk_lookup(&w->req, node, name, &next, st);

		bk_node_unref(node);
		if (r < 0) {
			errno = -r;
			return NULL;
		}
		node = next;
	}
	return node;
}

static void check_route(struct world *w, const char *path, struct bk *want)
{
	struct stat st;
	struct bk_node *node = walk(w, path, &st);

	CHECK(node);
	CHECK(bk_serving(node, NULL) == want);
	bk_node_unref(node);
}

static void make_dir(struct world *w, const char *parent, const char *name)
{
	struct stat st;
	struct bk_node *dir = walk(w, parent, &st), *made;

	CHECK_EQ(bk_mkdir(&w->req, dir, name, 0755, &made, &st), 0);
	bk_node_unref(made);
	bk_node_unref(dir);
}

static void the_longest_prefix_wins_by_whole_components(void)
{
	struct world w;

	begin(&w);
	make_dir(&w, "", "projects");
	make_dir(&w, "project", "src");
	check_route(&w, "", w.root);
	check_route(&w, "projects", w.root);
	check_route(&w, "project", w.project);
	check_route(&w, "project/src", w.project);
	check_route(&w, "project/data", w.nested);
	check_route(&w, "a/b/c", w.deep);
	end(&w);
}

static bool list_name(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	char *out = ctx;

	if (name[0] != '.')
		sprintf(out + strlen(out), "%s ", name);
	return true;
}

static void check_list(struct world *w, const char *path, const char *want)
{
	struct stat st;
	struct bk_node *node = walk(w, path, &st);
	struct bk_file *dir;
	char names[1024] = "";

	CHECK(node);
	CHECK_EQ(bk_opendir(&w->req, node, &dir), 0);
	CHECK_EQ(bk_readdir(&w->req, dir, 0, list_name, names), 0);
	CHECK_STR(names, want);
	bk_release(dir);
	bk_node_unref(node);
}

static void routes_show_in_listings_and_cover_what_is_below(void)
{
	struct world w;

	begin(&w);
	make_dir(&w, "", "mine");
	CHECK(!walk(&w, "failed", &(struct stat){0}));
	CHECK_EQ(errno, ENOENT);
	/* Beside the mount, the covered names exist in the backends below. */
	struct bk_node *root = bk_root(w.root), *made;
	struct stat st;
	CHECK_EQ(bk_mkdir(&w.req, root, "project", 0755, &made, &st), 0);
	bk_node_unref(made);
	bk_node_unref(root);
	check_list(&w, "", "a project mine ");
	check_list(&w, "project", "data ");
	check_list(&w, "a", "b ");
	check_list(&w, "a/b", "c ");
	check_list(&w, "a/b/c", "");
	end(&w);
}

static void synthesised_parents_are_read_only_until_the_backend_above_has_one(void)
{
	struct world w;
	struct stat st;
	struct bk_node *a, *made;

	begin(&w);
	a = walk(&w, "a", &st);
	CHECK_EQ(st.st_mode, S_IFDIR | 0555);
	CHECK_EQ(bk_mkdir(&w.req, a, "x", 0755, &made, &st), -EROFS);
	bk_node_unref(a);

	struct bk_node *root = bk_root(w.root), *above;
	CHECK_EQ(bk_mkdir(&w.req, root, "a", 0711, &above, &st), 0);
	a = walk(&w, "a", &st);
	CHECK_EQ(st.st_mode, S_IFDIR | 0711);
	CHECK_EQ(bk_mkdir(&w.req, a, "x", 0755, &made, &st), 0);
	bk_node_unref(made);
	bk_node_unref(a);
	check_list(&w, "a", "b x ");
	bk_node_unref(above);
	bk_node_unref(root);
	end(&w);
}

static void the_name_of_a_route_is_busy(void)
{
	struct world w;
	struct stat st;
	struct bk_node *root, *made;

	begin(&w);
	root = bk_root(w.composite);
	make_dir(&w, "", "mine");
	CHECK_EQ(bk_rmdir(&w.req, root, "project"), -EBUSY);
	CHECK_EQ(bk_unlink(&w.req, root, "project"), -EBUSY);
	CHECK_EQ(bk_rename(&w.req, root, "project", root, "other", 0), -EBUSY);
	CHECK_EQ(bk_rename(&w.req, root, "mine", root, "project", 0), -EBUSY);
	CHECK_EQ(bk_rename(&w.req, root, "a", root, "z", 0), -EBUSY);
	CHECK_EQ(bk_mkdir(&w.req, root, "a", 0755, &made, &st), -EBUSY);
	bk_node_unref(root);
	end(&w);
}

static void names_do_not_move_across_routes(void)
{
	struct world w;
	struct stat st;
	struct bk_node *root, *project, *file, *linked;

	begin(&w);
	root = bk_root(w.composite);
	project = walk(&w, "project", &st);
	CHECK_EQ(bk_mknod(&w.req, root, "f", S_IFREG | 0644, 0, &file, &st), 0);
	CHECK_EQ(bk_rename(&w.req, root, "f", project, "f", 0), -EXDEV);
	CHECK_EQ(bk_link(&w.req, file, project, "f", &linked, &st), -EXDEV);
	CHECK_EQ(bk_rename(&w.req, root, "f", root, "g", 0), 0);
	w.root->readonly = true;
	CHECK_EQ(bk_unlink(&w.req, root, "g"), -EROFS);
	bk_node_unref(file);
	bk_node_unref(project);
	bk_node_unref(root);
	end(&w);
}

static void numbers_are_unique_and_stable(void)
{
	struct world w;
	static const char *const paths[] = {"", "a", "a/b", "a/b/c", "project", "project/data",
					    "x"};
	uint64_t ino[7];
	struct stat st;

	begin(&w);
	make_dir(&w, "", "x");
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 7; i++) {
			struct bk_node *node = walk(&w, paths[i], &st);

			CHECK(node);
			bk_node_unref(node);
			if (round == 0)
				ino[i] = st.st_ino;
			CHECK_EQ(st.st_ino, ino[i]);
			for (int k = 0; k < i; k++)
				CHECK(ino[k] != ino[i]);
		}
	end(&w);
}

/* The number that a listing is to tell of NAME. */
struct told {
	const char *name;
	uint64_t ino;
};

static bool find_number(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	struct told *t = ctx;

	if (strcmp(name, t->name) == 0)
		t->ino = ino;
	return true;
}

static void listings_tell_the_numbers_that_routes_have(void)
{
	static const struct {
		const char *dir, *name, *path;
	} cases[] = {{"", "project", "project"},
		     {"project", "data", "project/data"},
		     {"a/b", "c", "a/b/c"},
		     {"", "a", "a"}};
	struct world w;
	struct stat st;

	begin(&w);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct told told = {.name = cases[i].name};
		struct bk_node *dir = walk(&w, cases[i].dir, &st);
		struct bk_node *node = walk(&w, cases[i].path, &st);
		struct bk_file *file;

		CHECK_EQ(bk_opendir(&w.req, dir, &file), 0);
		CHECK_EQ(bk_readdir(&w.req, file, 0, find_number, &told), 0);
		CHECK_EQ(told.ino, st.st_ino);
		bk_release(file);
		bk_node_unref(dir);
		bk_node_unref(node);
	}
	end(&w);
}

static void bad_routes_are_refused(void)
{
	static const char *const bad[] = {"x", "/x/", "//x", "/../x", "/x/./y", "/", ""};
	struct bk *bk = memory("/", 1), *c;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct route routes[] = {{.path = "/", .bk = bk}, {.path = bad[i], .bk = bk}};

		CHECK_EQ(composite_new(routes, 2, &c, &err), -EINVAL);
	}
	const struct route none[] = {{.path = "/x", .bk = bk}};
	CHECK_EQ(composite_new(none, 1, &c, &err), -EINVAL);
	CHECK_STR(err.text, "no route for /");
	bk_free(bk);
}

int main(void)
{
	the_longest_prefix_wins_by_whole_components();
	routes_show_in_listings_and_cover_what_is_below();
	synthesised_parents_are_read_only_until_the_backend_above_has_one();
	the_name_of_a_route_is_busy();
	names_do_not_move_across_routes();
	numbers_are_unique_and_stable();
	listings_tell_the_numbers_that_routes_have();
	bad_routes_are_refused();
	return 0;
}
