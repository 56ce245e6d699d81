/*
 * An endpoint from within: what http.c and upgrade.c need to reach it, and the words for what went
 * wrong. For these two only.
 */
#ifndef AIB_DOCKER_ENDPOINT_H
#define AIB_DOCKER_ENDPOINT_H

#include "http.h"

#include <curl/curl.h>

struct http {
	char *name, *base, *unix_path, *ca, *cert, *key;
	bool insecure;
	uint64_t timeout_ms;

	pthread_mutex_t lock; /* guards the rest */
	struct http_reply *idle;
	unsigned n_idle;
};

/* Make EASY reach the endpoint. ERRORS has room for CURL_ERROR_SIZE and lives as long. */
int http_setup(const struct http *h, CURL *easy, char *errors);
/* The errno and text of a transfer that ended with CODE. */
int http_failed(const struct http *h, CURL *easy, int code, const char *errors, struct err *err);
/* -EINTR and -ETIMEDOUT, with text. */
int http_gave_up(const struct http *h, int r, struct err *err);

/* http.c: end idle connections. */
void http_reply_free_all(struct http_reply *list);

#endif
