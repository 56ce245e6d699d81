/*
 * HTTP/1.1 to one endpoint over libcurl: a Unix socket, TCP, TLS with client certificates, or ssh.
 * A request is begun, its body is pulled by http_read with bounded buffering, and its connection
 * goes back to a pool when it was read to its end. Every wait ends with the request's deadline or
 * cancellation, and after the endpoint's time without progress.
 * It knows neither JSON nor the Engine. Any thread may call it; one reply belongs to one thread at
 * a time.
 */
#ifndef AIB_DOCKER_HTTP_H
#define AIB_DOCKER_HTTP_H

#include "../../backend.h"

#define HTTP_MAX_HEADERS (128 << 10) /* all header lines of an answer, bytes */
#define HTTP_BODY_BUFFER (64 << 10)  /* body read ahead, bytes */

struct http; /* an endpoint and its idle connections */

struct http_conf {
	const char *name;      /* for messages */
	const char *base;      /* "http://host:port", without a slash at the end */
	const char *unix_path; /* or NULL */
	const char *cert;      /* with https: a directory with ca.pem, cert.pem, key.pem, or NULL */
	bool insecure;	       /* with https: do not verify the server */
	const struct ssh *ssh; /* or NULL; outlives the endpoint */
	uint64_t connect_timeout_ms; /* 0: timeout_ms */
	uint64_t timeout_ms;	     /* without progress */
};

/* -errno with text where a file of `cert` cannot be used; -ENOMEM. */
int http_new(const struct http_conf *conf, struct http **ret, struct err *err);
void http_free(struct http *h); /* no reply may be open; takes NULL */
DEFINE_CLEANUP(struct http *, http_free)
const char *http_name(const struct http *h);
uint64_t http_timeout_ms(const struct http *h);

/* The next bytes of an upload: a count, 0 at the end, or -errno, which aborts the request. */
typedef ssize_t (*http_source_fn)(void *ctx, void *data, size_t size);

struct http_request {
	const char *method;
	const char *path; /* with its query, escaped */
	const char *body; /* or NULL */
	size_t body_len;
	const char *type;      /* content type of what is sent; NULL: application/json */
	const char *header;    /* one header line more, or NULL */
	http_source_fn source; /* a body of unknown length, sent in chunks; NULL: body */
	void *source_ctx;
	uint64_t patience_ms; /* in addition to the endpoint's time without progress */
};

/* Headers that are kept of an answer. */
enum http_header { HTTP_API_VERSION, HTTP_PATH_STAT, HTTP_CONTENT_TYPE, HTTP_N_HEADERS };

struct http_reply;

/* Send, and wait for the answer's headers. Errors have text. */
int http_begin(struct bk_req *req, struct http *h, const struct http_request *rq,
	       struct http_reply **ret, struct err *err);
int http_status(const struct http_reply *x);
/* Value, or NULL where the answer has none. Valid until http_end. */
const char *http_header(const struct http_reply *x, enum http_header which);
/* Bytes of the body in order, 0 at its proper end, or -errno (-EIO for a short one). */
ssize_t http_read(struct bk_req *req, struct http_reply *x, void *data, size_t size,
		  struct err *err);
void http_end(struct http_reply *x); /* aborts what was not read; takes NULL */
DEFINE_CLEANUP(struct http_reply *, http_end)

/* Add FMT to a path; each %s of it is a string that gets percent-encoded, but for slashes. */
int http_path(struct buf *b, const char *fmt, ...);

/* ---- Upgraded connections (upgrade.c) ---- */

/* A connection that an endpoint gave up to us. Not thread-safe, but that one thread may receive
 * while another sends; nothing blocks but what takes a request. */
struct http_conn;

/* POST BODY (JSON) with "Upgrade: tcp". On success the stream's bytes begin with the next recv;
 * *ret_status is 101 or 200. Any other status is a success too, without a connection: *ret_body
 * has the answer, at most 64 KiB, the caller's. */
int http_upgrade(struct bk_req *req, struct http *h, const char *path, const char *body,
		 struct http_conn **ret, int *ret_status, char **ret_type, char **ret_body,
		 struct err *err);
void http_conn_close(struct http_conn *c); /* takes NULL */
DEFINE_CLEANUP(struct http_conn *, http_conn_close)
int http_conn_fd(const struct http_conn *c);
/* Whether a recv may give bytes that poll(2) does not know of. */
bool http_conn_pending(const struct http_conn *c);
/* Bytes, 0 at the end, -EAGAIN or -errno. */
ssize_t http_conn_recv(struct http_conn *c, void *data, size_t size);
/* Bytes taken, -EAGAIN or -errno. After -EAGAIN the next call must begin with the same bytes. */
ssize_t http_conn_send(struct http_conn *c, const void *data, size_t size);
/* Half-close: nothing more will be sent. */
int http_conn_shutdown(struct http_conn *c);
/* Wait for EVENTS of poll(2) at most MAX_MS: 1 if some came, 0 if not, -EINTR or -ETIMEDOUT by REQ.
 */
int http_conn_wait(struct bk_req *req, struct http_conn *c, short events, uint64_t max_ms);

#endif
