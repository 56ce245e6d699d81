/*
 * Upgraded ("hijacked") connections. libcurl connects, and then only carries bytes where that is
 * by TLS; without, they are the socket's. The one request and the head of its answer are ours.
 */
#include "endpoint.h"

#include "../../base/clock.h"
#include "../../base/near.h"

#include <ctype.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_HEAD (16 << 10) /* status line and headers of the answer */
#define MAX_BODY (64 << 10) /* of an answer that is an error */
#define MAX_RETRY (16 << 10)

struct http_conn {
	struct http *http;
	CURLM *multi;
	CURL *easy;
	bool added;
	int fd;
	bool tls;
	pthread_mutex_t lock; /* a leaf: of libcurl's calls after the answer's head, where TLS is */
	bool drained;	      /* the newest recv found nothing */
	bool eof;
	struct http_line line;
	struct buf in; /* came with the answer's head */
	/* TLS wants a write that did not finish to be repeated with the same bytes at the same
	 * place, which the caller cannot be asked for. */
	char retry[MAX_RETRY];
	size_t retry_len;
};

void http_conn_close(struct http_conn *c)
{
	if (!c)
		return;
	if (c->added)
		curl_multi_remove_handle(c->multi, c->easy);
	curl_easy_cleanup(c->easy);
	curl_multi_cleanup(c->multi);
	pthread_mutex_destroy(&c->lock);
	buf_done(&c->in);
	free(c);
}

int http_conn_fd(const struct http_conn *c)
{
	return c->fd;
}

bool http_conn_pending(const struct http_conn *c)
{
	return c->in.len > 0 || c->eof || (c->tls && !c->drained);
}

static ssize_t recv_plain(struct http_conn *c, void *data, size_t size)
{
	ssize_t n;

	do
		n = recv(c->fd, data, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n >= 0 ? n : errno == EAGAIN ? -EAGAIN : -EIO;
}

static ssize_t recv_tls(struct http_conn *c, void *data, size_t size)
{
	CURLcode code;
	size_t n;

	pthread_mutex_lock(&c->lock);
	code = curl_easy_recv(c->easy, data, size, &n);
	pthread_mutex_unlock(&c->lock);
	return code == CURLE_OK ? (ssize_t)n : code == CURLE_AGAIN ? -EAGAIN : -EIO;
}

ssize_t http_conn_recv(struct http_conn *c, void *data, size_t size)
{
	ssize_t n;

	if (c->in.len > 0) {
		n = size < c->in.len ? size : c->in.len;
		memcpy(data, c->in.data, n);
		buf_consume(&c->in, n);
		return n;
	}
	if (c->eof)
		return 0;
	n = c->tls ? recv_tls(c, data, size) : recv_plain(c, data, size);
	c->drained = n == -EAGAIN;
	c->eof = n == 0;
	return n;
}

static ssize_t send_plain(struct http_conn *c, const void *data, size_t size)
{
	ssize_t n;

	do
		n = send(c->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n >= 0 ? n : errno == EAGAIN ? -EAGAIN : -EPIPE;
}

static ssize_t send_tls(struct http_conn *c, const void *data, size_t size)
{
	CURLcode code;
	size_t n;

	if (c->retry_len == 0) {
		c->retry_len = size < MAX_RETRY ? size : MAX_RETRY;
		memcpy(c->retry, data, c->retry_len);
	} else if (size < c->retry_len) {
		return -EINVAL;
	}
	pthread_mutex_lock(&c->lock);
	code = curl_easy_send(c->easy, c->retry, c->retry_len, &n);
	pthread_mutex_unlock(&c->lock);
	if (code == CURLE_AGAIN)
		return -EAGAIN;
	c->retry_len = 0;
	return code == CURLE_OK ? (ssize_t)n : -EPIPE;
}

ssize_t http_conn_send(struct http_conn *c, const void *data, size_t size)
{
	if (size == 0)
		return 0;
	return c->tls ? send_tls(c, data, size) : send_plain(c, data, size);
}

int http_conn_shutdown(struct http_conn *c)
{
	return shutdown(c->fd, SHUT_WR) < 0 && errno != ENOTCONN ? -errno : 0;
}

/* ---- Waiting ---- */

static void wake(void *multi)
{
	curl_multi_wakeup(multi);
}

int http_conn_wait(struct bk_req *req, struct http_conn *c, short events, uint64_t max_ms)
{
	struct curl_waitfd fd = {.fd = c->fd};
	uint64_t ms = bk_req_left_ms(req, max_ms);
	int r;

	/* What TLS has read already, poll(2) does not know of. */
	if (events & POLLIN && c->tls && !c->drained)
		ms = 0;
	/* Asking for nothing is a sleep: then the peer's hang-up must not end it. */
	fd.events =
	    (events & POLLIN ? CURL_WAIT_POLLIN : 0) | (events & POLLOUT ? CURL_WAIT_POLLOUT : 0);
	bk_req_on_cancel(req, wake, c->multi);
	r = bk_req_check(req);
	if (r == 0)
		curl_multi_poll(c->multi, &fd, events ? 1 : 0, ms > 60000 ? 60000 : (int)ms, NULL);
	bk_req_on_cancel(req, NULL, NULL);
	if (r == 0)
		r = bk_req_check(req);
	return r < 0 ? r : fd.revents != 0 || ms == 0;
}

/* Wait, at most the endpoint's time without progress. */
static int wait_for(struct bk_req *req, struct http_conn *c, short events, struct err *err)
{
	uint64_t end = clock_ms() + http_timeout_ms(c->http), now;

	while ((now = clock_ms()) < end) {
		int r = http_conn_wait(req, c, events, end - now);

		if (r != 0)
			return r < 0 ? http_gave_up(c->http, r, err) : 0;
	}
	return http_gave_up(c->http, -ETIMEDOUT, err);
}

/* ---- Connecting ---- */

/* 0 when the connection is there, -EAGAIN while it is not. */
static int connect_step(struct http_conn *c, struct err *err)
{
	CURLMsg *msg;
	int n;

	if (curl_multi_perform(c->multi, &n) != CURLM_OK)
		return err_set(err, -EIO, "engine %s: cannot connect", http_name(c->http));
	ssh_dialer_connect(&c->line.dialer);
	while ((msg = curl_multi_info_read(c->multi, &n))) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		if (msg->data.result == CURLE_OK)
			return 0;
		return http_failed(c->http, c->easy, msg->data.result, &c->line, err);
	}
	return -EAGAIN;
}

static int connect_wait(struct bk_req *req, struct http_conn *c, struct err *err)
{
	uint64_t end = clock_ms() + http_timeout_ms(c->http), now;
	int r;

	bk_req_on_cancel(req, wake, c->multi);
	while ((r = connect_step(c, err)) == -EAGAIN) {
		uint64_t ms;

		now = clock_ms();
		r = now >= end ? -ETIMEDOUT : bk_req_check(req);
		if (r < 0) {
			http_gave_up(c->http, r, err);
			break;
		}
		ms = bk_req_left_ms(req, end - now);
		curl_multi_poll(c->multi, NULL, 0, ms > 60000 ? 60000 : (int)ms, NULL);
	}
	bk_req_on_cancel(req, NULL, NULL);
	return r;
}

static int conn_open(struct bk_req *req, struct http *h, const char *base, struct http_conn **ret,
		     struct err *err)
{
	_cleanup_(http_conn_closep) struct http_conn *c = calloc(1, sizeof(*c));
	curl_socket_t fd;
	int r;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	c->http = h;
	c->in = BUF_INIT(MAX_HEAD + MAX_BODY);
	c->tls = strncmp(base, "https", 5) == 0;
	c->multi = curl_multi_init();
	c->easy = curl_easy_init();
	if (!c->multi || !c->easy)
		return -ENOMEM;
	r = http_setup(h, c->easy, &c->line);
	if (r < 0)
		return r;
	curl_easy_setopt(c->easy, CURLOPT_URL, base);
	curl_easy_setopt(c->easy, CURLOPT_CONNECT_ONLY, 1L);
	if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
		return -ENOMEM;
	c->added = true;
	r = connect_wait(req, c, err);
	if (r < 0)
		return r;
	if (curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD)
		return http_lost(h, &c->line, err);
	c->fd = fd;
	*ret = TAKE(c);
	return 0;
}

/* ---- The request and its answer ---- */

static int send_all(struct bk_req *req, struct http_conn *c, const char *data, size_t len,
		    struct err *err)
{
	while (len > 0) {
		ssize_t n = http_conn_send(c, data, len);

		if (n == -EAGAIN)
			n = wait_for(req, c, POLLOUT, err);
		else if (n < 0)
			return http_lost(c->http, &c->line, err);
		if (n < 0)
			return n;
		data += n;
		len -= n;
	}
	return 0;
}

/* More of the answer into c->in: 1, 0 at its end, or -errno. */
static int more(struct bk_req *req, struct http_conn *c, struct err *err)
{
	char data[4096];
	ssize_t n;
	size_t got;
	CURLcode code;
	int r;

	for (;;) {
		code = curl_easy_recv(c->easy, data, sizeof(data), &got);
		if (code != CURLE_AGAIN)
			break;
		c->drained = true;
		r = wait_for(req, c, POLLIN, err);
		if (r < 0)
			return r;
	}
	n = code == CURLE_OK ? (ssize_t)got : -EIO;
	if (n < 0)
		return http_lost(c->http, &c->line, err);
	c->drained = false;
	if (n == 0)
		return 0;
	r = buf_add(&c->in, data, n);
	return r < 0 ? err_set(err, -EIO, "engine %s: its answer is too large", http_name(c->http))
		     : 1;
}

/* A header's value within the head, which ends at END: a string that the caller frees, or NULL. */
static char *header_value(const char *head, const char *end, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = head; p && p < end; p = strstr(p, "\r\n")) {
		p += strncmp(p, "\r\n", 2) == 0 ? 2 : 0;
		if (strncasecmp(p, name, n) != 0 || p[n] != ':')
			continue;
		p += n + 1;
		p += strspn(p, " \t");
		return strndup(p, strcspn(p, "\r\n"));
	}
	return NULL;
}

/* Read the head, without what comes after it. */
static int read_head(struct bk_req *req, struct http_conn *c, int *ret_status, char **ret_type,
		     size_t *ret_length, struct err *err)
{
	_cleanup_free_ char *length = NULL;
	char *end = NULL;
	int r;

	while (!end) {
		if (c->in.len > MAX_HEAD)
			return err_set(err, -EIO, "engine %s: the answer's headers are too large",
				       http_name(c->http));
		r = more(req, c, err);
		if (r <= 0)
			return r < 0 ? r : http_lost(c->http, &c->line, err);
		end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
	}
	if (sscanf(c->in.data, "HTTP/1.%*1d %3d", ret_status) != 1)
		return err_set(err, -EIO, "engine %s: its answer is not HTTP", http_name(c->http));
	*ret_type = header_value(c->in.data, end, "Content-Type");
	length = header_value(c->in.data, end, "Content-Length");
	*ret_length = length ? strtoul(length, NULL, 10) : MAX_BODY;
	buf_consume(&c->in, end + 4 - c->in.data);
	return 0;
}

static int read_body(struct bk_req *req, struct http_conn *c, size_t length, char **ret,
		     struct err *err)
{
	int r = 1;

	if (length > MAX_BODY)
		length = MAX_BODY;
	while (r > 0 && c->in.len < length)
		r = more(req, c, err);
	if (r < 0)
		return r;
	*ret = buf_take(&c->in);
	return *ret ? 0 : -ENOMEM;
}

int http_upgrade(struct bk_req *req, struct http *h, const char *path, const char *body,
		 struct http_conn **ret, int *ret_status, char **ret_type, char **ret_body,
		 struct err *err)
{
	_cleanup_(http_conn_closep) struct http_conn *c = NULL;
	_cleanup_buf_ struct buf head = BUF_INIT(256 << 10);
	_cleanup_free_ char *type = NULL;
	size_t length = 0;
	int status = 0, r;

	near_leave(); /* as http_begin */
	r = buf_addf(&head,
		     "POST %s HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
		     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		     path, strlen(body), body);
	if (r == 0)
		r = conn_open(req, h, h->base, &c, err);
	if (r == 0)
		r = send_all(req, c, head.data, head.len, err);
	if (r == 0)
		r = read_head(req, c, &status, &type, &length, err);
	if (r < 0)
		return r;
	if (status != 101 && status != 200) {
		char *text;

		r = read_body(req, c, length, &text, err);
		if (r < 0)
			return r;
		*ret_body = text;
	} else {
		*ret = TAKE(c);
	}
	*ret_status = status;
	*ret_type = TAKE(type);
	return 0;
}
