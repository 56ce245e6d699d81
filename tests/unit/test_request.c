/* A request's directory is mapped to the sandbox that owns it, and a bad request is told why. */
#include "server/request.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <errno.h>

static int bound_at(struct bk *bk, const char *host_dir, char **ret)
{
	if (strcmp(host_dir, "/home/me/proj") != 0)
		return -ENOENT;
	*ret = strdup("/project");
	return 0;
}

static const char *host_dir_of(struct bk *bk)
{
	return bk->front;
}

static const struct bk_sandbox_ops sandbox_ops = {.bound_at = bound_at};
static const struct bk_ops docker_ops = {.type = "docker", .sandbox = &sandbox_ops};
static const struct bk_ops host_ops = {.type = "host", .host_dir = host_dir_of};
static const struct bk_ops memory_ops = {.type = "memory"};

static struct bk py = {.ops = &docker_ops}, other = {.ops = &docker_ops};
static struct bk proj = {.ops = &host_ops, .front = "/home/me/proj"};
static struct bk data = {.ops = &host_ops, .front = "/srv/data"}, mem = {.ops = &memory_ops};

static struct route routes[] = {
    {.path = "/", .type = "memory", .bk = &mem},
    {.path = "/py", .type = "docker", .name = "py", .bk = &py},
    {.path = "/js", .type = "docker", .name = "js", .bk = &other},
    {.path = "/project", .type = "host", .bk = &proj, .exec = &routes[1]},
    {.path = "/data", .type = "host", .bk = &data, .exec = &routes[1]},
};

static const struct request_world world = {routes, ARRAY_SIZE(routes), "/home/me/box"};

static int parse(const char *text, struct request *q, struct err *err)
{
	cJSON *json = cJSON_Parse(text);

	CHECK(json);
	err->text[0] = '\0';
	return request_parse(&world, 0, json, q, err);
}

static void check(const char *fields, const char *sandbox, const char *cwd, const char *pwd)
{
	struct request q;
	struct err err;
	char text[1024];

	snprintf(text, sizeof(text), "{\"op\": \"exec\", \"argv\": [\"true\"], %s}", fields);
	if (parse(text, &q, &err) < 0) {
		fprintf(stderr, "%s: %s\n", fields, err.text);
		abort();
	}
	CHECK_STR(q.sandbox.name, sandbox);
	CHECK_STR(q.exec.cwd ? q.exec.cwd : "(own)", cwd);
	CHECK_STR(q.exec.pwd ? q.exec.pwd : "(none)", pwd);
	request_done(&q);
}

static void check_error(const char *text, const char *part)
{
	struct request q;
	struct err err;

	CHECK(parse(text, &q, &err) < 0);
	if (!strstr(err.text, part)) {
		fprintf(stderr, "%s: \"%s\" lacks \"%s\"\n", text, err.text, part);
		abort();
	}
}

static void a_directory_of_a_sandbox_is_itself(void)
{
	check("\"cwd\": \"/home/me/box/py/workspace\"", "py", "/workspace",
	      "/home/me/box/py/workspace");
	check("\"cwd\": \"/home/me/box/py\"", "py", "/", "/home/me/box/py");
	check("\"cwd\": \"/home/me/box/py/w\", \"pwd\": \"/b/py/w\"", "py", "/w", "/b/py/w");
}

static void a_host_directory_is_where_it_is_bound(void)
{
	check("\"cwd\": \"/home/me/box/project/src\"", "py", "/project/src",
	      "/home/me/box/project/src");
	check("\"cwd\": \"/home/me/box/project\"", "py", "/project", "/home/me/box/project");
	check_error("{\"argv\": [\"x\"], \"cwd\": \"/home/me/box/data\"}",
		    "not bound into sandbox py");
}

static void a_name_wins_over_the_directory(void)
{
	check("\"cwd\": \"/home/me/box/py/w\", \"sandbox\": \"js\"", "js", "(own)", "(none)");
	check("\"cwd\": \"/home/me/box/py/w\", \"sandbox\": \"py\"", "py", "/w",
	      "/home/me/box/py/w");
	check("\"cwd\": \"/home/me/box/py/w\", \"sandbox\": \"/js\"", "js", "(own)", "(none)");
	check("\"cwd\": \"/tmp\", \"default_sandbox\": \"js\"", "js", "(own)", "(none)");
	check("\"cwd\": \"/home/me/box/py\", \"default_sandbox\": \"js\"", "py", "/",
	      "/home/me/box/py");
	check("\"cwd\": \"/home/me/box/x\", \"default_sandbox\": \"js\"", "js", "(own)", "(none)");
	check_error("{\"argv\": [\"x\"], \"sandbox\": \"no\"}", "no sandbox \"no\"");
}

static void w_overrides_the_directory(void)
{
	check("\"cwd\": \"/home/me/box/py\", \"workdir\": \"/tmp\"", "py", "/tmp", "(none)");
	check("\"cwd\": \"/home/me/box/py/a\", \"workdir\": \"b\"", "py", "/a/b", "(none)");
	check("\"cwd\": \"/tmp\", \"workdir\": \"/home/me/box/js/x\"", "js", "/x",
	      "/home/me/box/js/x");
	check("\"cwd\": \"/tmp\", \"sandbox\": \"js\", \"workdir\": \"/etc\"", "js", "/etc",
	      "(none)");
	check_error(
	    "{\"argv\": [\"x\"], \"cwd\": \"/tmp\", \"sandbox\": \"js\", \"workdir\": \"r\"}",
	    "absolute directory");
}

static void without_a_sandbox_the_error_says_what_to_do(void)
{
	check_error("{\"argv\": [\"x\"], \"cwd\": \"/home/me/boxes\"}",
		    "name a sandbox with --sandbox");
	check_error("{\"argv\": [\"x\"], \"cwd\": \"/home/me/box\"}",
		    "route / (memory) has no sandbox");
}

static void bad_requests_are_refused(void)
{
	check_error("{\"cwd\": \"/home/me/box/py\"}", "\"argv\"");
	check_error("{\"argv\": [], \"cwd\": \"/home/me/box/py\"}", "\"argv\"");
	check_error("{\"argv\": \"x\", \"cwd\": \"/home/me/box/py\"}", "\"argv\"");
	check_error("{\"argv\": [1], \"cwd\": \"/home/me/box/py\"}", "\"argv\"");
	check_error("{\"argv\": [\"x\"], \"env\": [\"=x\"]}", "NAME=VALUE");
	check_error("{\"argv\": [\"x\"], \"rows\": 70000}", "\"rows\"");
	check_error("{\"argv\": [\"x\"], \"timeout_ms\": -1}", "\"timeout_ms\"");
	check_error("{\"argv\": [\"x\"], \"version\": 9}", "exec protocol");
	check_error("[]", "\"argv\"");
}

int main(void)
{
	a_directory_of_a_sandbox_is_itself();
	a_host_directory_is_where_it_is_bound();
	a_name_wins_over_the_directory();
	w_overrides_the_directory();
	without_a_sandbox_the_error_says_what_to_do();
	bad_requests_are_refused();
	return 0;
}
