/* Where the engine is: configuration, environment, contexts, sockets; and credentials. */
#include "docker/engine/base64.h"
#include "docker/engine/client.h"
#include "test.h"

#include <sys/stat.h>

static char home[] = "/tmp/aib-test-discover-XXXXXX";

static void put(const char *path, const char *text, mode_t mode)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", home, path);
	for (char *p = full + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	f = fopen(full, "w");
	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
	CHECK_EQ(chmod(full, mode), 0);
}

static void reset_environment(void)
{
	static const char *const names[] = {"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG",
					    "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	setenv("HOME", home, 1);
	setenv("XDG_RUNTIME_DIR", home, 1);
}

static void what_the_caller_says_wins(void)
{
	static const struct engine_conf conf = {.host = "tcp://h:1", .tls = true, .cert = "/c"};
	_cleanup_(place_done) struct place p = {0};

	reset_environment();
	setenv("DOCKER_HOST", "unix:///x", 1);
	CHECK_EQ(place_find(&conf, &p, NULL), 0);
	CHECK(strcmp(p.host, "tcp://h:1") == 0 && p.tls && strcmp(p.cert, "/c") == 0);
}

static void the_environment_comes_next(void)
{
	_cleanup_(place_done) struct place p = {0}, q = {0};

	reset_environment();
	setenv("DOCKER_HOST", "tcp://e:2376", 1);
	CHECK_EQ(place_find(NULL, &p, NULL), 0);
	CHECK(strcmp(p.host, "tcp://e:2376") == 0 && !p.tls && !p.cert);
	setenv("DOCKER_TLS_VERIFY", "1", 1);
	setenv("DOCKER_CERT_PATH", "/certs", 1);
	CHECK_EQ(place_find(NULL, &q, NULL), 0);
	CHECK(q.tls && strcmp(q.cert, "/certs") == 0);
}

static void then_the_current_context(void)
{
	_cleanup_(place_done) struct place p = {0}, q = {0}, none = {0};
	struct err err;

	reset_environment();
	put(".docker/config.json", "{\"currentContext\": \"far\"}", 0644);
	put(".docker/contexts/meta/11/meta.json",
	    "{\"Name\":\"near\",\"Endpoints\":{\"docker\":{\"Host\":\"unix:///near\"}}}", 0644);
	put(".docker/contexts/meta/22/meta.json",
	    "{\"Name\":\"far\",\"Endpoints\":{\"docker\":{\"Host\":\"tcp://far:1\","
	    "\"SkipTLSVerify\":true}}}",
	    0644);
	put(".docker/contexts/tls/22/docker/ca.pem", "", 0644);
	CHECK_EQ(place_find(NULL, &p, NULL), 0);
	CHECK(strcmp(p.host, "tcp://far:1") == 0 && p.tls && p.insecure);
	CHECK(strstr(p.cert, "/contexts/tls/22/docker"));
	setenv("DOCKER_CONTEXT", "near", 1);
	CHECK_EQ(place_find(NULL, &q, NULL), 0);
	CHECK(strcmp(q.host, "unix:///near") == 0 && !q.tls);
	setenv("DOCKER_CONTEXT", "none", 1);
	CHECK_EQ(place_find(NULL, &none, &err), -ENOENT);
	CHECK(strstr(err.text, "none"));
}

static void then_the_first_usual_socket(void)
{
	_cleanup_(place_done) struct place p = {0};

	reset_environment();
	put(".docker/config.json", "{}", 0644);
	put("docker.sock", "", 0644);
	CHECK_EQ(place_find(NULL, &p, NULL), 0);
	CHECK_EQ(strncmp(p.host, "unix://", 7), 0);
	if (access("/var/run/docker.sock", F_OK) != 0)
		CHECK(strstr(p.host, home));
}

static void a_host_that_is_none_is_refused(void)
{
	static const char *const wrong[] = {"", "unix://", "ssh://", "h:2375", "ftp://x"};
	struct engine *e;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct engine_conf conf = {.host = (char *)wrong[i]};

		CHECK_EQ(engine_open(&conf, &e, &err), -EINVAL);
		CHECK(strstr(err.text, "not an address"));
	}
}

static void an_engine_that_is_not_there_is_refused_with_advice(void)
{
	struct engine_conf conf = {.host = "unix:///nonexistent/docker.sock"};
	struct engine *e;
	struct err err;

	CHECK_EQ(engine_open(&conf, &e, &err), 0);
	CHECK(engine_is_local(e));
	CHECK_STR(engine_host(e), conf.host);
	CHECK_EQ(engine_ping(NULL, e, &err), -ECONNREFUSED);
	CHECK(strstr(err.text, "unix:///nonexistent/docker.sock") &&
	      strstr(err.text, "aib doctor"));
	engine_close(e);
}

static void expect_auth(const char *registry, const char *want)
{
	_cleanup_free_ char *header = registry_auth(registry);
	_cleanup_free_ char *text = header ? base64_decode(header) : NULL;

	if (want)
		CHECK(text && strstr(text, want));
	else
		CHECK(!header);
}

static void credentials_come_from_entries_and_helpers(void)
{
	char path[4096];

	reset_environment();
	put(".docker/config.json",
	    "{\"auths\": {\"plain.io\": {\"auth\": \"bWU6cHc6MQ==\"}, \"https://url.io\": "
	    "{\"identitytoken\": \"tok\"}, \"bad.io\": {\"auth\": \"%%\"}},"
	    "\"credHelpers\": {\"helped.io\": \"aibtest\", \"gone.io\": \"aibnone\"}}",
	    0600);
	put("bin/docker-credential-aibtest",
	    "#!/bin/sh\nread r\necho "
	    "\"{\\\"Username\\\":\\\"u\\\",\\\"Secret\\\":\\\"for-$r\\\"}\"\n",
	    0755);
	snprintf(path, sizeof(path), "%s/bin:%s", home, getenv("PATH"));
	setenv("PATH", path, 1);
	expect_auth("plain.io", "\"username\":\"me\",\"password\":\"pw:1\"");
	expect_auth("url.io", "\"identitytoken\":\"tok\"");
	expect_auth("helped.io", "\"password\":\"for-helped.io\"");
	expect_auth("bad.io", NULL);
	expect_auth("gone.io", NULL);
	expect_auth("none.io", NULL);
}

int main(void)
{
	char rm[64];

	CHECK(mkdtemp(home));
	what_the_caller_says_wins();
	the_environment_comes_next();
	then_the_current_context();
	then_the_first_usual_socket();
	a_host_that_is_none_is_refused();
	an_engine_that_is_not_there_is_refused_with_advice();
	credentials_come_from_entries_and_helpers();
	snprintf(rm, sizeof(rm), "rm -rf %s", home);
	return system(rm);
}
