#include "endpoint.h"

#include "../../base/clock.h"
#include "../../base/near.h"

#include <ctype.h>
#include <string.h>

/* Of an answer that nobody wants to its end, over a connection that is dear to make. */
#define DRAIN_MS 50
#define DRAIN_MAX (256 << 10)

/* A connection (a multi handle of one easy handle, which keeps it open) and its transfer. */
struct http_reply {
	struct idle idle; /* first */
	struct http *http;
	CURLM *multi;
	CURL *easy;
	struct http_line line;

	struct curl_slist *send_headers;
	http_source_fn source;
	void *source_ctx;
	uint64_t patience_ms;
	uint64_t moved_ms; /* when a byte went either way */

	int status;
	bool headers_done, done, paused;
	int failed; /* -errno of a transfer that failed */
	int abort;  /* -errno of the callback that ended it */
	size_t header_bytes;
	char *headers[HTTP_N_HEADERS];
	char body[HTTP_BODY_BUFFER];
	size_t at, len; /* unread bytes are body[at..len) */
};

static const char *const header_names[HTTP_N_HEADERS] = {
    [HTTP_API_VERSION] = "Api-Version",
    [HTTP_PATH_STAT] = "X-Docker-Container-Path-Stat",
    [HTTP_CONTENT_TYPE] = "Content-Type",
};

static void reply_reset(struct http_reply *x)
{
	curl_slist_free_all(TAKE(x->send_headers));
	for (size_t i = 0; i < HTTP_N_HEADERS; i++)
		free(TAKE(x->headers[i]));
}

static void reply_free(struct http_reply *x)
{
	if (!x)
		return;
	if (x->multi && x->easy)
		curl_multi_remove_handle(x->multi, x->easy);
	curl_easy_cleanup(x->easy);
	curl_multi_cleanup(x->multi);
	reply_reset(x);
	free(x);
}

void http_reply_free(struct idle *x)
{
	reply_free((struct http_reply *)x);
}

/* ---- What libcurl calls ---- */

static size_t on_header(char *line, size_t one, size_t n, void *ctx)
{
	struct http_reply *x = ctx;

	x->moved_ms = clock_ms();
	x->header_bytes += n;
	if (x->header_bytes > HTTP_MAX_HEADERS) {
		x->abort = -EIO;
		return 0;
	}
	if (n > 12 && strncmp(line, "HTTP/", 5) == 0) {
		const char *space = memchr(line, ' ', n);

		x->status = space ? atoi(space) : 0;
		return n;
	}
	if (n <= 2) {
		x->headers_done = x->status >= 200;
		return n;
	}
	for (size_t i = 0; i < HTTP_N_HEADERS; i++) {
		size_t k = strlen(header_names[i]);

		if (n <= k || line[k] != ':' || strncasecmp(line, header_names[i], k) != 0)
			continue;
		for (k++; k < n && isspace((unsigned char)line[k]);)
			k++;
		free(x->headers[i]);
		x->headers[i] = strndup(line + k, n - k);
		if (x->headers[i])
			x->headers[i][strcspn(x->headers[i], "\r\n")] = '\0';
	}
	return n;
}

static size_t on_body(char *data, size_t one, size_t n, void *ctx)
{
	struct http_reply *x = ctx;

	x->moved_ms = clock_ms();
	if (x->at == x->len)
		x->at = x->len = 0;
	if (n > sizeof(x->body) - x->len) {
		x->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	memcpy(x->body + x->len, data, n);
	x->len += n;
	return n;
}

static size_t on_upload(char *data, size_t one, size_t n, void *ctx)
{
	struct http_reply *x = ctx;
	ssize_t r = x->source(x->source_ctx, data, n);

	x->moved_ms = clock_ms();
	if (r >= 0)
		return r;
	x->abort = r;
	return CURL_READFUNC_ABORT;
}

static void wake(void *multi)
{
	curl_multi_wakeup(multi);
}

/* ---- Transfers ---- */

static int finish(struct http_reply *x, CURLcode code, struct err *err)
{
	x->done = true;
	if (code == CURLE_OK)
		return 0;
	if (x->abort)
		return err_set(err, x->abort, "engine %s: %s", x->http->name, strerror(-x->abort));
	return http_failed(x->http, x->easy, code, &x->line, err);
}

/* What can be done of it at once. */
static int transfer(struct http_reply *x, struct err *err)
{
	CURLMsg *msg;
	int n;

	if (curl_multi_perform(x->multi, &n) != CURLM_OK)
		return err_set(err, -EIO, "engine %s: transfer failed", x->http->name);
	ssh_dialer_connect(&x->line.dialer);
	while ((msg = curl_multi_info_read(x->multi, &n)))
		if (msg->msg == CURLMSG_DONE)
			return finish(x, msg->data.result, err);
	return 0;
}

/* One step of the transfer, then wait for what comes next. */
static int step(struct bk_req *req, struct http_reply *x, bool (*enough)(struct http_reply *),
		struct err *err)
{
	uint64_t limit = x->http->timeout_ms + x->patience_ms, still, wait;
	int r = bk_req_check(req);

	if (r < 0)
		return http_gave_up(x->http, r, err);
	r = transfer(x, err);
	if (r < 0 || x->done || enough(x))
		return r;
	still = clock_ms() - x->moved_ms;
	if (still >= limit)
		return http_gave_up(x->http, -ETIMEDOUT, err);
	wait = bk_req_left_ms(req, limit - still);
	curl_multi_poll(x->multi, NULL, 0, wait > 60000 ? 60000 : (int)wait, NULL);
	return 0;
}

static int drive(struct bk_req *req, struct http_reply *x, bool (*enough)(struct http_reply *),
		 struct err *err)
{
	int r = 0;

	x->moved_ms = clock_ms();
	bk_req_on_cancel(req, wake, x->multi);
	while (r == 0 && !x->done && !enough(x))
		r = step(req, x, enough, err);
	bk_req_on_cancel(req, NULL, NULL);
	if (r < 0)
		x->failed = r;
	return r;
}

static bool have_headers(struct http_reply *x)
{
	return x->headers_done;
}

static bool have_body(struct http_reply *x)
{
	return x->at < x->len;
}

static int reply_new(struct http *h, struct http_reply **ret)
{
	struct http_reply *x = (struct http_reply *)idle_take(&h->idle);

	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return -ENOMEM;
		x->http = h;
		x->idle.dialer = h->ssh ? &x->line.dialer : NULL;
		x->multi = curl_multi_init();
		if (x->multi)
			curl_multi_setopt(x->multi, CURLMOPT_MAXCONNECTS, 1L);
	}
	/* The connection is the multi's. A handle that was used has pointers left to the headers of
	 * its last answer (7.88), which a folded one in the next makes it follow. */
	curl_easy_cleanup(x->easy);
	x->easy = curl_easy_init();
	if (!x->multi || !x->easy) {
		reply_free(x);
		return -ENOMEM;
	}
	*ret = x;
	return 0;
}

static int add_header(struct http_reply *x, const char *line)
{
	struct curl_slist *l = curl_slist_append(x->send_headers, line);

	if (!l)
		return -ENOMEM;
	x->send_headers = l;
	return 0;
}

static int set_body(struct http_reply *x, const struct http_request *rq)
{
	char type[128];
	int r;

	if (rq->source) {
		/* A connection that dies in between cannot be retried: take one that is surely
		 * alive, but where a new one costs a handshake of ssh. Expect lets an engine
		 * refuse before megabytes are sent. */
		curl_easy_setopt(x->easy, CURLOPT_FRESH_CONNECT, x->http->ssh ? 0L : 1L);
		curl_easy_setopt(x->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(x->easy, CURLOPT_READFUNCTION, on_upload);
		curl_easy_setopt(x->easy, CURLOPT_READDATA, x);
		curl_easy_setopt(x->easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
		r = add_header(x, "Expect: 100-continue");
		if (r < 0)
			return r;
	} else if (rq->body || strcmp(rq->method, "POST") == 0) {
		curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
		curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, rq->body ? rq->body : "");
		r = add_header(x, "Expect:");
		if (r < 0)
			return r;
	} else {
		return 0;
	}
	snprintf(type, sizeof(type), "Content-Type: %s", rq->type ? rq->type : "application/json");
	return add_header(x, type);
}

static int request_set(struct http_reply *x, const struct http_request *rq)
{
	_cleanup_buf_ struct buf url = BUF_INIT(64 << 10);
	int r;

	x->line.errors[0] = '\0';
	x->source = rq->source;
	x->source_ctx = rq->source_ctx;
	x->patience_ms = rq->patience_ms;
	x->status = x->failed = x->abort = 0;
	x->headers_done = x->done = x->paused = false;
	x->header_bytes = x->at = x->len = 0;
	r = http_setup(x->http, x->easy, &x->line);
	if (r == 0)
		r = buf_addf(&url, "%s%s", x->http->base, rq->path);
	if (r == 0 && rq->header)
		r = add_header(x, rq->header);
	if (r == 0)
		r = set_body(x, rq);
	if (r < 0)
		return r == -E2BIG ? -ENAMETOOLONG : r;
	if (strcmp(rq->method, "HEAD") == 0)
		curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, rq->method);
	curl_easy_setopt(x->easy, CURLOPT_URL, url.data);
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->send_headers);
	curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
	return 0;
}

int http_begin(struct bk_req *req, struct http *h, const struct http_request *rq,
	       struct http_reply **ret, struct err *err)
{
	_cleanup_(http_endp) struct http_reply *x = NULL;
	int r = reply_new(h, &x);

	near_leave(); /* libcurl, and what it connects by, may start threads and processes */
	if (r < 0)
		return err_set(err, r, "engine %s: out of memory", h->name);
	x->failed = -EIO; /* until it is under way, the connection is not to be kept */
	r = request_set(x, rq);
	if (r == 0 && curl_multi_add_handle(x->multi, x->easy) != CURLM_OK)
		r = -ENOMEM;
	if (r < 0) {
		x->failed = r;
		return err_set(err, r, "engine %s: %s", h->name, strerror(-r));
	}
	r = drive(req, x, have_headers, err);
	if (r < 0)
		return r;
	*ret = TAKE(x);
	return 0;
}

int http_status(const struct http_reply *x)
{
	return x->status;
}

const char *http_header(const struct http_reply *x, enum http_header which)
{
	return x->headers[which];
}

/* A transfer that could not be resumed is over: libcurl (7.88) would divide by zero in it. */
static int resume(struct http_reply *x, struct err *err)
{
	if (!x->paused)
		return 0;
	x->paused = false;
	if (curl_easy_pause(x->easy, CURLPAUSE_CONT) == CURLE_OK)
		return 0;
	x->failed = -EIO;
	return err_set(err, x->failed, "engine %s: the transfer cannot go on", x->http->name);
}

ssize_t http_read(struct bk_req *req, struct http_reply *x, void *data, size_t size,
		  struct err *err)
{
	int r;

	if (x->failed)
		return err_set(err, x->failed, "engine %s: the transfer failed", x->http->name);
	if (!have_body(x)) {
		r = resume(x, err);
		if (r == 0)
			r = drive(req, x, have_body, err);
		if (r < 0)
			return r;
	}
	if (size > x->len - x->at)
		size = x->len - x->at;
	memcpy(data, x->body + x->at, size);
	x->at += size;
	return size;
}

/* Read what little there may be left, so that the connection can be kept. */
static void drain(struct http_reply *x)
{
	uint64_t end = clock_ms() + DRAIN_MS;
	size_t dropped = 0;

	while (!x->done && dropped < DRAIN_MAX && clock_ms() < end) {
		dropped += x->len - x->at;
		x->at = x->len = 0;
		if (resume(x, NULL) < 0)
			return;
		if (transfer(x, NULL) < 0) {
			x->failed = -EIO;
			return;
		}
		if (!x->done && !x->paused)
			curl_multi_poll(x->multi, NULL, 0, DRAIN_MS, NULL);
	}
}

void http_end(struct http_reply *x)
{
	if (!x)
		return;
	if (!x->failed && x->headers_done && x->http->ssh)
		drain(x);
	if (x->failed || !x->done) {
		reply_free(x);
		return;
	}
	curl_multi_remove_handle(x->multi, x->easy);
	reply_reset(x);
	idle_put(&x->http->idle, &x->idle);
}
