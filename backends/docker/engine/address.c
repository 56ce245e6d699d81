#include "address.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int address_parse(const char *host, struct address *ret, struct err *err)
{
	static const struct {
		const char *scheme;
		int kind;
	} schemes[] = {
	    {"unix://", ADDRESS_UNIX}, {"tcp://", ADDRESS_PLAIN}, {"http://", ADDRESS_PLAIN},
	    {"https://", ADDRESS_TLS}, {"ssh://", ADDRESS_SSH},
	};

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t n = strlen(schemes[i].scheme);

		if (strncmp(host, schemes[i].scheme, n) != 0)
			continue;
		if (!host[n])
			break;
		*ret = (struct address){schemes[i].kind, host + n};
		return 0;
	}
	return err_set(err, -EINVAL,
		       "engine \"%s\": not an address of an engine (unix:///path, tcp://host:port, "
		       "https://host:port, ssh://user@host)",
		       host);
}

bool address_is_plain(const char *s, const char *more)
{
	if (!*s || *s == '-')
		return false;
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80 || (!isalnum((unsigned char)*s) && !strchr(more, *s)))
			return false;
	return true;
}

/* ---- ssh:// ---- */

void ssh_address_done(struct ssh_address *a)
{
	free(TAKE(a->user));
	free(TAKE(a->host));
	free(TAKE(a->port));
	free(TAKE(a->socket));
}

static int copy(char **to, const char *from, size_t n)
{
	*to = strndup(from, n);
	return *to ? 0 : -ENOMEM;
}

/* Divide "[USER@]HOST[:PORT][/SOCKET]", where HOST may be an IPv6 address in brackets. */
static int divide(const char *s, struct ssh_address *a)
{
	const char *end = s + strcspn(s, "/"), *at = memrchr(s, '@', end - s), *colon;
	int r = 0;

	if (*end)
		r = copy(&a->socket, end, strlen(end));
	if (r == 0 && at)
		r = copy(&a->user, s, at - s);
	if (at)
		s = at + 1;
	if (*s == '[') {
		const char *close = memchr(s, ']', end - s);

		if (!close || (close + 1 < end && close[1] != ':'))
			return -EINVAL;
		colon = close + 1 < end ? close + 1 : NULL;
		r = r < 0 ? r : copy(&a->host, s + 1, close - s - 1);
	} else {
		colon = memchr(s, ':', end - s);
		r = r < 0 ? r : copy(&a->host, s, (colon ? colon : end) - s);
	}
	if (r == 0 && colon)
		r = copy(&a->port, colon + 1, end - colon - 1);
	return r;
}

static bool is_port(const char *s)
{
	return strlen(s) <= 5 && s[strspn(s, "0123456789")] == '\0' && atoi(s) >= 1 &&
	       atoi(s) <= 65535;
}

/* What is wrong with A, or NULL. */
static const char *fault(const struct ssh_address *a, bool brackets)
{
	if (!address_is_plain(a->host, brackets ? ".:" : ".-_"))
		return "its host is not a name or address";
	if (a->user && strchr(a->user, ':'))
		return "a password is not taken, use a key";
	if (a->user && !address_is_plain(a->user, "._-+@"))
		return "its user is not a plain name";
	if (a->port && !is_port(a->port))
		return "its port is not a number from 1 to 65535";
	if (a->socket && (!address_is_plain(a->socket, "/._-+@") || strlen(a->socket) >= PATH_MAX))
		return "its socket is not a plain path";
	return NULL;
}

int ssh_address_parse(const char *url, struct ssh_address *ret, struct err *err)
{
	const char *rest = url + strlen("ssh://"), *what;
	struct ssh_address a = {0};
	int r = divide(rest, &a);

	if (r == -ENOMEM) {
		ssh_address_done(&a);
		return r;
	}
	if (a.socket && strcmp(a.socket, "/") == 0)
		free(TAKE(a.socket));
	what = r < 0 ? "its host is not a name or address" : fault(&a, strchr(rest, '[') != NULL);
	if (what) {
		ssh_address_done(&a);
		return err_set(err, -EINVAL,
			       "engine \"%s\": %s (ssh://[user@]host[:port][/socket])", url, what);
	}
	*ret = a;
	return 0;
}
