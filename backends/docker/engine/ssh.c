/*
 * How ssh is called for one engine. The command there passes through a shell, here nothing does:
 * all that comes from an address is of plain characters.
 */
#include "ssh.h"

#include "address.h"

#include <stdarg.h>
#include <string.h>

#define ARGV_MAX 32
#define CONNECT_TIMEOUT_MS 10000

struct ssh {
	struct ssh_address at;
	char *argv[ARGV_MAX]; /* NULL-terminated */
	size_t argc;
	char *by_hand; /* what a person would try */
};

/* ---- The command line ---- */

static int add(struct ssh *s, const char *fmt, ...) _printf_(2, 3);

static int add(struct ssh *s, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	if (s->argc == ARGV_MAX - 1)
		return -E2BIG;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	s->argv[s->argc++] = text;
	return 0;
}

static int add_pair(struct ssh *s, const char *flag, const char *value)
{
	int r = value ? add(s, "%s", flag) : 0;

	return r == 0 && value ? add(s, "%s", value) : r;
}

/* A master that others share must not end with our child, so it is never one; the user's own is
 * used. A network that is gone is noticed within a minute. */
static int add_options(struct ssh *s, const struct engine_conf *conf)
{
	static const char *const fixed[] = {
	    "BatchMode=yes",	      "ControlMaster=no",	 "LogLevel=ERROR",
	    "ServerAliveInterval=15", "ServerAliveCountMax=3",	 "ForwardX11=no",
	    "ForwardAgent=no",	      "ClearAllForwardings=yes",
	};
	uint64_t ms = conf->connect_timeout_ms ? conf->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	int r = add(s, "ssh");

	if (r == 0)
		r = add(s, "-T");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fixed); i++)
		r = add_pair(s, "-o", fixed[i]);
	if (r == 0)
		r = add(s, "-oConnectTimeout=%llu", (unsigned long long)(ms + 999) / 1000);
	if (r == 0 && conf->ssh_identity)
		r = add(s, "-oIdentitiesOnly=yes");
	if (r == 0)
		r = add_pair(s, "-i", conf->ssh_identity);
	if (r == 0)
		r = add_pair(s, "-F", conf->ssh_config);
	if (r == 0)
		r = add_pair(s, "-l", s->at.user);
	if (r == 0)
		r = add_pair(s, "-p", s->at.port);
	if (r == 0)
		r = add_pair(s, "--", s->at.host);
	return r;
}

/* The command there goes through a shell: its parts are of plain characters. */
static int add_command(struct ssh *s, const char *program)
{
	const char *slash = strrchr(program, '/'), *base = slash ? slash + 1 : program;
	bool podman = strncmp(base, "podman", 6) == 0;

	if (s->at.socket)
		return add(s, "%s %s unix://%s system dial-stdio", program, podman ? "--url" : "-H",
			   s->at.socket);
	return add(s, "%s system dial-stdio", program);
}

static int say_by_hand(struct ssh *s, const struct engine_conf *conf, const char *program)
{
	const char *const parts[] = {
	    conf->ssh_config ? " -F " : "",   conf->ssh_config ? conf->ssh_config : "",
	    conf->ssh_identity ? " -i " : "", conf->ssh_identity ? conf->ssh_identity : "",
	    s->at.port ? " -p " : "",	      s->at.port ? s->at.port : "",
	    s->at.user ? " -l " : "",	      s->at.user ? s->at.user : "",
	};
	_cleanup_buf_ struct buf b = BUF_INIT(16 << 10);
	int r = buf_adds(&b, "ssh");

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = buf_adds(&b, parts[i]);
	if (r == 0)
		r = buf_addf(&b, " %s %s version", s->at.host, program);
	if (r < 0)
		return r;
	s->by_hand = buf_take(&b);
	return s->by_hand ? 0 : -ENOMEM;
}

int ssh_new(const char *url, const struct engine_conf *conf, struct ssh **ret, struct err *err)
{
	const char *program = conf->ssh_dial ? conf->ssh_dial : "docker";
	struct ssh *s;
	int r;

	if (!address_is_plain(program, "/._-+"))
		return err_set(err, -EINVAL,
			       "engine %s: ssh_dial \"%s\" is not the name or path of a program",
			       url, program);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	r = ssh_address_parse(url, &s->at, err);
	if (r == 0)
		r = add_options(s, conf);
	if (r == 0)
		r = add_command(s, program);
	if (r == 0)
		r = say_by_hand(s, conf, program);
	if (r < 0) {
		ssh_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void ssh_free(struct ssh *s)
{
	if (!s)
		return;
	ssh_address_done(&s->at);
	for (size_t i = 0; i < s->argc; i++)
		free(s->argv[i]);
	free(s->by_hand);
	free(s);
}

char *const *ssh_argv(const struct ssh *s)
{
	return s->argv;
}

const char *ssh_by_hand(const struct ssh *s)
{
	return s->by_hand;
}
