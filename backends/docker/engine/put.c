/*
 * PUT of entries into a directory of a container. The tar is made by libarchive while it is sent,
 * one step at a time: nothing of a file is in memory but one block.
 */
#include "client.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define BLOCK (64 << 10)
#define MAX_STEP (1 << 20) /* what one step may make: a header with long names, or a block */

struct put {
	struct bk_req *req;
	uint64_t timeout_ms;
	const struct engine_put_entry *entries;
	size_t n, at;	   /* the next entry, or the one whose data is sent */
	bool in_data, end; /* of entries[at]; the archive is closed */
	bool over;	   /* nobody takes any more */
	uint64_t sent;	   /* bytes of entries[at] */
	struct archive *a;
	struct buf out; /* made and not yet sent: from `taken` on */
	size_t taken;
	char block[BLOCK];
};

static la_ssize_t on_write(struct archive *a, void *ctx, const void *data, size_t n)
{
	struct put *p = ctx;
	int r = p->over ? -EPIPE : buf_add(&p->out, data, n);

	if (r == 0)
		return n;
	archive_set_error(a, -r, "cannot be kept");
	return -1;
}

static int put_header(struct put *p, const struct engine_put_entry *in)
{
	struct archive_entry *entry = archive_entry_new();
	int r;

	if (!entry)
		return -ENOMEM;
	archive_entry_set_pathname(entry, in->path);
	archive_entry_set_mode(entry, in->st.st_mode);
	archive_entry_set_uid(entry, in->st.st_uid);
	archive_entry_set_gid(entry, in->st.st_gid);
	archive_entry_set_mtime(entry, in->st.st_mtim.tv_sec, in->st.st_mtim.tv_nsec);
	archive_entry_set_size(entry, S_ISREG(in->st.st_mode) ? in->st.st_size : 0);
	if (S_ISLNK(in->st.st_mode))
		archive_entry_set_symlink(entry, in->link);
	if (S_ISBLK(in->st.st_mode) || S_ISCHR(in->st.st_mode))
		archive_entry_set_rdev(entry, in->st.st_rdev);
	r = archive_write_header(p->a, entry) >= ARCHIVE_WARN ? 0 : -EIO;
	archive_entry_free(entry);
	p->in_data = true;
	p->sent = 0;
	return r;
}

static int put_data(struct put *p, const struct engine_put_entry *in)
{
	uint64_t left = in->st.st_size - p->sent;
	ssize_t n = pread(in->fd, p->block, left < BLOCK ? left : BLOCK, p->sent);

	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	if (archive_write_data(p->a, p->block, n) != n)
		return -EIO;
	p->sent += n;
	return 0;
}

/* Make some more of the archive. */
static int make_more(struct put *p)
{
	const struct engine_put_entry *in = &p->entries[p->at];

	if (p->at == p->n) {
		p->end = true;
		return archive_write_close(p->a) == ARCHIVE_OK ? 0 : -EIO;
	}
	if (!p->in_data)
		return put_header(p, in);
	if (S_ISREG(in->st.st_mode) && p->sent < (uint64_t)in->st.st_size)
		return put_data(p, in);
	p->in_data = false;
	p->at++;
	return archive_write_finish_entry(p->a) >= ARCHIVE_WARN ? 0 : -EIO;
}

static ssize_t source(void *ctx, void *data, size_t size)
{
	struct put *p = ctx;

	/* The engine takes bytes: that is progress. Never makes a deadline nearer. */
	if (bk_req_left_ms(p->req, p->timeout_ms) < p->timeout_ms)
		bk_req_extend(p->req, p->timeout_ms);
	if (p->taken == p->out.len) {
		p->out.len = p->taken = 0;
		while (p->out.len == 0 && !p->end) {
			int r = make_more(p);

			if (r < 0)
				return r;
		}
	}
	if (size > p->out.len - p->taken)
		size = p->out.len - p->taken;
	if (size > 0)
		memcpy(data, p->out.data + p->taken, size);
	p->taken += size;
	return size;
}

/* What would fail on the way is refused before: an upload that is broken off can leave the
 * container's file half written. */
static int check(const struct engine_put_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct engine_put_entry *in = &entries[i];
		struct stat st;

		if (!in->path[0] || in->path[0] == '/' || (S_ISLNK(in->st.st_mode) && !in->link))
			return -EINVAL;
		if (!S_ISREG(in->st.st_mode) || in->st.st_size == 0)
			continue;
		if (fstat(in->fd, &st) < 0)
			return -errno;
		if (st.st_size < in->st.st_size)
			return -EIO;
	}
	return 0;
}

static int open_archive(struct put *p)
{
	p->a = archive_write_new();
	if (!p->a)
		return -ENOMEM;
	/* Names are bytes, and each is sent as it is made. */
	if (archive_write_set_format_pax(p->a) != ARCHIVE_OK ||
	    archive_write_set_options(p->a, "hdrcharset=BINARY") != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(p->a, 0) != ARCHIVE_OK ||
	    archive_write_open(p->a, p, NULL, on_write, NULL) != ARCHIVE_OK)
		return -ENOMEM;
	return 0;
}

/* Success says nothing; an answer with content is to something else. */
static int send_archive(struct bk_req *req, struct engine *e, const struct http_request *rq,
			struct err *err)
{
	_cleanup_(http_endp) struct http_reply *x = NULL;
	_cleanup_buf_ struct buf body = BUF_INIT(MAX_STEP);
	int r = engine_begin(req, e, rq, &x, err);

	if (r == 0)
		r = engine_body(req, e, x, &body, err);
	if (r == 0 && body.len > 0)
		r = engine_garbled(e, err, "that of an archive that was put");
	return r;
}

int engine_archive_put(struct bk_req *req, struct engine *e, const char *id, const char *dir,
		       const struct engine_put_entry *entries, size_t n, struct err *err)
{
	_cleanup_buf_ struct buf url = BUF_INIT(ENGINE_MAX_URL);
	struct put p = {
	    .req = req,
	    .timeout_ms = http_timeout_ms(e->http),
	    .entries = entries,
	    .n = n,
	    .out = BUF_INIT(MAX_STEP),
	};
	struct http_request rq = {
	    .method = "PUT",
	    .type = "application/x-tar",
	    .source = source,
	    .source_ctx = &p,
	};
	int r = check(entries, n);

	if (r == 0)
		r = http_path(&url, "/containers/%s/archive?noOverwriteDirNonDir=1&path=%s", id,
			      dir);
	if (r == 0)
		r = open_archive(&p);
	rq.path = url.data;
	if (r == 0)
		r = send_archive(req, e, &rq, err);
	else
		err_set(err, r, "engine %s: %s", engine_host(e), strerror(-r));
	p.over = true;
	if (p.a) {
		archive_write_close(p.a); /* free alone leaks after an error */
		archive_write_free(p.a);
	}
	buf_done(&p.out);
	return r;
}
