/*
 * Engines by name: "engines" of the configuration, an object of names and what is said of each.
 */
#include "client.h"

#include "../../base/suggest.h"
#include "address.h"
#include "ssh.h"

#include <string.h>

#define AT(field) offsetof(struct engine_conf, field)

const struct option engine_options[] = {
    {"host", OPTION_STRING, AT(host), NULL,
     "unix:///path, tcp://host:port, https://host:port or ssh://[user@]host[:port][/socket]"},
    {"tls", OPTION_BOOL, AT(tls), NULL, "tcp: TLS, with the server verified (on with cert)"},
    {"cert", OPTION_STRING, AT(cert), NULL,
     "tcp: directory with ca.pem, and cert.pem and key.pem of this client"},
    {"api_version", OPTION_STRING, AT(api_version), NULL, "newest version of the API to use"},
    {"connect_timeout", OPTION_DURATION, AT(connect_timeout_ms), NULL,
     "how long a connection may take (10s)"},
    {"ssh_config", OPTION_STRING, AT(ssh_config), NULL, "ssh: configuration file (ssh -F)"},
    {"ssh_identity", OPTION_STRING, AT(ssh_identity), NULL, "ssh: file of the key (ssh -i)"},
    {"ssh_dial", OPTION_STRING, AT(ssh_dial), NULL,
     "ssh: program there whose `system dial-stdio` connects (docker)"},
    {NULL},
};

void engine_conf_done(struct engine_conf *c)
{
	options_free(engine_options, c);
}

/* Keys that another kind of address would need say that something else was meant. */
static int check_kind(const struct engine_conf *c, const struct address *a, struct err *err)
{
	const struct {
		const char *key;
		bool set, fits;
	} table[] = {
	    {"tls", c->tls, a->kind == ADDRESS_PLAIN || a->kind == ADDRESS_TLS},
	    {"cert", c->cert, a->kind == ADDRESS_PLAIN || a->kind == ADDRESS_TLS},
	    {"ssh_config", c->ssh_config, a->kind == ADDRESS_SSH},
	    {"ssh_identity", c->ssh_identity, a->kind == ADDRESS_SSH},
	    {"ssh_dial", c->ssh_dial, a->kind == ADDRESS_SSH},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].set && !table[i].fits)
			return err_set(err, -EINVAL, "\"%s\" is not for %s", table[i].key, c->host);
	return 0;
}

static int check(const struct engine_conf *c, struct err *err)
{
	unsigned major, minor;
	struct address a;
	char end;
	int r;

	if (!c->host)
		return err_set(err, -EINVAL, "\"host\" is missing");
	if (c->api_version && (sscanf(c->api_version, "%2u.%3u%c", &major, &minor, &end) != 2))
		return err_set(err, -EINVAL, "\"api_version\": \"%s\" is not one such as 1.41",
			       c->api_version);
	r = address_parse(c->host, &a, err);
	if (r == 0)
		r = check_kind(c, &a, err);
	if (r == 0 && a.kind == ADDRESS_SSH) {
		struct ssh *s;

		r = ssh_new(c->host, c, &s, err);
		if (r == 0)
			ssh_free(s);
	}
	return r;
}

int engine_conf_parse(const cJSON *obj, struct engine_conf *ret, struct err *err)
{
	struct engine_conf c = {0};
	int r = 0;

	if (!cJSON_IsObject(obj))
		return err_set(err, -EINVAL, "must be an object");
	r = options_parse(engine_options, obj, &c, err);
	if (r == 0)
		r = check(&c, err);
	if (r < 0) {
		engine_conf_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

static int by_url(const char *url, struct engine_conf *ret, struct err *err)
{
	struct engine_conf c = {.host = strdup(url)};
	int r = c.host ? check(&c, err) : -ENOMEM;

	if (r < 0) {
		engine_conf_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

int engine_conf_find(const char *name, const cJSON *engines, struct engine_conf *ret,
		     struct err *err)
{
	struct suggest s = {.word = name};
	const cJSON *v;
	int r;

	if (!name) {
		*ret = (struct engine_conf){0};
		return 0;
	}
	if (strstr(name, "://"))
		return by_url(name, ret, err);
	v = cJSON_GetObjectItemCaseSensitive(engines, name);
	if (v) {
		r = engine_conf_parse(v, ret, err);
		return r < 0 ? err_prefix(err, r, "engine %s", name) : 0;
	}
	cJSON_ArrayForEach (v, engines)
		suggest_offer(&s, v->string);
	if (s.best)
		return err_set(err, -EINVAL,
			       "engine \"%s\" is not in \"engines\" of the config (did you mean "
			       "\"%s\"?)",
			       name, s.best);
	return err_set(err, -EINVAL, "engine \"%s\" is not in \"engines\" of the config", name);
}

int engine_open_named(const char *name, const cJSON *engines, uint64_t timeout_ms,
		      struct engine **ret, struct err *err)
{
	_cleanup_(engine_conf_done) struct engine_conf conf = {0};
	int r = engine_conf_find(name, engines, &conf, err);

	conf.timeout_ms = timeout_ms;
	return r < 0 ? r : engine_open(&conf, ret, err);
}
