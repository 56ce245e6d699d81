/* Engines by name and by address. */
#include "docker/engine.h"
#include "docker/engine/address.h"

#include "test.h"

#include <string.h>

static void addresses_of_ssh_are_divided(void)
{
	static const struct {
		const char *url, *user, *host, *port, *socket;
	} good[] = {
	    {"ssh://h", NULL, "h", NULL, NULL},
	    {"ssh://h/", NULL, "h", NULL, NULL},
	    {"ssh://me@far.example:2222/run/d.sock", "me", "far.example", "2222", "/run/d.sock"},
	    {"ssh://me@corp@far", "me@corp", "far", NULL, NULL},
	    {"ssh://[::1]:22", NULL, "::1", "22", NULL},
	    {"ssh://u@[fe80::1]/s", "u", "fe80::1", NULL, "/s"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_(ssh_address_done) struct ssh_address a = {0};
		struct err err = {""};

		CHECK_EQ(ssh_address_parse(good[i].url, &a, &err), 0);
		CHECK_STR(a.host, good[i].host);
		CHECK(!a.user == !good[i].user && (!a.user || !strcmp(a.user, good[i].user)));
		CHECK(!a.port == !good[i].port && (!a.port || !strcmp(a.port, good[i].port)));
		CHECK(!a.socket == !good[i].socket &&
		      (!a.socket || !strcmp(a.socket, good[i].socket)));
	}
}

static void what_a_shell_or_ssh_could_take_for_more_is_refused(void)
{
	static const char *const wrong[] = {
	    "ssh://-oProxyCommand=x",
	    "ssh://-l@h",
	    "ssh://u@-h",
	    "ssh://h;id",
	    "ssh://$(id)@h",
	    "ssh://`id`",
	    "ssh://h:0",
	    "ssh://h:65536",
	    "ssh://h:2 2",
	    "ssh://h:",
	    "ssh://@h",
	    "ssh://",
	    "ssh://u:secret@h",
	    "ssh://h/a b",
	    "ssh://h/s;id",
	    "ssh://h/$HOME",
	    "ssh://[::1",
	    "ssh://[::1]x",
	    "ssh://[a;b]",
	    "ssh://h\n",
	    "ssh://h\xc3\xa4",
	    "ssh://h/s?x=1",
	    "ssh://h/'x'#y",
	    "ssh://h:999999999999999",
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct ssh_address a = {0};
		struct err err = {""};

		CHECK_EQ(ssh_address_parse(wrong[i], &a, &err), -EINVAL);
		CHECK(strstr(err.text, "ssh://[user@]host"));
	}
}

static int find(const char *name, const char *json, struct engine_conf *conf, struct err *err)
{
	cJSON *engines = cJSON_Parse(json);
	int r = engine_conf_find(name, engines, conf, err);

	CHECK(engines);
	cJSON_Delete(engines);
	return r;
}

static void a_name_gives_all_that_is_said_of_it(void)
{
	_cleanup_(engine_conf_done) struct engine_conf c = {0}, by_url = {0}, none = {0};
	struct err err = {""};

	CHECK_EQ(find("b",
		      "{\"a\": {\"host\": \"unix:///x\"}, \"b\": {\"host\": \"tcp://h:1\","
		      "\"cert\": \"/c\", \"api_version\": \"1.41\", \"connect_timeout\": \"2s\"}}",
		      &c, &err),
		 0);
	CHECK_STR(c.host, "tcp://h:1");
	CHECK_STR(c.cert, "/c");
	CHECK_STR(c.api_version, "1.41");
	CHECK_EQ(c.connect_timeout_ms, 2000);
	CHECK_EQ(engine_conf_find("ssh://me@h", NULL, &by_url, &err), 0);
	CHECK_STR(by_url.host, "ssh://me@h");
	CHECK_EQ(engine_conf_find(NULL, NULL, &none, &err), 0);
	CHECK(!none.host);
}

static void what_is_wrong_is_named(void)
{
	static const struct {
		const char *name, *json, *says;
	} table[] = {
	    {"locl", "{\"local\": {\"host\": \"unix:///x\"}}", "did you mean \"local\""},
	    {"zzz", "{\"local\": {\"host\": \"unix:///x\"}}", "not in \"engines\""},
	    {"a", "{\"a\": {}}", "engine a: \"host\" is missing"},
	    {"a", "{\"a\": 1}", "engine a: must be an object"},
	    {"a", "{\"a\": {\"host\": \"x\"}}", "not an address"},
	    {"a", "{\"a\": {\"host\": \"unix:///x\", \"tls\": true}}", "\"tls\" is not for"},
	    {"a", "{\"a\": {\"host\": \"unix:///x\", \"more\": 1}}", "more"},
	    {"a", "{\"a\": {\"host\": \"unix:///x\", \"api_version\": \"new\"}}", "api_version"},
	    {"a", "{\"a\": {\"host\": \"ssh://h\", \"ssh_dial\": \"docker;id\"}}", "ssh_dial"},
	    {"a", "{\"a\": {\"host\": \"ssh://h\", \"ssh_dial\": \"-x\"}}", "ssh_dial"},
	    {"ftp://x", "{}", "not an address"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct engine_conf c = {0};
		struct err err = {""};

		CHECK_EQ(find(table[i].name, table[i].json, &c, &err), -EINVAL);
		CHECK(strstr(err.text, table[i].says));
	}
}

int main(void)
{
	addresses_of_ssh_are_divided();
	what_a_shell_or_ssh_could_take_for_more_is_refused();
	a_name_gives_all_that_is_said_of_it();
	what_is_wrong_is_named();
	return 0;
}
