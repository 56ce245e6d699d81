/* Rules: which of them decides on a path, and what nobody may do to a directory while it is moved.
 */
#include "rules/rules.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>

static struct rules *parse(const char *json)
{
	cJSON *v = cJSON_Parse(json);
	struct err err = {""};
	struct rules *r;

	int e = rules_parse(v, &r, &err);

	if (e < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK_EQ(e, 0);
	cJSON_Delete(v);
	return r;
}

/* ---- A tree in memory ---- */

struct world {
	struct bk *inner, *bk;
	struct bk_req req;
};

static void world_init(struct world *w, const char *json)
{
	const struct bk_mount mount = {.mountpoint = "/nowhere"};
	const struct bk_type *type;
	struct rules *rules = parse(json);

	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/r", NULL, NULL, &w->inner, NULL), 0);
	CHECK_EQ(rules_wrap(w->inner, rules, &w->bk), 0);
	CHECK_EQ(w->bk->ops->prepare(NULL, w->bk, NULL, NULL, NULL), 0);
	bk_req_init(&w->req, 0, 0, 0, 0);
}

static void world_done(struct world *w)
{
	bk_req_done(&w->req);
	bk_free(w->bk);
}

/* The directory PATH of BK, made with its parents; the caller's. */
static struct bk_node *directory(struct world *w, struct bk *bk, const char *path)
{
	struct bk_node *at = bk_root(bk), *next;
	char name[64];
	struct stat st;

	for (size_t n; *path; path += n + (path[n] == '/')) {
		n = strcspn(path, "/");
		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		if (bk_lookup(&w->req, at, name, &next, &st) < 0)
			CHECK_EQ(bk_mkdir(&w->req, at, name, 0755, &next, &st), 0);
		bk_node_unref(at);
		at = next;
	}
	return at;
}

/* ---- Who decides ---- */

static void check_verdict(const char *json, const char *path, int want)
{
	const char *slash = strrchr(path, '/'), *rule;
	_cleanup_free_ char *above = strndup(path, slash ? (size_t)(slash - path) : 0);
	struct bk_node *dir;
	struct world w;

	world_init(&w, json);
	bk_node_unref(directory(&w, w.inner, above));
	dir = directory(&w, w.bk, above);
	if (bk_rule(dir, slash ? slash + 1 : path, &rule) != want)
		fprintf(stderr, "%s of %s\n", path, json);
	CHECK_EQ(bk_rule(dir, slash ? slash + 1 : path, &rule), want);
	bk_node_unref(dir);
	world_done(&w);
}

static void the_last_rule_that_matches_decides(void)
{
	static const struct {
		const char *json, *path;
		int want;
	} cases[] = {
	    {"\"deny:.env\"", ".env", -EACCES},
	    {"\"deny:.env\"", "a/b/.env", -EACCES},
	    {"\"deny:.env\"", "a/b/.env/c", -EACCES},
	    {"\"deny:.env\"", "x.env", 0},
	    {"\"deny:.env/\"", "a/.env", -EACCES},
	    {"\"deny:/.env\"", "a/.env", 0},
	    {"\"deny:/.env\"", ".env", -EACCES},
	    {"\"deny:a/b\"", "a/b/c", -EACCES},
	    {"\"deny:a/b\"", "x/a/b", 0},
	    {"\"deny:**/a/b\"", "x/a/b", -EACCES},
	    {"\"deny:a/**\"", "a", 0},
	    {"\"deny:a/**\"", "a/.b", -EACCES},
	    {"\"deny:*\"", ".x", -EACCES},
	    {"\"readonly:/\"", "a/b", -EROFS},
	    {"\"readonly:**\"", "a/b", -EROFS},
	    {"[\"deny:a\", \"allow:a/b\"]", "a/b", 0},
	    {"[\"deny:a\", \"allow:a/b\"]", "a/b/c", 0},
	    {"[\"deny:a\", \"allow:a/b\"]", "a/c", -EACCES},
	    {"[\"allow:a/b\", \"deny:a\"]", "a/b", -EACCES},
	    {"[{\"readonly\": \"/\"}, {\"allow\": \"tmp/**\"}]", "tmp/x", 0},
	    {"[{\"readonly\": \"/\"}, {\"allow\": \"tmp/**\"}]", "tmp", -EROFS},
	    {"[\"read-only\", \"deny:x\"]", "x", -EACCES},
	    {"\"secrets-hidden\"", "a/.env.production", -EACCES},
	    {"\"secrets-hidden\"", "a/.env.example", 0},
	    {"\"secrets-hidden\"", "home/.ssh/id_ed25519", -EACCES},
	    {"\"secrets-hidden\"", "id_ed25519.pub", 0},
	    {"\"secrets-hidden\"", ".cargo/credentials", -EACCES},
	    {"\"workspace\"", "a/.git/hooks/pre-commit", -EROFS},
	    {"\"workspace\"", "a/.git/index", 0},
	    {"\"workspace\"", ".git/modules/x/y/config", -EROFS},
	    {"\"workspace\"", "a/.env", -EACCES},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_verdict(cases[i].json, cases[i].path, cases[i].want);
}

static void the_root_is_of_the_route_too(void)
{
	const struct bk_setattr attr = {.mask = BK_SET_MODE, .mode = 0700};
	struct bk_node *root;
	struct stat st;
	struct world w;

	world_init(&w, "\"read-only\"");
	root = bk_root(w.bk);
	CHECK_EQ(bk_setattr(&w.req, root, NULL, &attr, &st), -EROFS);
	bk_node_unref(root);
	world_done(&w);
}

static void what_a_read_only_bind_says_is_known(void)
{
	static const struct {
		const char *json;
		bool want;
	} cases[] = {
	    {"\"read-only\"", true},
	    {"[\"deny:x\", \"read-only\"]", true},
	    {"[\"read-only\", \"readonly:x\"]", true},
	    {"[\"read-only\", \"allow:x\"]", false},
	    {"[\"read-only\", \"deny:x\"]", false},
	    {"\"readonly:*\"", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rules *r = parse(cases[i].json);

		CHECK_EQ(rules_only_readonly(r), cases[i].want);
		rules_free(r);
	}
}

static void what_is_shown_is_the_same_again(void)
{
	struct rules *a = parse("[\"workspace\", \"deny:x\"]"), *b;
	cJSON *shown = rules_show(a);

	CHECK_EQ(rules_parse(shown, &b, NULL), 0);
	CHECK(rules_same(a, b));
	rules_free(b);
	b = parse("[\"workspace\", \"deny:y\"]");
	CHECK(!rules_same(a, b));
	rules_free(a);
	rules_free(b);
	cJSON_Delete(shown);
}

static void nonsense_is_refused(void)
{
	static const char *const cases[] = {
	    "{}",
	    "[]",
	    "1",
	    "\"\"",
	    "\"deny:\"",
	    "[[\"read-only\"]]",
	    "{\"deny\": 1}",
	    "{\"deny\": \"a\", \"allow\": \"b\"}",
	    "{\"hide\": \"a\"}",
	    "\"deny:a/../b\"",
	    "\"deny:{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}\""};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cJSON *v = cJSON_Parse(cases[i]);
		struct err err = {""};
		struct rules *r;

		CHECK_EQ(rules_parse(v, &r, &err), -EINVAL);
		CHECK(err.text[0]);
		cJSON_Delete(v);
	}
}

/* ---- A race ---- */

struct race {
	struct world w;
	struct bk_node *root, *x;
	atomic_bool over;
};

/* The file and the directory with the secret take turns at the names `a` and `b`. */
static void *turn(void *arg)
{
	struct race *race = arg;

	while (!atomic_load(&race->over))
		(void)bk_rename(NULL, race->root, "a", race->root, "b", RENAME_EXCHANGE);
	return NULL;
}

static void make_secret(struct race *race)
{
	struct bk_node *dir = directory(&race->w, race->w.inner, "b"), *node, *root;
	struct stat st;

	CHECK_EQ(bk_mknod(&race->w.req, dir, "secret", S_IFREG | 0600, 0, &node, &st), 0);
	bk_node_unref(node);
	bk_node_unref(dir);
	root = bk_root(race->w.inner);
	CHECK_EQ(bk_mknod(&race->w.req, root, "a", S_IFREG | 0600, 0, &node, &st), 0);
	bk_node_unref(node);
	bk_node_unref(root);
}

static void a_directory_is_not_moved_in_the_guise_of_a_file(void)
{
	struct race race = {.over = false};
	pthread_t thread;
	unsigned moved = 0, refused = 0;

	world_init(&race.w, "\"deny:*/secret\"");
	make_secret(&race);
	race.root = bk_root(race.w.bk);
	race.x = directory(&race.w, race.w.bk, "x/y");
	CHECK_EQ(pthread_create(&thread, NULL, turn, &race), 0);
	for (int i = 0; i < 200000 && (i < 20000 || !moved || !refused); i++) {
		struct bk_node *node;
		struct stat st;

		if (bk_rename(&race.w.req, race.root, "a", race.x, "z", 0) < 0) {
			refused++;
			continue;
		}
		moved++;
		CHECK_EQ(bk_lookup(&race.w.req, race.x, "z", &node, &st), 0);
		CHECK(S_ISREG(st.st_mode));
		bk_node_unref(node);
		/* To where the directory is not. */
		while (bk_rename(&race.w.req, race.x, "z", race.root, "a", RENAME_NOREPLACE) < 0)
			CHECK_EQ(bk_rename(&race.w.req, race.root, "a", race.root, "b",
					   RENAME_NOREPLACE),
				 0);
	}
	atomic_store(&race.over, true);
	pthread_join(thread, NULL);
	CHECK(moved && refused);
	bk_node_unref(race.x);
	bk_node_unref(race.root);
	world_done(&race.w);
}

int main(void)
{
	the_last_rule_that_matches_decides();
	the_root_is_of_the_route_too();
	what_a_read_only_bind_says_is_known();
	what_is_shown_is_the_same_again();
	nonsense_is_refused();
	a_directory_is_not_moved_in_the_guise_of_a_file();
	return 0;
}
