/*
 * Certificates: the files of a directory as the docker client has them, and what went wrong with
 * them in words that name the one.
 */
#include "endpoint.h"

#include <limits.h>
#include <string.h>

/* ---- Files ---- */

/* DIR/NAME where it can be read; nothing where it is not there. */
static int find(char **to, const char *name, const char *dir, const char *file, struct err *err)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "engine %s: %s: %s", name, dir,
			       strerror(ENAMETOOLONG));
	if (access(path, R_OK) == 0) {
		*to = strdup(path);
		return *to ? 0 : -ENOMEM;
	}
	return errno == ENOENT
		   ? 0
		   : err_set(err, -errno, "engine %s: %s: %s", name, path, strerror(errno));
}

int tls_files_find(const char *name, const char *dir, struct tls_files *ret, struct err *err)
{
	int r;

	if (!dir)
		return 0;
	r = find(&ret->ca, name, dir, "ca.pem", err);
	if (r == 0)
		r = find(&ret->cert, name, dir, "cert.pem", err);
	if (r == 0)
		r = find(&ret->key, name, dir, "key.pem", err);
	if (r < 0)
		return r;
	if (!ret->ca && !ret->cert && !ret->key)
		return err_set(err, -ENOENT,
			       "engine %s: %s has no ca.pem, cert.pem or key.pem (certificates)",
			       name, dir);
	if (!ret->cert != !ret->key)
		return err_set(err, -ENOENT, "engine %s: %s has %s.pem but no %s.pem", name, dir,
			       ret->cert ? "cert" : "key", ret->cert ? "key" : "cert");
	return 0;
}

void tls_files_done(struct tls_files *f)
{
	free(TAKE(f->ca));
	free(TAKE(f->cert));
	free(TAKE(f->key));
}

/* ---- Errors ---- */

/* The file that a text is about. */
enum which { OTHER, CA, CERT };

/* In order: the first that is found wins. */
static const struct {
	const char *said;
	enum which file;
	const char *text;
} faults[] = {
    {"alert certificate required", OTHER,
     "it wants a certificate of this client: cert.pem and key.pem in \"cert\" or DOCKER_CERT_PATH"},
    {"alert unknown ca", CERT, "it does not know the CA of this client's certificate"},
    {"alert certificate expired", CERT, "this client's certificate has expired"},
    {"alert certificate revoked", CERT, "this client's certificate is revoked"},
    {"alert bad certificate", CERT, "it refuses this client's certificate, or wants one"},
    {"alert unsupported certificate", CERT, "this client's certificate is not for clients"},
    {"alert handshake failure", CERT, "it refuses this client, which may lack a certificate"},
    {"certificate has expired", OTHER, "its certificate has expired"},
    {"certificate is not yet valid", OTHER,
     "its certificate is not valid yet (is the clock right?)"},
    {"local issuer certificate", CA, "its certificate is of a CA that is not trusted here"},
    {"self-signed", CA, "its certificate is of a CA that is not trusted here"},
    {"self signed", CA, "its certificate is of a CA that is not trusted here"},
    {"subject name", OTHER, "its certificate is for another host name"},
    {"private key", CERT,
     "the key does not belong to this client's certificate, or cannot be read"},
    {"client certificate", CERT, "this client's certificate cannot be read"},
    {"error setting certificate", CA, "the CA's certificate cannot be read"},
    {"wrong version number", OTHER, "it does not speak TLS"},
};

int tls_explain(const struct http *h, const char *said, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		const char *file = faults[i].file == CA	    ? h->tls.ca
				   : faults[i].file == CERT ? h->tls.cert
							    : NULL;

		if (!strcasestr(said, faults[i].said))
			continue;
		err_set(err, -EPROTO, "engine %s: %s%s%s%s: %s", h->name, faults[i].text,
			file ? " (" : "", file ? file : "", file ? ")" : "", said);
		return 1;
	}
	return 0;
}
