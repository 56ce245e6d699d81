/*
 * How grep's results look: text, JSON, or records for the end that asked.
 */
#include "far_wire.h"
#include "grep.h"

#include <string.h>

const char *grep_words(int r)
{
	switch (r) {
	case -EMSGSIZE:
		return "a line is longer than 8 MiB";
	case -EOVERFLOW:
		return "the pattern takes too many steps (match limit)";
	case -ETIMEDOUT:
		return "no progress within the deadline";
	case -ENXIO:
		return "not a regular file";
	case -EPROTO:
		return "what searches there answers otherwise than it should";
	default:
		return NULL;
	}
}

/* ---- Records ---- */

static int put_record(struct batch *b, const char *path, struct far_record x)
{
	x.path = path;
	x.path_len = strlen(path);
	return far_put_record(&b->out, &x);
}

int grep_put_error(struct batch *b, const char *path, int r)
{
	return put_record(b, path, (struct far_record){.kind = FAR_ERROR, .number = -r});
}

/* ---- Text and JSON ---- */

/* A path, or what stands for one where it is JSON. */
static int put_path(struct batch *b, const char *path)
{
	int r;

	if (!b->grep->o->args.json)
		return buf_adds(&b->out, path);
	r = buf_adds(&b->out, ",\n{\"path\": ");
	return r < 0 ? r : ops_json_string(&b->out, path, strlen(path));
}

int grep_put_line(struct batch *b, const char *path, uint64_t line, const char *text, size_t len)
{
	const struct ops *o = b->grep->o;
	bool json = o->args.json;
	struct buf *out = &b->out;
	int r;

	if (len > GREP_SHOWN && !json && !(o->far && o->far->whole_lines))
		len = GREP_SHOWN;
	if (o->far)
		return put_record(
		    b, path,
		    (struct far_record){
			.kind = FAR_LINE, .number = line, .text = text, .text_len = len});
	r = put_path(b, path);
	if (r == 0)
		r = buf_addf(out, json ? ", \"line_number\": %llu, \"line\": " : ":%llu:",
			     (unsigned long long)line);
	if (r == 0)
		r = json ? ops_json_string(out, text, len) : buf_add(out, text, len);
	return r < 0 ? r : buf_adds(out, json ? "}" : "\n");
}

int grep_put_file(struct batch *b, const char *path, uint64_t matches)
{
	const struct ops *o = b->grep->o;
	bool json = o->args.json;
	struct buf *out = &b->out;
	int r;

	if (o->far)
		return put_record(b, path,
				  (struct far_record){.kind = FAR_COUNT, .number = matches});
	r = put_path(b, path);
	if (r == 0 && b->grep->mode == GREP_COUNT)
		r = buf_addf(out, json ? ", \"count\": %llu" : ":%llu",
			     (unsigned long long)matches);
	return r < 0 ? r : buf_adds(out, json ? "}" : "\n");
}
