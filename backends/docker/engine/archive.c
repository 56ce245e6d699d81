/*
 * The archive API: the state of one path (HEAD), a tree as a stream of entries (GET), and entries
 * put into a directory (PUT). libarchive reads and writes plain tar, never a compressed one: what
 * decompresses is code that a hostile container chose to run.
 */
#include "client.h"

#include "base64.h"
#include "gofile.h"

#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <string.h>

#define READ_BLOCK (64 << 10)
#define TAR_TRAILER 1024 /* zeros that end an archive */
#define MAX_PADDING (1 << 20)

/* ---- Stat ---- */

static int parse_stat(const char *header, struct engine_stat *ret)
{
	_cleanup_free_ char *text = header ? base64_decode(header) : NULL;
	cJSON *json = text ? cJSON_Parse(text) : NULL;
	const char *mtime = json_string(json, "mtime"), *link = json_string(json, "linkTarget");
	double mode = json_number(json, "mode", -1), size = json_number(json, "size", -1);
	struct engine_stat st = {0};
	int r = -EIO;

	if (mtime && mode >= 0 && mode <= UINT32_MAX && go_mode(mode, &st.mode) == 0 &&
	    go_time(mtime, &st.mtime) == 0) {
		st.size = size >= 0 && size < 0x1p63 ? (uint64_t)size : 0;
		if (S_ISLNK(st.mode) && link) {
			st.link = strndup(link, PATH_MAX);
			r = st.link ? 0 : -ENOMEM;
		} else {
			r = 0;
		}
	}
	cJSON_Delete(json);
	if (r == 0)
		*ret = st;
	return r;
}

static int archive_path(struct engine *e, struct buf *b, const char *fmt, const char *id,
			const char *path, struct err *err)
{
	int r = http_path(b, fmt, id, path);

	return r < 0 ? err_set(err, r, "engine %s: %s", engine_host(e), strerror(-r)) : 0;
}

int engine_archive_stat(struct bk_req *req, struct engine *e, const char *id, const char *path,
			struct engine_stat *ret, struct err *err)
{
	_cleanup_buf_ struct buf url = BUF_INIT(ENGINE_MAX_URL);
	_cleanup_(http_endp) struct http_reply *x = NULL;
	struct http_request rq = {.method = "HEAD"};
	int r = archive_path(e, &url, "/containers/%s/archive?path=%s", id, path, err);

	rq.path = url.data;
	if (r == 0)
		r = engine_begin(req, e, &rq, &x, err);
	if (r < 0)
		return r;
	r = parse_stat(http_header(x, HTTP_PATH_STAT), ret);
	return r == -EIO ? engine_garbled(e, err, "the state of a file") : r;
}

/* ---- Get ---- */

struct engine_tar {
	struct http_reply *reply;
	struct archive *a;
	struct bk_req *req; /* during a call */
	int failed;	    /* -errno of the transfer */
	size_t zeros;	    /* at the end of what was read, as far as they matter */
	uint64_t left;	    /* of the current entry's data */
	char block[READ_BLOCK];
};

static void count_zeros(struct engine_tar *t, size_t n)
{
	size_t z = 0;

	while (z < n && z < TAR_TRAILER && t->block[n - 1 - z] == '\0')
		z++;
	t->zeros = z == n ? t->zeros + z : z;
}

static la_ssize_t on_read(struct archive *a, void *ctx, const void **ret)
{
	struct engine_tar *t = ctx;
	ssize_t n = http_read(t->req, t->reply, t->block, sizeof(t->block), NULL);

	if (n < 0) {
		t->failed = n;
		archive_set_error(a, -n, "transfer failed");
		return -1;
	}
	count_zeros(t, n);
	*ret = t->block;
	return n;
}

int engine_archive_get(struct bk_req *req, struct engine *e, const char *id, const char *path,
		       struct engine_tar **ret, struct err *err)
{
	_cleanup_(engine_tar_closep) struct engine_tar *t = calloc(1, sizeof(*t));
	_cleanup_buf_ struct buf url = BUF_INIT(ENGINE_MAX_URL);
	struct http_request rq = {.method = "GET"};
	int r;

	if (!t)
		return -ENOMEM;
	r = archive_path(e, &url, "/containers/%s/archive?path=%s", id, path, err);
	rq.path = url.data;
	if (r == 0)
		r = engine_begin(req, e, &rq, &t->reply, err);
	if (r < 0)
		return r;
	t->a = archive_read_new();
	if (!t->a || archive_read_support_format_tar(t->a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(t->a) != ARCHIVE_OK)
		return -ENOMEM;
	t->req = req;
	if (archive_read_open(t->a, t, NULL, on_read, NULL) != ARCHIVE_OK)
		return t->failed ? err_set(err, t->failed, "engine %s: the transfer failed",
					   engine_host(e))
				 : engine_garbled(e, err, "a tar archive");
	*ret = TAKE(t);
	return 0;
}

void engine_tar_close(struct engine_tar *t)
{
	if (!t)
		return;
	archive_read_free(t->a);
	http_end(t->reply);
	free(t);
}

/* After the last entry: the stream has to end properly, and with the zeros that end a tar, since an
 * engine that fails on the way may simply stop. */
static int at_end(struct engine_tar *t)
{
	size_t padding = 0;
	const void *data;
	la_ssize_t n;

	while ((n = on_read(t->a, t, &data)) > 0) {
		padding += n;
		if (padding > MAX_PADDING)
			return -EIO;
	}
	if (n < 0)
		return t->failed;
	return t->zeros >= TAR_TRAILER ? 0 : -EIO;
}

static int check_entry(struct archive_entry *entry, struct engine_tar_entry *ret)
{
	const struct stat *st = archive_entry_stat(entry);

	ret->path = archive_entry_pathname(entry);
	ret->link = archive_entry_symlink(entry);
	ret->hardlink = archive_entry_hardlink(entry);
	if (!ret->path || !ret->path[0] || st->st_size < 0)
		return -EIO;
	ret->st = *st;
	if (ret->hardlink) { /* has no data or type of its own */
		ret->st.st_mode = (ret->st.st_mode & 07777) | S_IFREG;
		ret->st.st_size = 0;
	}
	if (!S_ISREG(ret->st.st_mode))
		ret->st.st_size = 0;
	return S_ISLNK(ret->st.st_mode) && !ret->link ? -EIO : 0;
}

int engine_tar_next(struct bk_req *req, struct engine_tar *t, struct engine_tar_entry *ret)
{
	struct archive_entry *entry;
	struct engine_tar_entry e;
	int r;

	if (t->failed)
		return t->failed;
	t->req = req;
	r = archive_read_next_header(t->a, &entry);
	if (r == ARCHIVE_EOF)
		r = at_end(t);
	else if (r == ARCHIVE_OK || r == ARCHIVE_WARN)
		r = check_entry(entry, &e) == 0 ? 1 : -EIO;
	else
		r = t->failed ? t->failed : -EIO;
	t->req = NULL;
	if (r < 0)
		t->failed = r;
	if (r == 1) {
		t->left = e.st.st_size;
		*ret = e;
	}
	return r;
}

ssize_t engine_tar_read(struct bk_req *req, struct engine_tar *t, void *data, size_t size)
{
	la_ssize_t n;

	if (t->failed)
		return t->failed;
	if (size > t->left)
		size = t->left;
	if (size == 0)
		return 0;
	t->req = req;
	n = archive_read_data(t->a, data, size);
	t->req = NULL;
	if (n <= 0) {
		if (!t->failed)
			t->failed = -EIO;
		return t->failed;
	}
	t->left -= n;
	return n;
}
