/*
 * The forms in which the address of an engine may be written. Parses text, opens nothing.
 */
#ifndef AIB_DOCKER_ADDRESS_H
#define AIB_DOCKER_ADDRESS_H

#include "../../base/err.h"

#include <stdbool.h>

struct address {
	enum { ADDRESS_UNIX, ADDRESS_PLAIN, ADDRESS_TLS, ADDRESS_SSH } kind;
	const char *rest; /* after the scheme, within HOST */
};

/* -EINVAL with text where HOST is no address. */
int address_parse(const char *host, struct address *ret, struct err *err);

/* Of ssh://[USER@]HOST[:PORT][/SOCKET]. What may reach a command line, here or there, is of plain
 * characters and never looks like an option. */
struct ssh_address {
	char *user; /* or NULL */
	char *host;
	char *port;   /* or NULL */
	char *socket; /* absolute path, or NULL for the usual one */
};

int ssh_address_parse(const char *url, struct ssh_address *ret, struct err *err);
void ssh_address_done(struct ssh_address *a);

/* Whether S is not empty, of letters, digits and MORE, and does not begin with "-". */
bool address_is_plain(const char *s, const char *more);

#endif
