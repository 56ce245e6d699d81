/*
 * POST /build of one Dockerfile, by the classic builder, which every engine has behind its API. The
 * output comes in pieces that know no lines; it is made of whatever the build's commands print.
 */
#include "messages.h"

#include "../../base/printable.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <strings.h>

#define MAX_CONTEXT (1 << 20)
#define MAX_OUTPUT_LINE 512 /* the rest of a longer one is dropped */
#define MAX_ERROR_TEXT 240  /* the engine's own text: it repeats the whole command */
#define KEPT 12		    /* last lines for the error, */
#define MAX_KEPT 560	    /* and bytes of them: the error has room for the rest */

/* ---- The context: a tar with the Dockerfile in it ---- */

static la_ssize_t on_write(struct archive *a, void *ctx, const void *data, size_t n)
{
	return buf_add(ctx, data, n) == 0 ? (la_ssize_t)n : -1;
}

static int add_dockerfile(struct archive *a, const char *text)
{
	struct archive_entry *entry = archive_entry_new();
	size_t len = strlen(text);
	bool ok;

	if (!entry)
		return -ENOMEM;
	archive_entry_set_pathname(entry, "Dockerfile");
	archive_entry_set_mode(entry, S_IFREG | 0644);
	archive_entry_set_size(entry, len);
	ok = archive_write_header(a, entry) == ARCHIVE_OK &&
	     archive_write_data(a, text, len) == (la_ssize_t)len;
	archive_entry_free(entry);
	return ok ? 0 : -E2BIG;
}

static int make_context(const char *dockerfile, struct buf *out)
{
	struct archive *a = archive_write_new();
	int r = -ENOMEM;

	if (a && archive_write_set_format_ustar(a) == ARCHIVE_OK &&
	    archive_write_open(a, out, NULL, on_write, NULL) == ARCHIVE_OK)
		r = add_dockerfile(a, dockerfile);
	if (a && archive_write_close(a) != ARCHIVE_OK && r == 0)
		r = -E2BIG;
	archive_write_free(a);
	return r;
}

/* ---- The output ---- */

struct build {
	struct bk_req *req;
	struct engine *e;
	uint64_t timeout_ms;
	void (*progress)(void *ctx, const char *text);
	void *ctx;
	char line[MAX_OUTPUT_LINE]; /* what has come of the one that is not over */
	size_t len;
	bool returned; /* what comes next is written over it */
	enum { TEXT, ESCAPE, SEQUENCE } terminal;
	char *kept[KEPT]; /* the newest lines: a ring, from kept[lines % KEPT] on */
	unsigned lines;
};

/* "Step 4/8 : ENV NAME=VALUE", of Docker and of Podman: values are where secrets are. */
static void mask_env(char *line)
{
	char *env = strncasecmp(line, "step ", 5) == 0 ? strstr(line, ": ENV ") : NULL;
	char *value = env ? strchr(env, '=') : NULL;

	if (value)
		value[1] = '\0';
}

static void show_line(struct build *b)
{
	while (b->len > 0 && b->line[b->len - 1] == ' ')
		b->len--;
	b->line[b->len] = '\0';
	mask_env(b->line);
	if (b->len > 0 && b->progress)
		b->progress(b->ctx, b->line);
}

static void end_line(struct build *b)
{
	char **place = &b->kept[b->lines % KEPT];

	if (!b->returned)
		show_line(b);
	b->returned = false;
	if (b->len == 0)
		return;
	b->len = 0;
	if (strncmp(b->line, "Removing intermediate container", 31) == 0)
		return; /* after what it was that failed */
	b->lines++;
	free(*place);
	*place = strdup(b->line);
}

static void add_char(struct build *b, unsigned char c)
{
	if (b->returned) {
		b->returned = false;
		b->len = 0;
	}
	if (b->len < sizeof(b->line) - 1)
		b->line[b->len++] = c < ' ' || c == 0x7f ? ' ' : c;
}

/* Colours and the like go: ESC, "[", parameters, a letter. */
static bool is_terminal(struct build *b, unsigned char c)
{
	bool is = b->terminal != TEXT || c == 0x1b;

	if (c == 0x1b)
		b->terminal = ESCAPE;
	else if (b->terminal == ESCAPE)
		b->terminal = c == '[' ? SEQUENCE : TEXT;
	else if (b->terminal == SEQUENCE && c >= '@')
		b->terminal = TEXT;
	return is;
}

static void add_output(struct build *b, const char *text)
{
	for (; *text; text++) {
		if (is_terminal(b, *text))
			continue;
		if (*text == '\n') {
			end_line(b);
		} else if (*text == '\r' && !b->returned) {
			show_line(b);
			b->returned = true;
		} else if (*text != '\r') {
			add_char(b, *text);
		}
	}
}

static const char *kept_line(const struct build *b, unsigned i)
{
	const char *line = b->kept[(b->lines + i) % KEPT];

	return line ? line : "";
}

static int failed(struct build *b, const char *error, struct err *err)
{
	_cleanup_buf_ struct buf tail = BUF_INIT(MAX_KEPT + KEPT * 3);
	char text[MAX_ERROR_TEXT];
	unsigned i = KEPT;
	size_t room = MAX_KEPT;
	int code = engine_errno_text(error);

	end_line(b);
	snprintf(text, sizeof(text), "%s", error);
	make_printable(text);
	for (; i > 0 && strlen(kept_line(b, i - 1)) < room; i--)
		room -= strlen(kept_line(b, i - 1));
	for (; i < KEPT; i++)
		if (*kept_line(b, i))
			(void)buf_addf(&tail, "\n  %s", kept_line(b, i));
	return err_set(err, code, "engine %s: %s%s%s", engine_host(b->e), text,
		       tail.len ? "; its last lines:" : "", tail.len ? tail.data : "");
}

/* {"stream"}, {"status"} (of a pull), {"aux"} or {"error"}. */
static int build_message(void *ctx, const cJSON *json, struct err *err)
{
	const char *error = json_string(json, "error"), *stream = json_string(json, "stream");
	const char *status = json_string(json, "status");
	struct build *b = ctx;

	if (bk_req_left_ms(b->req, b->timeout_ms) < b->timeout_ms)
		bk_req_extend(b->req, b->timeout_ms);
	if (error)
		return failed(b, error, err);
	if (stream)
		add_output(b, stream);
	if (status) {
		add_output(b, status);
		end_line(b);
	}
	return 0;
}

/* ---- The call ---- */

static int add_options(struct buf *path, const struct engine_build *in)
{
	_cleanup_free_ char *labels = cJSON_PrintUnformatted(in->labels);
	int r = labels ? 0 : -ENOMEM;

	if (r == 0)
		r = http_path(path, "/build?dockerfile=Dockerfile&rm=1&forcerm=1&t=%s", in->tag);
	if (r == 0)
		r = http_path(path, "&labels=%s", labels);
	if (r == 0 && in->network)
		r = http_path(path, "&networkmode=%s", in->network);
	if (r == 0 && in->no_cache)
		r = buf_adds(path, "&nocache=1");
	return r;
}

int engine_image_build(struct bk_req *req, struct engine *e, const struct engine_build *in,
		       void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ENGINE_MAX_URL), context = BUF_INIT(MAX_CONTEXT);
	_cleanup_(http_endp) struct http_reply *x = NULL;
	struct build b = {
	    .req = req,
	    .e = e,
	    .timeout_ms = in->timeout_ms,
	    .progress = progress,
	    .ctx = ctx,
	};
	struct http_request rq = {
	    .method = "POST",
	    .type = "application/x-tar",
	    .patience_ms = in->timeout_ms,
	};
	int r = add_options(&path, in);

	if (r == 0)
		r = make_context(in->dockerfile, &context);
	if (r < 0)
		return err_set(err, r, "engine %s: %s", engine_host(e), strerror(-r));
	rq.path = path.data;
	rq.body = context.data;
	rq.body_len = context.len;
	r = engine_begin(req, e, &rq, &x, err);
	if (r == 0)
		r = engine_messages(req, e, x, build_message, &b, err);
	for (size_t i = 0; i < KEPT; i++)
		free(b.kept[i]);
	return r;
}
