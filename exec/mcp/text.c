/* What models read: the JSON of an answer as aib's commands print it. */
#include "tool.h"

#include "base/json.h"

#include <string.h>

#define SHOWN 2000 /* bytes of a line, as grep prints it */

static const cJSON *at(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(o, key);
}

static double number(const cJSON *o, const char *key)
{
	const cJSON *v = at(o, key);

	return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

int text_read(const cJSON *answer, struct buf *out)
{
	return buf_adds(out, json_text(answer, "content"));
}

int text_write(const cJSON *answer, struct buf *out)
{
	return buf_addf(out, "%.0f bytes written to %s\n", number(answer, "size"),
			json_text(answer, "path"));
}

int text_edit(const cJSON *answer, struct buf *out)
{
	double n = number(answer, "occurrences");

	return buf_addf(out, "%.0f occurrence%s replaced\n", n, n == 1 ? "" : "s");
}

/* Mode, size, minutes with a blank between, path. */
static int add_entry(const cJSON *e, struct buf *out)
{
	const char *when = json_text(e, "modified_at");
	bool dir = cJSON_IsTrue(at(e, "is_dir"));
	char size[32] = "-";

	if (!dir)
		snprintf(size, sizeof(size), "%.0f", number(e, "size"));
	return buf_addf(out, "%s %10s %.10s %.5s %s%s\n", json_text(e, "mode"), size, when,
			strlen(when) > 11 ? when + 11 : "", json_text(e, "path"), dir ? "/" : "");
}

static int add_entries(const cJSON *list, struct buf *out)
{
	const cJSON *e;
	int r = 0;

	cJSON_ArrayForEach (e, list)
		if (r == 0)
			r = add_entry(e, out);
	return r;
}

int text_ls(const cJSON *answer, struct buf *out)
{
	return add_entries(at(answer, "entries"), out);
}

int text_glob(const cJSON *answer, struct buf *out)
{
	const cJSON *f;
	int r = 0;

	cJSON_ArrayForEach (f, at(answer, "files"))
		if (r == 0)
			r = buf_addf(out, "%s\n", json_text(f, "path"));
	return r;
}

static int add_match(const cJSON *m, struct buf *out)
{
	int r = buf_adds(out, json_text(m, "path"));

	if (r == 0 && at(m, "count"))
		r = buf_addf(out, ":%.0f", number(m, "count"));
	if (r == 0 && at(m, "line"))
		r = buf_addf(out, ":%.0f:%.*s", number(m, "line_number"), SHOWN,
			     json_text(m, "line"));
	return r < 0 ? r : buf_adds(out, "\n");
}

int text_grep(const cJSON *answer, struct buf *out)
{
	const cJSON *m;
	int r = 0;

	cJSON_ArrayForEach (m, at(answer, "matches"))
		if (r == 0)
			r = add_match(m, out);
	return r;
}

int text_output(const cJSON *answer, struct buf *out)
{
	return buf_adds(out, json_text(answer, "output"));
}

/* What the command wrote, and a line where that is not all to know. */
int text_exec(const cJSON *answer, struct buf *out)
{
	const char *output = json_text(answer, "output");
	size_t n = strlen(output);
	int r = buf_add(out, output, n);

	if (r == 0 && n > 0 && output[n - 1] != '\n')
		r = buf_adds(out, "\n");
	if (r == 0 && cJSON_IsTrue(at(answer, "truncated")))
		r = buf_adds(out, "[more output was left out]\n");
	if (r == 0 && cJSON_IsTrue(at(answer, "timed_out")))
		r = buf_adds(out, "[ended at the timeout]\n");
	if (r == 0 && cJSON_IsNumber(at(answer, "signal")))
		r = buf_addf(out, "[ended by signal %.0f]\n", number(answer, "signal"));
	else if (r == 0 && number(answer, "exit_code") != 0 && !at(answer, "error"))
		r = buf_addf(out, "[exit status %.0f]\n", number(answer, "exit_code"));
	return r;
}
