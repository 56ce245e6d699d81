/*
 * The configuration of a mount, with types of its own in place of the registry's.
 */
#include "test.h"

#include "config.h"

#include <fcntl.h>

struct fake {
	char *image, *runtime, *pull;
	uint64_t memory;
	cJSON *env, *volumes, *dns;
};

static const struct option docker_options[] = {
    {"image", OPTION_STRING, offsetof(struct fake, image), NULL, ""},
    {"runtime", OPTION_STRING, offsetof(struct fake, runtime), NULL, ""},
    {"pull", OPTION_STRING, offsetof(struct fake, pull), "missing|always|never", ""},
    {"memory", OPTION_SIZE, offsetof(struct fake, memory), NULL, ""},
    {"env", OPTION_JSON, offsetof(struct fake, env), NULL, ""},
    {"volumes", OPTION_JSON, offsetof(struct fake, volumes), NULL, ""},
    {"dns", OPTION_JSON, offsetof(struct fake, dns), NULL, ""},
    {NULL},
};
static const struct option host_options[] = {
    {"path", OPTION_STRING, offsetof(struct fake, image), NULL, ""},
    {NULL},
};
static const struct option memory_options[] = {
    {"size", OPTION_SIZE, offsetof(struct fake, memory), NULL, ""},
    {NULL},
};

static const struct bk_type types[] = {
    {.name = "docker", .source_key = "image", .options = docker_options},
    {.name = "host", .source_key = "path", .options = host_options},
    {.name = "memory", .options = memory_options},
};

int bk_type_find(const char *name, const struct bk_type **ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].name, name) == 0) {
			*ret = &types[i];
			return 0;
		}
	return err_set(err, -EINVAL, "unknown type \"%s\"", name);
}

const struct bk_type *bk_type_at(size_t i)
{
	return i < ARRAY_SIZE(types) ? &types[i] : NULL;
}

/* ---- Helpers ---- */

static void check_route(const char *text, const char *path, const char *json)
{
	_cleanup_(cJSON_Deletep) cJSON *obj = NULL, *want = cJSON_Parse(json);
	_cleanup_free_ char *got_path = NULL;
	struct err err = {""};

	if (config_parse_route(text, &got_path, &obj, &err) < 0) {
		fprintf(stderr, "%s: %s\n", text, err.text);
		abort();
	}
	CHECK_STR(got_path, path);
	CHECK(want);
	if (!cJSON_Compare(obj, want, true)) {
		fprintf(stderr, "%s is %s\n", text, cJSON_Print(obj));
		abort();
	}
}

static void check_error(int r, const struct err *err, const char *text)
{
	CHECK(r < 0);
	CHECK_STR(err->text, text);
}

static int add(struct config *c, const char *json, struct err *err)
{
	return config_add_json(c, "config.json", json, strlen(json), err);
}

static void check_json_error(const char *json, const char *text)
{
	_cleanup_(config_done) struct config c;
	struct err err = {""};
	int r;

	CHECK_EQ(config_init(&c), 0);
	r = add(&c, json, &err);
	if (r == 0)
		r = config_finish(&c, &err);
	check_error(r, &err, text);
}

static void check_route_error(const char *route, const char *text)
{
	_cleanup_(config_done) struct config c;
	struct err err = {""};
	int r;

	CHECK_EQ(config_init(&c), 0);
	r = config_add_route(&c, route, &err);
	if (r == 0)
		r = config_finish(&c, &err);
	check_error(r, &err, text);
}

static void check_option_error(const char *options, const char *text)
{
	_cleanup_(config_done) struct config c;
	struct err err = {""};

	CHECK_EQ(config_init(&c), 0);
	check_error(config_add_options(&c, options, &err), &err, text);
}

/* ---- Tests ---- */

static void command_line_routes_become_the_objects_of_the_file(void)
{
	check_route("/=memory,size=1G", "/", "{\"type\":\"memory\",\"size\":\"1G\"}");
	check_route("/p=host:/home/me/proj,exec=/py", "/p",
		    "{\"type\":\"host\",\"path\":\"/home/me/proj\",\"exec\":\"/py\"}");
	check_route("/d=host:/srv/data,readonly", "/d",
		    "{\"type\":\"host\",\"path\":\"/srv/data\",\"readonly\":\"\"}");
	check_route("/py=docker:python:3.12-slim", "/py",
		    "{\"type\":\"docker\",\"image\":\"python:3.12-slim\"}");
	check_route("/py=docker:127.0.0.1:5000/x:tag,memory=2G", "/py",
		    "{\"type\":\"docker\",\"image\":\"127.0.0.1:5000/x:tag\",\"memory\":\"2G\"}");
	check_route("/w=docker:x,volume=/srv/d:/data:ro,volume=/e:/e", "/w",
		    "{\"type\":\"docker\",\"image\":\"x\","
		    "\"volumes\":{\"/srv/d\":\"/data:ro\",\"/e\":\"/e\"}}");
	check_route("/w=docker:x,env=A=b=c,env=B=1\\,2,env=C=\\\\,env=D=", "/w",
		    "{\"type\":\"docker\",\"image\":\"x\","
		    "\"env\":{\"A\":\"b=c\",\"B\":\"1,2\",\"C\":\"\\\\\",\"D\":\"\"}}");
	check_route("/w=docker:x,dns=1,dns=2,dns=3", "/w",
		    "{\"type\":\"docker\",\"image\":\"x\",\"dns\":[\"1\",\"2\",\"3\"]}");
	check_route("/h=host:/with\\,comma", "/h", "{\"type\":\"host\",\"path\":\"/with,comma\"}");
}

static void route_errors_name_the_key_and_its_place(void)
{
	check_route_error("/py", "a route is PATH=TYPE[:SOURCE][,KEY=VALUE]…, not \"/py\"");
	check_route_error("/py=dokcer", "-r /py: unknown type \"dokcer\"");
	check_route_error("/py=docker:x,imge=y",
			  "-r /py: unknown key \"imge\" (did you mean \"image\"?)");
	check_route_error("/py=docker:x,image=y", "-r /py: the key \"image\" is there twice");
	check_route_error("/py=docker:x,zzzzzz=y", "-r /py: unknown key \"zzzzzz\"");
	check_route_error("/m=memory:x", "-r /m: type memory takes no source (\":x\")");
	check_route_error("/m=memory,size=big",
			  "-r /m: \"size\" must be a size such as 512M or 2G");
	check_route_error("/m=memory,readonly=perhaps",
			  "-r /m: \"readonly\" must be true or false");
	check_route_error("m=memory", "-r m: route path \"m\" must be absolute");
	check_route_error("/a/../b=memory",
			  "-r /a/../b: route path \"/a/../b\" must not have \"..\"");
	check_route_error("/a/./b=memory", "-r /a/./b: route path \"/a/./b\" must not have \".\"");
	check_route_error("/.=memory", "-r /.: route path \"/.\" must not have \".\"");
	check_route_error("/.aib/x=memory",
			  "-r /.aib/x: route path \"/.aib/x\" is the control tree's");
	check_route_error("/h=host:/,exec=/py", "-r /h: exec: /py is not a route with a sandbox");
	check_route_error("/h=host:/,exec=/h", "-r /h: exec: /h is not a route with a sandbox");
	check_route_error("/w=docker:x,volume=/srv", "-r /w: \"volumes\" wants NAME:VALUE");
	check_route_error("/w=docker:x,env=A=1,env=A=2", "-r /w: \"env\" has A twice");
}

static void file_errors_name_the_key_and_its_place(void)
{
	check_json_error(
	    "{\"routes\": {\"/py\": {\"type\": \"docker\", \"imge\": \"x\"}}}",
	    "config.json: routes: /py: unknown key \"imge\" (did you mean \"image\"?)");
	check_json_error("{\"routes\": {\"/py\": {\"image\": \"x\"}}}",
			 "config.json: routes: /py: \"type\" is missing");
	check_json_error("{\"routes\": {\"/py\": 1}}",
			 "config.json: routes: /py: must be an object");
	check_json_error("{\"rotues\": {}}",
			 "config.json: unknown key \"rotues\" (did you mean \"routes\"?)");
	check_json_error(
	    "{\"options\": {\"dedline\": 1}}",
	    "config.json: options: unknown key \"dedline\" (did you mean \"deadline\"?)");
	check_json_error("{\"options\": {\"control\": \"hid\"}}",
			 "config.json: options: \"control\" must be hidden|visible|none");
	check_json_error("{\n  \"routes\": x\n}", "config.json: line 2, column 13: not valid JSON");
	check_json_error("{} x", "config.json: line 1, column 4: not valid JSON");
	check_json_error("[]", "config.json: must be a JSON object");
	check_json_error(
	    "{\"routes\": {\"/a\": {\"type\": \"memory\"}, \"/a/\": {\"type\": \"memory\"}}}",
	    "config.json: routes: /a/: the route /a is given twice");
	check_json_error("{\"routes\": {\"/a\": {\"type\": \"memory\", \"type\": \"host\"}}}",
			 "config.json: routes: /a: the key \"type\" is there twice");
}

static void option_errors_list_what_there_is(void)
{
	check_option_error("contrl=none",
			   "-o: unknown option \"contrl\" (did you mean \"control\"?)");
	check_option_error("control=none,deadline=soon",
			   "-o: \"deadline\" must be a duration such as 500ms, 30s or 1h");
}

static void later_layers_win(void)
{
	_cleanup_(config_done) struct config c;
	struct err err = {""};

	CHECK_EQ(config_init(&c), 0);
	CHECK_EQ(add(&c,
		     "{\"options\": {\"deadline\": \"1m\", \"log_level\": \"debug\", \"pull\": "
		     "\"never\"},"
		     " \"routes\": {\"/a\": {\"type\": \"memory\"}, \"/b\": {\"type\": \"memory\"},"
		     " \"/d\": {\"type\": \"docker\", \"image\": \"x\", \"pull\": \"always\"},"
		     " \"/e\": {\"type\": \"docker\", \"image\": \"x\"}}}",
		     &err),
		 0);
	setenv("AIB_DEADLINE", "2m", 1);
	setenv("AIB_LOG_LEVEL", "error", 1);
	setenv("AIB_CONTROL", "", 1);
	CHECK_EQ(config_add_env(&c, &err), 0);
	CHECK_EQ(config_add_options(&c, "rw,dev,suid,x-systemd.automount,deadline=3m,,ro", &err),
		 0);
	CHECK_EQ(config_add_route(&c, "/b//=host:/tmp", &err), 0);
	CHECK_EQ(config_finish(&c, &err), 0);
	CHECK_EQ(c.opt.deadline_ms, 180000);
	CHECK_STR(c.opt.log_level, "error");
	CHECK_STR(c.opt.control, "hidden");
	CHECK_EQ(c.n_routes, 5);
	CHECK_STR(c.routes[0].path, "/");
	CHECK_STR(c.routes[0].type->name, "memory");
	CHECK_STR(c.routes[2].path, "/b");
	CHECK_STR(c.routes[2].type->name, "host");
	CHECK(c.routes[2].readonly);
	CHECK_STR(cJSON_GetObjectItem(c.routes[3].options, "pull")->valuestring, "always");
	CHECK_STR(cJSON_GetObjectItem(c.routes[4].options, "pull")->valuestring, "never");
	unsetenv("AIB_DEADLINE");
	unsetenv("AIB_LOG_LEVEL");
	unsetenv("AIB_CONTROL");
}

static void runtime_error(const char *json, const char *text)
{
	_cleanup_(config_done) struct config c;
	struct err err = {""};
	int r;

	CHECK_EQ(config_init(&c), 0);
	CHECK_EQ(add(&c, json, &err), 0);
	r = config_finish(&c, &err);
	if (text)
		check_error(r, &err, text);
	else
		CHECK_EQ(r, 0);
}

static void a_runtime_has_to_be_there(void)
{
	runtime_error("{\"routes\": {\"/a\": {\"type\": \"docker\", \"runtime\": \"mine\"}},"
		      " \"runtimes\": {\"mine\": {\"base_image\": \"a\"}}}",
		      NULL);
	runtime_error(
	    "{\"routes\": {\"/a\": {\"type\": \"docker\", \"runtime\": \"rusty\"}}}",
	    "config.json: routes: /a: unknown runtime \"rusty\" (did you mean \"rust\"?)");
	runtime_error("{\"routes\": {\"/a\": {\"type\": \"docker\", \"runtime\": \"rust\","
		      " \"image\": \"x\"}}}",
		      "config.json: routes: /a: \"image\" and \"runtime\" exclude each other");
	runtime_error("{\"runtimes\": {\"mine\": {\"base_image\": \"a\", \"packages\": [\"-r\"]}}}",
		      "runtimes: mine: \"packages\": \"-r\" is not a package of pip (NAME, "
		      "NAME[EXTRA] or NAME==VERSION; for anything else there are "
		      "\"setup_commands\")");
}

static void what_is_shown_is_a_file_again_with_secrets_masked(void)
{
	_cleanup_(config_done) struct config c, again;
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20), text2 = BUF_INIT(1 << 20);
	struct err err = {""};

	CHECK_EQ(config_init(&c), 0);
	CHECK_EQ(config_add_route(&c, "/w=docker:x,env=KEY=hunter2,host_exec", &err), 0);
	CHECK_EQ(config_add_route(&c, "/p=host:/p,exec=/w/,readonly", &err), 0);
	CHECK_EQ(add(&c,
		     "{\"engines\": {\"local\": {\"host\": \"unix:///x\"}},"
		     " \"runtimes\": {\"r\": {\"image\": \"x\","
		     " \"env\": {\"TOKEN\": \"hunter2\"}}}}",
		     &err),
		 0);
	CHECK_EQ(config_finish(&c, &err), 0);
	CHECK_EQ(config_show(&c, &text), 0);
	CHECK(!strstr(text.data, "hunter2"));
	CHECK(strstr(text.data, "\"deadline\":\t\"30s\""));
	CHECK(strstr(text.data, "\"exec\":\t\"/w\""));

	CHECK_EQ(config_init(&again), 0);
	CHECK_EQ(add(&again, text.data, &err), 0);
	CHECK_EQ(config_finish(&again, &err), 0);
	CHECK_EQ(config_show(&again, &text2), 0);
	CHECK_STR(text.data, text2.data);
}

static void a_file_that_is_too_large_is_refused(void)
{
	_cleanup_(config_done) struct config c;
	struct err err = {""};

	CHECK_EQ(config_init(&c), 0);
	check_error(config_add_file(&c, "/dev/zero", &err), &err,
		    "/dev/zero: larger than 1048576 bytes");
	check_error(config_add_file(&c, "/nonexistent", &err), &err,
		    "/nonexistent: No such file or directory");
}

static unsigned next_random(void)
{
	static unsigned state = 12345;

	state = state * 1664525 + 1013904223;
	return state >> 8;
}

/* Words that reach deep into the parsers, in any order, and bytes of any value between them. */
static void garbage_never_breaks_the_parsers(void)
{
	static const char *const words[] = {
	    "{",
	    "}",
	    "[",
	    "]",
	    ":",
	    ",",
	    "\"",
	    "\"routes\":",
	    "\"options\":",
	    "\"/a\":",
	    "\"type\":",
	    "\"docker\"",
	    "\"env\":",
	    "\\u0000",
	    "\\",
	    "null",
	    "1e999",
	    "/py=",
	    "docker:",
	    "host:",
	    ",env=",
	    ",volume=",
	    ",dns=",
	    "memory",
	    "=",
	    "/..",
	    "/.",
	    "//",
	    "control=",
	    "deadline=",
	    "readonly",
	    "\"engines\":",
	};

	for (int round = 0; round < 20000; round++) {
		_cleanup_(config_done) struct config c;
		struct err err = {""};
		char text[512];
		size_t n = 0;

		while (n < 400 && next_random() % 24) {
			if (next_random() % 4) {
				const char *w = words[next_random() % ARRAY_SIZE(words)];

				memcpy(text + n, w, strlen(w));
				n += strlen(w);
			} else {
				text[n++] = next_random();
			}
		}
		text[n] = '\0';
		CHECK_EQ(config_init(&c), 0);
		(void)config_add_json(&c, "x", text, n, &err);
		(void)config_add_route(&c, text, &err);
		(void)config_add_options(&c, text, &err);
		(void)config_finish(&c, &err);
	}
}

int main(void)
{
	command_line_routes_become_the_objects_of_the_file();
	route_errors_name_the_key_and_its_place();
	file_errors_name_the_key_and_its_place();
	option_errors_list_what_there_is();
	later_layers_win();
	a_runtime_has_to_be_there();
	what_is_shown_is_a_file_again_with_secrets_masked();
	a_file_that_is_too_large_is_refused();
	garbage_never_breaks_the_parsers();
	return 0;
}
