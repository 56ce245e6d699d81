#include "endpoint.h"

#include "errno.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_ALL);
}

static int copy(char **to, const char *s)
{
	*to = s ? strdup(s) : NULL;
	return s && !*to ? -ENOMEM : 0;
}

int http_new(const struct http_conf *conf, struct http **ret, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	_cleanup_(http_freep) struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	pthread_once(&once, init_curl);
	idle_init(&h->idle, http_reply_free);
	h->connect_timeout_ms = conf->connect_timeout_ms;
	h->timeout_ms = conf->timeout_ms;
	h->insecure = conf->insecure;
	h->ssh = conf->ssh;
	if (copy(&h->name, conf->name) < 0 || copy(&h->base, conf->base) < 0 ||
	    copy(&h->unix_path, conf->unix_path) < 0)
		return -ENOMEM;
	r = tls_files_find(conf->name, conf->cert, &h->tls, err);
	if (r < 0)
		return r;
	*ret = TAKE(h);
	return 0;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	idle_done(&h->idle);
	free(h->name);
	free(h->base);
	free(h->unix_path);
	tls_files_done(&h->tls);
	free(h);
}

const char *http_name(const struct http *h)
{
	return h->name;
}

uint64_t http_timeout_ms(const struct http *h)
{
	return h->timeout_ms;
}

int http_setup(const struct http *h, CURL *easy, struct http_line *line)
{
	CURLcode c = CURLE_OK;

#define SET(option, value)                                                                         \
	do {                                                                                       \
		if (c == CURLE_OK)                                                                 \
			c = curl_easy_setopt(easy, option, value);                                 \
	} while (0)
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_ERRORBUFFER, line->errors);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SSL_ENABLE_ALPN, 0L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_PROXY, ""); /* an engine is named by its own address only */
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs must not hold us up */
	if (h->unix_path)
		SET(CURLOPT_UNIX_SOCKET_PATH, h->unix_path);
	if (h->connect_timeout_ms)
		SET(CURLOPT_CONNECTTIMEOUT_MS, (long)h->connect_timeout_ms);
	if (h->tls.ca)
		SET(CURLOPT_CAINFO, h->tls.ca);
	if (h->tls.cert)
		SET(CURLOPT_SSLCERT, h->tls.cert);
	if (h->tls.key)
		SET(CURLOPT_SSLKEY, h->tls.key);
	if (h->insecure) {
		SET(CURLOPT_SSL_VERIFYPEER, 0L);
		SET(CURLOPT_SSL_VERIFYHOST, 0L);
	}
#undef SET
	if (c == CURLE_OK && h->ssh)
		c = ssh_dialer_setup(&line->dialer, h->ssh, easy);
	return c == CURLE_OK ? 0 : c == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

/* ---- Failures ---- */

int http_gave_up(const struct http *h, int r, struct err *err)
{
	if (r == -EINTR)
		return err_set(err, r, "engine %s: interrupted", h->name);
	return err_set(err, r, "engine %s: no answer in time", h->name);
}

int http_lost(const struct http *h, struct http_line *line, struct err *err)
{
	int r = h->ssh ? ssh_dialer_failed(&line->dialer, h->name, err) : 0;

	return r < 0 ? r : err_set(err, -EIO, "engine %s: the connection is lost", h->name);
}

int http_failed(const struct http *h, CURL *easy, int code, struct http_line *line, struct err *err)
{
	const char *said = line->errors[0] ? line->errors : curl_easy_strerror(code);
	long os = 0;
	int r = h->ssh ? ssh_dialer_failed(&line->dialer, h->name, err) : 0;

	if (r < 0)
		return r;
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os);
	if (code != CURLE_COULDNT_CONNECT)
		os = 0;
	r = engine_errno_curl(code, os);
	if (os == EACCES || os == EPERM)
		return err_set(err, r,
			       "engine %s: permission denied; run as root or as a member of the "
			       "socket's group (usually docker)",
			       h->name);
	if (os)
		return err_set(err, r, "engine %s: %s; is Docker running? (aib doctor)", h->name,
			       os == ECONNREFUSED ? "connection refused" : strerror(os));
	if (strncmp(h->base, "https", 5) == 0 && tls_explain(h, said, err))
		return r == -EIO ? -EPROTO : r;
	return err_set(err, r, "engine %s: %s", h->name, said);
}

/* ---- Paths ---- */

static int escape(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = *s;
		int r =
		    isalnum(c) || strchr("-._~/:", c) ? buf_add(b, s, 1) : buf_addf(b, "%%%02X", c);

		if (r < 0)
			return r;
	}
	return 0;
}

int http_path(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r = 0;

	va_start(ap, fmt);
	while (r == 0 && *fmt) {
		const char *arg = strstr(fmt, "%s");

		r = buf_add(b, fmt, arg ? (size_t)(arg - fmt) : strlen(fmt));
		if (!arg)
			break;
		if (r == 0)
			r = escape(b, va_arg(ap, const char *));
		fmt = arg + 2;
	}
	va_end(ap);
	return r == -E2BIG ? -ENAMETOOLONG : r;
}
