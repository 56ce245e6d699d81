#include "errno.h"

#include "../../base/macros.h"

#include <curl/curl.h>
#include <string.h>

static const struct {
	int status, err;
} by_status[] = {
    {400, EINVAL},    {401, EACCES},	   {403, EACCES},    {404, ENOENT}, {405, EOPNOTSUPP},
    {406, EBUSY},     {407, EACCES},	   {408, ETIMEDOUT}, {409, EBUSY},  {410, ENOENT},
    {413, EFBIG},     {414, ENAMETOOLONG}, {429, EBUSY},     {431, E2BIG},  {501, EOPNOTSUPP},
    {504, ETIMEDOUT}, {507, ENOSPC},
};

/* In order: the first that is found wins. */
static const struct {
	const char *text;
	int err;
} by_text[] = {
    {"no space left on device", ENOSPC},
    {"disk quota exceeded", EDQUOT},
    {"marked read-only", EROFS},
    {"read-only file system", EROFS},
    {"file name too long", ENAMETOOLONG},
    {"too many levels of symbolic links", ELOOP},
    {"is not a directory", ENOTDIR},
    {"not a directory", ENOTDIR},
    {"cannot overwrite directory", EISDIR},
    {"cannot overwrite non-directory", ENOTDIR},
    {"is a directory", EISDIR},
    {"is already in use", EEXIST},
    {"is not running", ENOTCONN},
    {"is not paused", EALREADY},
    {"is already paused", EALREADY},
    {"container state improper", ENOTCONN},
    {"no such file or directory", ENOENT},
    {"no such image", ENOENT},
    {"no such container", ENOENT},
    {"manifest unknown", ENOENT},
    {"repository does not exist", ENOENT},
    {"unauthorized", EACCES},
    {"permission denied", EACCES},
    {"operation not permitted", EPERM},
    {"not supported", EOPNOTSUPP},
};

static const struct {
	int code, err;
} by_curl[] = {
    {CURLE_COULDNT_CONNECT, ECONNREFUSED},
    {CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH},
    {CURLE_COULDNT_RESOLVE_PROXY, EHOSTUNREACH},
    {CURLE_OPERATION_TIMEDOUT, ETIMEDOUT},
    {CURLE_OUT_OF_MEMORY, ENOMEM},
    {CURLE_SSL_CONNECT_ERROR, EPROTO},
    {CURLE_PEER_FAILED_VERIFICATION, EPROTO},
    {CURLE_SSL_CERTPROBLEM, EACCES},
    {CURLE_SSL_CACERT_BADFILE, EACCES},
    {CURLE_URL_MALFORMAT, EINVAL},
};

static int find_text(const char *message)
{
	for (size_t i = 0; message && i < ARRAY_SIZE(by_text); i++)
		if (strcasestr(message, by_text[i].text))
			return -by_text[i].err;
	return 0;
}

int engine_errno(int status, const char *message)
{
	int r = find_text(message);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(by_status); i++)
		if (by_status[i].status == status)
			r = -by_status[i].err;
	return r < 0 ? r : status >= 400 && status < 500 ? -EINVAL : -EIO;
}

int engine_errno_text(const char *message)
{
	int r = find_text(message);

	return r < 0 ? r : -EIO;
}

int engine_errno_curl(int code, long os_errno)
{
	if (code == CURLE_COULDNT_CONNECT) {
		if (os_errno == EACCES || os_errno == EPERM)
			return -EACCES;
		if (os_errno == EHOSTUNREACH || os_errno == ENETUNREACH || os_errno == ETIMEDOUT)
			return -os_errno;
	}
	for (size_t i = 0; i < ARRAY_SIZE(by_curl); i++)
		if (by_curl[i].code == code)
			return -by_curl[i].err;
	return -EIO;
}
