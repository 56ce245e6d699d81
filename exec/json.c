#include "json.h"

#include <stdint.h>
#include <string.h>

int json_add_string(struct buf *out, const char *s)
{
	int r = buf_adds(out, "\"");

	for (const char *p = s; *p && r == 0; p += *p != '\0') {
		size_t plain = 0;

		while ((unsigned char)p[plain] >= ' ' && p[plain] != '"' && p[plain] != '\\')
			plain++;
		r = buf_add(out, p, plain);
		p += plain;
		if (r == 0 && *p)
			r = (unsigned char)*p < ' ' ? buf_addf(out, "\\u%04x", *p)
						    : buf_addf(out, "\\%c", *p);
	}
	return r < 0 ? r : buf_adds(out, "\"");
}

/* ---- Reading ---- */

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* \uXXXX, which our daemons write for control characters only. */
static int take_unicode(const char **at, struct buf *out)
{
	unsigned c;
	char byte;

	if (strspn(*at, "0123456789abcdefABCDEF") < 4 || sscanf(*at, "%4x", &c) != 1 || c == 0 ||
	    c > 0x7f)
		return -EINVAL;
	*at += 4;
	byte = c;
	return buf_add(out, &byte, 1);
}

/* A string, from its opening quote to behind its closing one, into OUT. */
static int take_string(const char **at, struct buf *out)
{
	static const char codes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *p = *at, *code;
	int r = *p++ == '"' ? buf_adds(out, "") : -EINVAL;

	while (r == 0 && *p != '"') {
		size_t plain = strcspn(p, "\"\\");

		r = buf_add(out, p, plain);
		p += plain;
		if (r < 0 || *p == '"')
			continue;
		if (*p++ == '\0' || *p == '\0')
			return -EINVAL;
		code = strchr(codes, *p);
		if (*p++ == 'u')
			r = take_unicode(&p, out);
		else
			r = code ? buf_add(out, &meant[code - codes], 1) : -EINVAL;
	}
	*at = p + 1;
	return r;
}

/* The value of KEY: where it begins, at something that is not a space. NULL: there is none. */
static int find(const char *text, const char *key, const char **ret)
{
	const char *p = skip_space(text);
	int r = *p == '{' ? 0 : -EINVAL;

	while (r == 0) {
		_cleanup_buf_ struct buf name = BUF_INIT(256), value = BUF_INIT(SIZE_MAX / 2);

		p = skip_space(p + 1);
		r = take_string(&p, &name);
		if (r < 0)
			break;
		p = skip_space(p);
		if (*p != ':')
			return -EINVAL;
		p = skip_space(p + 1);
		if (strcmp(name.data, key) == 0) {
			*ret = p;
			return 0;
		}
		if (*p == '"')
			r = take_string(&p, &value);
		else
			p += strcspn(p, ",}[{\" \t\r\n");
		p = skip_space(p);
		if (r == 0 && *p != ',')
			r = *p == '}' ? -ENOENT : -EINVAL;
	}
	return r;
}

int json_get_string(const char *text, const char *key, char **ret)
{
	_cleanup_buf_ struct buf value = BUF_INIT(SIZE_MAX / 2);
	const char *p;
	int r = find(text, key, &p);

	if (r == 0)
		r = *p == '"' ? take_string(&p, &value) : -ENOENT;
	if (r < 0)
		return r;
	*ret = buf_take(&value);
	return *ret ? 0 : -ENOMEM;
}

int json_get_number(const char *text, const char *key, long long *ret)
{
	const char *p;
	char *end;
	int r = find(text, key, &p);

	if (r < 0)
		return r;
	if (*p != '-' && !(*p >= '0' && *p <= '9'))
		return -ENOENT;
	*ret = strtoll(p, &end, 10);
	return *end == '.' || *end == 'e' || *end == 'E' ? -EINVAL : 0;
}
