/* What an engine, HTTP and libcurl say, as errnos. */
#include "docker/engine/errno.h"
#include "test.h"

#include <curl/curl.h>
#include <errno.h>

static void a_status_gives_an_errno(void)
{
	static const struct {
		int status, err;
	} table[] = {
	    {400, EINVAL},     {401, EACCES},	 {403, EACCES},	    {404, ENOENT},
	    {405, EOPNOTSUPP}, {408, ETIMEDOUT}, {409, EBUSY},	    {418, EINVAL},
	    {429, EBUSY},      {500, EIO},	 {501, EOPNOTSUPP}, {502, EIO},
	    {503, EIO},	       {504, ETIMEDOUT}, {507, ENOSPC},	    {999, EIO},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		CHECK_EQ(engine_errno(table[i].status, NULL), -table[i].err);
		CHECK_EQ(engine_errno(table[i].status, "something else"), -table[i].err);
	}
}

/* Texts as real engines give them. */
static void a_message_that_names_a_cause_wins(void)
{
	static const struct {
		int status;
		const char *message;
		int err;
	} table[] = {
	    {403, "container rootfs is marked read-only", EROFS},
	    {500, "Error processing tar file(exit status 1): write /x: no space left on device",
	     ENOSPC},
	    {500, "write /x: disk quota exceeded", EDQUOT},
	    {400, "extraction point is not a directory", ENOTDIR},
	    {400, "cannot overwrite directory \"/tmp\" with non-directory \"/\"", EISDIR},
	    {500, "open /x/y: not a directory", ENOTDIR},
	    {409, "Container 1234 is not running", ENOTCONN},
	    {409, "can only create exec sessions on running containers: container state improper",
	     ENOTCONN},
	    {409, "Conflict. The container name \"/x\" is already in use by container 1", EEXIST},
	    {500, "Container x is not paused", EALREADY},
	    {500, "\"b3f7\" is already paused: container state improper", EALREADY},
	    {409, "Container x is already paused", EALREADY},
	    {500, "lstat /a: file name too long", ENAMETOOLONG},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		CHECK_EQ(engine_errno(table[i].status, table[i].message), -table[i].err);
	CHECK_EQ(engine_errno_text("manifest for x:y not found: manifest unknown"), -ENOENT);
	CHECK_EQ(engine_errno_text("pull access denied, repository does not exist or may require"),
		 -ENOENT);
	CHECK_EQ(engine_errno_text("unauthorized: authentication required"), -EACCES);
	CHECK_EQ(engine_errno_text("it broke"), -EIO);
}

static void a_failed_transfer_gives_an_errno(void)
{
	CHECK_EQ(engine_errno_curl(CURLE_COULDNT_CONNECT, 0), -ECONNREFUSED);
	CHECK_EQ(engine_errno_curl(CURLE_COULDNT_CONNECT, ENOENT), -ECONNREFUSED);
	CHECK_EQ(engine_errno_curl(CURLE_COULDNT_CONNECT, EACCES), -EACCES);
	CHECK_EQ(engine_errno_curl(CURLE_COULDNT_CONNECT, EHOSTUNREACH), -EHOSTUNREACH);
	CHECK_EQ(engine_errno_curl(CURLE_COULDNT_RESOLVE_HOST, 0), -EHOSTUNREACH);
	CHECK_EQ(engine_errno_curl(CURLE_PEER_FAILED_VERIFICATION, 0), -EPROTO);
	CHECK_EQ(engine_errno_curl(CURLE_PARTIAL_FILE, 0), -EIO);
	CHECK_EQ(engine_errno_curl(CURLE_RECV_ERROR, 0), -EIO);
}

int main(void)
{
	a_status_gives_an_errno();
	a_message_that_names_a_cause_wins();
	a_failed_transfer_gives_an_errno();
	return 0;
}
