/*
 * Definitions of runtimes: what is refused, and what a Dockerfile is made of. Whatever a definition
 * has in it, the Dockerfile has one line for each of its instructions.
 */
#include "test.h"

#include "package.h"
#include "recipe.h"
#include "runtime_state.h"

/* ---- Helpers ---- */

static struct runtime parse(const char *name, const char *json)
{
	cJSON *obj = cJSON_Parse(json);
	struct err err = {""};
	struct runtime rt;
	int r = runtime_parse(name, obj, &rt, &err);

	cJSON_Delete(obj);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", json, err.text);
		abort();
	}
	return rt;
}

static void refused(const char *name, const char *json, const char *text)
{
	cJSON *obj = cJSON_Parse(json);
	struct err err = {""};
	struct runtime rt = {0};
	int r = runtime_parse(name, obj, &rt, &err);

	cJSON_Delete(obj);
	CHECK_EQ(r, -EINVAL);
	if (!strstr(err.text, text)) {
		fprintf(stderr, "%s: \"%s\" does not say \"%s\"\n", json, err.text, text);
		abort();
	}
	CHECK(!rt.name);
}

static void dockerfile(const char *json, const char *text)
{
	struct runtime rt = parse("x", json);
	struct recipe recipe;

	CHECK_EQ(recipe_make(&rt, &recipe), 0);
	CHECK_STR(recipe.dockerfile, text);
	recipe_done(&recipe);
	runtime_done(&rt);
}

static void tag_of(const char *name, const char *json, char ret[RECIPE_MAX_TAG])
{
	struct runtime rt = parse(name, json);
	struct recipe recipe;

	CHECK_EQ(recipe_make(&rt, &recipe), 0);
	strcpy(ret, recipe.tag);
	recipe_done(&recipe);
	runtime_done(&rt);
}

/* ---- Packages ---- */

static void packages_follow_their_managers_grammar(void)
{
	static const struct {
		const char *manager, *package;
		bool ok;
	} cases[] = {
	    {"pip", "pandas", true},
	    {"pip", "zope.interface", true},
	    {"pip", "uvicorn[standard]", true},
	    {"pip", "uvicorn[standard,extra]>=0.2, <1.0", true},
	    {"pip", "numpy==1.26.*", true},
	    {"pip", "a ~= 1.0", true},
	    {"pip", "torch==2.0.0+cpu", true},
	    {"pip", "", false},
	    {"pip", "-r", false},
	    {"pip", "--index-url=http://x", false},
	    {"pip", "git+https://x/y", false},
	    {"pip", "a @ http://x", false},
	    {"pip", "./a", false},
	    {"pip", "/a", false},
	    {"pip", "a;b", false},
	    {"pip", "a && b", false},
	    {"pip", "a==", false},
	    {"pip", "a==1,", false},
	    {"pip", "a[", false},
	    {"pip", "a[]", false},
	    {"pip", "a[b", false},
	    {"pip", "a.", false},
	    {"pip", "a=1", false},
	    {"npm", "react", true},
	    {"npm", "@types/react", true},
	    {"npm", "@types/react@^18.2", true},
	    {"npm", "typescript@next", true},
	    {"npm", "a@>=1 <2 || 3", true},
	    {"npm", "a/b", false},
	    {"npm", "../a", false},
	    {"npm", "@a", false},
	    {"npm", "@a/", false},
	    {"npm", "-g", false},
	    {"npm", "a@", false},
	    {"npm", "a@npm:b", false},
	    {"npm", "a@file:/etc", false},
	    {"npm", "https://x", false},
	    {"npm", ".", false},
	    {"apt", "git", true},
	    {"apt", "g++", true},
	    {"apt", "libstdc++6:arm64=12.2.0-14", true},
	    {"apt", "git=1:2.39.5-0+deb12u1", true},
	    {"apt", "git/bookworm-backports", true},
	    {"apt", "a", false},
	    {"apt", "git-", false},
	    {"apt", "-y", false},
	    {"apt", "./a.deb", false},
	    {"apt", "git*", false},
	    {"apt", "git;reboot", false},
	    {"apt", "$(reboot)", false},
	    {"apt", "git=", false},
	    {"apt", "git:", false},
	    {"cargo", "ripgrep", true},
	    {"cargo", "cargo-edit@0.12.2", true},
	    {"cargo", "a@^1.0", true},
	    {"cargo", "--git", false},
	    {"cargo", "a@", false},
	    {"cargo", "a b", false},
	    {"cargo", "1a", false},
	};
	char longest[PACKAGE_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {""};
		int r = package_check(cases[i].manager, cases[i].package, &err);

		if ((r == 0) != cases[i].ok) {
			fprintf(stderr, "%s: \"%s\": %d\n", cases[i].manager, cases[i].package, r);
			abort();
		}
		CHECK(cases[i].ok || strstr(err.text, cases[i].package));
	}
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	CHECK_EQ(package_check("pip", longest, NULL), -EINVAL);
	longest[PACKAGE_MAX] = '\0';
	CHECK_EQ(package_check("pip", longest, NULL), 0);
}

/* ---- Definitions ---- */

static void errors_name_the_key(void)
{
	refused("x", "[]", "must be an object");
	refused("x", "{\"base_img\": \"a\"}",
		"unknown key \"base_img\" (did you mean \"base_image\"");
	refused("x", "{}", "\"base_image\" (or \"image\") is missing");
	refused("x", "{\"image\": \"a\", \"packages\": [\"b\"]}", "\"image\" is used as it is");
	refused("x", "{\"image\": \"a\", \"base_image\": \"b\"}", "\"image\" is used as it is");
	refused("x", "{\"base_image\": 1}", "\"base_image\" must be");
	refused("x", "{\"base_image\": \"a\", \"packages\": \"b\"}", "\"packages\" must be a list");
	refused("x", "{\"base_image\": \"a\", \"packages\": [1]}", "\"packages\" must be a list");
	refused("x", "{\"base_image\": \"a\", \"packages\": [\"\"]}",
		"\"packages\" must be a list");
	refused("x", "{\"base_image\": \"a\", \"packages\": [\"b;c\"]}", "\"packages\": \"b;c\"");
	refused("x", "{\"base_image\": \"a\", \"package_manager\": \"yum\"}",
		"\"package_manager\" must be pip|npm|apt|cargo");
	refused("x", "{\"base_image\": \"a\", \"setup_commands\": {}}", "\"setup_commands\" must");
	refused("x", "{\"base_image\": \"a\", \"env\": []}", "\"env\" must be an object");
	refused("x", "{\"base_image\": \"a\", \"env\": {\"A\": 1}}", "\"env\": A is not a string");
	refused("x", "{\"base_image\": \"a\", \"workdir\": \"b\"}", "\"workdir\" must be a plain");
	refused("x", "{\"base_image\": \"a\", \"workdir\": \"/b/../c\"}", "\"workdir\" must be");
	refused("x", "{\"base_image\": \"a\", \"workdir\": \"/b\", \"work_dir\": \"/b\"}",
		"are the same");
}

static void nothing_hostile_comes_as_far_as_a_dockerfile(void)
{
	refused("x", "{\"base_image\": \"a\\nRUN reboot\"}", "\"base_image\": not the name");
	refused("x", "{\"base_image\": \"a b\"}", "\"base_image\": not the name");
	refused("x", "{\"base_image\": \"${A}\"}", "\"base_image\": not the name");
	refused("x", "{\"base_image\": \"--platform=x\"}", "\"base_image\": not the name");
	refused("x", "{\"base_image\": \"a\", \"setup_commands\": [\"a\\nb\"]}",
		"a control character");
	refused("x", "{\"base_image\": \"a\", \"setup_commands\": [\"a\\u001b[2J\"]}",
		"a control character");
	refused("x", "{\"base_image\": \"a\", \"env\": {\"A\": \"x\\nUSER y\"}}",
		"A has a control");
	refused("x", "{\"base_image\": \"a\", \"env\": {\"A B\": \"x\"}}", "not the name of a var");
	refused("x", "{\"base_image\": \"a\", \"env\": {\"A=\": \"x\"}}", "not the name of a var");
	refused("x", "{\"base_image\": \"a\", \"env\": {\"\": \"x\"}}",
		"not the name of a variable");
	refused("x", "{\"base_image\": \"a\", \"env\": {\"1\": \"x\"}}",
		"not the name of a variable");
	refused("x", "{\"base_image\": \"a\", \"workdir\": \"/a\\nRUN b\"}", "\"workdir\" must be");
}

static void names_are_parts_of_images_names(void)
{
	static const char *const good[] = {"a", "a1", "python-3.12", "a_b", "a--b", "1"};
	static const char *const bad[] = {"",	 "A",	 "-a",	 "a-",	 ".a",
					  "a.",	 "a..b", "a._b", "a/b",	 "../a",
					  "a b", "a:b",	 "a-.b", "a.-b", "a\n"};
	char longest[66];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		CHECK_EQ(runtime_check_name(good[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i], "{\"base_image\": \"a\"}", "a runtime's name is");
	memset(longest, 'a', 65);
	longest[65] = '\0';
	CHECK_EQ(runtime_check_name(longest, NULL), -EINVAL);
	longest[64] = '\0';
	CHECK_EQ(runtime_check_name(longest, NULL), 0);
}

/* ---- Recipes ---- */

static void a_dockerfile_has_the_seeds_order(void)
{
	dockerfile(
	    "{\"base_image\": \"python:3.12-slim\", \"packages\": [\"pandas\", \"numpy>1\"],"
	    " \"setup_commands\": [\"apt-get update\"], \"env\": {\"B\": \"2\", \"A\": \"1\"},"
	    " \"work_dir\": \"/app\"}",
	    "FROM python:3.12-slim\n"
	    "RUN [\"/bin/sh\",\"-c\",\"apt-get update\"]\n"
	    "RUN [\"pip\",\"install\",\"--no-cache-dir\",\"pandas\",\"numpy>1\"]\n"
	    "ENV A=\"1\"\n"
	    "ENV B=\"2\"\n"
	    "WORKDIR \"/app\"\n");
	dockerfile(
	    "{\"base_image\": \"a\", \"packages\": [\"@b/c\"], \"package_manager\": \"npm\"}",
	    "FROM a\n"
	    "RUN [\"npm\",\"install\",\"-g\",\"@b/c\"]\n"
	    "WORKDIR \"/workspace\"\n");
	dockerfile("{\"base_image\": \"a\", \"packages\": [\"b\"], \"package_manager\": \"cargo\"}",
		   "FROM a\n"
		   "RUN [\"cargo\",\"install\",\"--root\",\"/usr/local\",\"b\"]\n"
		   "WORKDIR \"/workspace\"\n");
}

static void values_are_quoted(void)
{
	dockerfile(
	    "{\"base_image\": \"a\", \"setup_commands\": [\"echo \\\"$A\\\" \\\\\"],"
	    " \"env\": {\"A\": \"a \\\"b\\\" $c ${d} \\\\ 'e' #\"}, \"workdir\": \"/$x \\\\\"}",
	    "FROM a\n"
	    "RUN [\"/bin/sh\",\"-c\",\"echo \\\"$A\\\" \\\\\"]\n"
	    "ENV A=\"a \\\"b\\\" \\$c \\${d} \\\\ 'e' #\"\n"
	    "WORKDIR \"/\\$x \\\\\"\n");
}

static void a_hash_is_of_what_is_built(void)
{
	char a[RECIPE_MAX_TAG], b[RECIPE_MAX_TAG], hash[65];

	CHECK_EQ(recipe_hash("abc", hash), 0);
	CHECK_STR(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

	/* This one is on users' engines: where it changes, all images are built again. */
	tag_of("x", "{\"base_image\": \"a\", \"packages\": [\"b\"]}", a);
	CHECK_STR(a, "aib-runtime-x:aaa8f0f132b1");
	tag_of("x", "{\"packages\": [\"b\"], \"base_image\": \"a\", \"cache_image\": false}", b);
	CHECK_STR(a, b);
	tag_of("y", "{\"base_image\": \"a\", \"packages\": [\"b\"]}", b);
	CHECK_STR(b + strlen("aib-runtime-y"), a + strlen("aib-runtime-x"));

	tag_of("x", "{\"base_image\": \"a\", \"packages\": [\"b\", \"c\"]}", b);
	CHECK(strcmp(a, b) != 0);
	tag_of("x", "{\"base_image\": \"a:1\", \"packages\": [\"b\"]}", b);
	CHECK(strcmp(a, b) != 0);
	tag_of("x", "{\"base_image\": \"a\", \"packages\": [\"b\"], \"package_manager\": \"npm\"}",
	       b);
	CHECK(strcmp(a, b) != 0);
	tag_of("x", "{\"base_image\": \"a\", \"packages\": [\"b\"], \"workdir\": \"/b\"}", b);
	CHECK(strcmp(a, b) != 0);
	tag_of("x", "{\"base_image\": \"a\", \"packages\": [\"b\"], \"env\": {\"A\": \"\"}}", b);
	CHECK(strcmp(a, b) != 0);

	tag_of(
	    "x",
	    "{\"base_image\": \"a\", \"packages\": [\"b\"], \"env\": {\"A\": \"1\", \"B\": \"2\"}}",
	    a);
	tag_of(
	    "x",
	    "{\"base_image\": \"a\", \"packages\": [\"b\"], \"env\": {\"B\": \"2\", \"A\": \"1\"}}",
	    b);
	CHECK_STR(a, b);
}

/* ---- The set ---- */

static void the_seeds_runtimes_are_there(void)
{
	static const struct {
		const char *name, *base, *workdir, *manager, *packages;
	} seeds[] = {
	    {"python-minimal", "python:3.12-slim", "/workspace", "pip", "[]"},
	    {"python-datascience", "python:3.12-slim", "/workspace", "pip",
	     "[\"pandas\",\"numpy\",\"matplotlib\",\"scikit-learn\",\"seaborn\"]"},
	    {"python-web", "python:3.12-slim", "/workspace", "pip",
	     "[\"fastapi\",\"uvicorn\",\"sqlalchemy\",\"httpx\"]"},
	    {"node-minimal", "node:20-slim", "/app", NULL, "[]"},
	    {"node-react", "node:20-slim", "/app", "npm",
	     "[\"typescript\",\"vite\",\"react\",\"react-dom\",\"@types/react\"]"},
	};
	static const char *const later[] = {
	    "coding",
	    "polyglot",
	    "python-analytics",
	    "python-scraping",
	    "python-documents",
	    "node-typescript",
	    "bun",
	    "deno",
	    "go",
	    "rust",
	};
	struct runtimes_conf conf = {0};
	const struct runtime *rt;
	struct runtimes *rs;
	struct err err = {""};

	CHECK_EQ(runtimes_new(&conf, &rs, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		char *packages;

		CHECK_EQ(runtimes_find(rs, seeds[i].name, &rt, &err), 0);
		packages = cJSON_PrintUnformatted(rt->packages);
		CHECK_STR(packages, seeds[i].packages);
		free(packages);
		CHECK_STR(rt->base_image, seeds[i].base);
		CHECK_STR(rt->workdir, seeds[i].workdir);
		CHECK(!seeds[i].manager || strcmp(rt->package_manager, seeds[i].manager) == 0);
		CHECK(rt->builtin);
	}
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		CHECK_EQ(runtimes_find(rs, later[i], &rt, &err), 0);
	CHECK(!runtimes_at(rs, ARRAY_SIZE(seeds) + ARRAY_SIZE(later)));
	CHECK_EQ(runtimes_find(rs, "python-minimla", &rt, &err), -EINVAL);
	CHECK(strstr(err.text, "did you mean \"python-minimal\""));
	runtimes_free(rs);
}

static void own_ones_come_before_those_built_in(void)
{
	cJSON *own =
	    cJSON_Parse("{\"python-minimal\": {\"image\": \"mine\"}, \"z\": {\"image\": \"z\"}}");
	cJSON *bad = cJSON_Parse("{\"z\": {\"image\": \"z\", \"packges\": []}}");
	struct runtimes_conf conf = {.runtimes = own};
	const struct runtime *rt;
	struct runtimes *rs;
	struct err err = {""};

	CHECK_EQ(runtimes_new(&conf, &rs, &err), 0);
	CHECK_EQ(runtimes_find(rs, "python-minimal", &rt, &err), 0);
	CHECK_STR(rt->image, "mine");
	CHECK(!rt->builtin);
	CHECK(!runtime_is_built(rt));
	for (size_t i = 1; runtimes_at(rs, i); i++)
		CHECK(strcmp(runtimes_at(rs, i - 1)->name, runtimes_at(rs, i)->name) < 0);
	runtimes_free(rs);
	conf.runtimes = bad;
	CHECK_EQ(runtimes_new(&conf, &rs, &err), -EINVAL);
	CHECK_STR(err.text, "runtimes: z: unknown key \"packges\" (did you mean \"packages\"?)");
	cJSON_Delete(own);
	cJSON_Delete(bad);
}

static void options_have_the_runtimes_values_below_the_routes(void)
{
	struct runtime rt =
	    parse("x", "{\"base_image\": \"a\", \"env\": {\"A\": \"1\", \"B\": \"2\"}}");
	struct runtime_image image = {.runtime = &rt, .image = strdup("i:1"), .built = true};
	cJSON *options =
	    cJSON_Parse("{\"runtime\": \"x\", \"pull\": \"always\", \"memory\": \"1G\","
			" \"env\": {\"B\": \"3\"}}");
	cJSON *want = cJSON_Parse("{\"image\": \"i:1\", \"pull\": \"never\", \"memory\": \"1G\","
				  " \"env\": {\"A\": \"1\", \"B\": \"3\"},"
				  " \"workdir\": \"/workspace\"}");
	cJSON *out;

	CHECK_EQ(runtimes_options(&image, options, &out), 0);
	CHECK(cJSON_Compare(out, want, true));
	cJSON_Delete(out);
	image.built = false;
	cJSON_AddStringToObject(options, "workdir", "/own");
	CHECK_EQ(runtimes_options(&image, options, &out), 0);
	CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(out, "pull")), "always");
	CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(out, "workdir")), "/own");
	cJSON_Delete(out);
	cJSON_Delete(options);
	cJSON_Delete(want);
	runtime_image_done(&image);
	runtime_done(&rt);
}

static void env_is_not_shown(void)
{
	struct runtime rt = parse("x", "{\"base_image\": \"a\", \"env\": {\"TOKEN\": \"secret\"}}");
	cJSON *json = runtime_json(&rt);
	char *text = cJSON_Print(json);

	CHECK(strstr(text, "TOKEN") && !strstr(text, "secret"));
	free(text);
	cJSON_Delete(json);
	runtime_done(&rt);
}

int main(void)
{
	packages_follow_their_managers_grammar();
	errors_name_the_key();
	nothing_hostile_comes_as_far_as_a_dockerfile();
	names_are_parts_of_images_names();
	a_dockerfile_has_the_seeds_order();
	values_are_quoted();
	a_hash_is_of_what_is_built();
	the_seeds_runtimes_are_there();
	own_ones_come_before_those_built_in();
	options_have_the_runtimes_values_below_the_routes();
	env_is_not_shown();
	return 0;
}
