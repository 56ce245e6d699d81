/*
 * An endpoint from within: what http.c and upgrade.c need to reach it, and the words for what went
 * wrong. For these two only.
 */
#ifndef AIB_DOCKER_ENDPOINT_H
#define AIB_DOCKER_ENDPOINT_H

#include "http.h"
#include "idle.h"
#include "ssh.h"

#include <curl/curl.h>

/* Files of a directory of certificates; NULL for what is not there. */
struct tls_files {
	char *ca, *cert, *key;
};

struct http {
	char *name, *base, *unix_path;
	struct tls_files tls;
	bool insecure;
	const struct ssh *ssh;
	uint64_t connect_timeout_ms, timeout_ms;
	struct idle_pool idle;
};

/* What one libcurl handle has of its own; zero at first. It outlives the handle. */
struct http_line {
	char errors[CURL_ERROR_SIZE];
	struct ssh_dialer dialer;
};

/* Make EASY reach the endpoint. */
int http_setup(const struct http *h, CURL *easy, struct http_line *line);
/* The errno and text of a transfer that ended with CODE. */
int http_failed(const struct http *h, CURL *easy, int code, struct http_line *line,
		struct err *err);
/* The same of a connection that ended too soon. */
int http_lost(const struct http *h, struct http_line *line, struct err *err);
/* -EINTR and -ETIMEDOUT, with text. */
int http_gave_up(const struct http *h, int r, struct err *err);

/* http.c: of an idle reply. */
void http_reply_free(struct idle *x);

/* tls.c: find them in DIR (NULL: none). -errno with text where one cannot be used. */
int tls_files_find(const char *name, const char *dir, struct tls_files *ret, struct err *err);
void tls_files_done(struct tls_files *f);
/* Text of an error of TLS, which libcurl calls SAID: 1, or 0 where it is none. */
int tls_explain(const struct http *h, const char *said, struct err *err);

#endif
