/* Messages to bytes. The caller has made room. */
#include "fields.h"

#include <string.h>

static uint8_t *put_number(uint8_t *p, uint64_t v, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		*p++ = v >> 8 * i;
	return p;
}

/* A length of 2 bytes, the bytes, and a NUL, so that the other end has a string. */
static uint8_t *put_string(uint8_t *p, const char *s)
{
	size_t n = strlen(s);

	p = put_number(p, n, 2);
	memcpy(p, s, n + 1);
	return p + n + 1;
}

static uint64_t load(const void *at, unsigned size)
{
	uint32_t v32;
	uint64_t v64;

	if (size == sizeof(v32)) {
		memcpy(&v32, at, sizeof(v32));
		return v32;
	}
	memcpy(&v64, at, sizeof(v64));
	return v64;
}

static uint8_t *put_fields(uint8_t *p, const struct field *f, const void *from);

static uint8_t *put_field(uint8_t *p, const struct field *f, const void *at)
{
	switch ((enum kind)f->kind) {
	case KIND_U32:
		return put_number(p, load(at, f->size), 4);
	case KIND_U64:
	case KIND_OFF:
	case KIND_ID:
		return put_number(p, load(at, f->size), 8);
	case KIND_NAME:
	case KIND_TEXT:
		return put_string(p, *(const char *const *)at);
	case KIND_STAT:
	case KIND_DIR_STAT:
		return put_fields(p, remote_stat_fields, at);
	case KIND_SETATTR:
		return put_fields(p, remote_setattr_fields, at);
	case KIND_STATVFS:
		return put_fields(p, remote_statvfs_fields, at);
	case KIND_DATA:
	case KIND_END:
		break;
	}
	return p;
}

static uint8_t *put_fields(uint8_t *p, const struct field *f, const void *from)
{
	for (; f->kind != KIND_END; f++)
		p = put_field(p, f, (const char *)from + f->offset);
	return p;
}

static void put_head(uint8_t *out, const struct remote_head *h)
{
	out = put_number(out, h->len, 4);
	out = put_number(out, h->op, 2);
	out = put_number(out, h->error, 2);
	put_number(out, h->id, 8);
}

size_t remote_encode(uint8_t *out, enum remote_op op, enum remote_side side, uint64_t id,
		     unsigned error, const struct remote_msg *m)
{
	const struct format *f = &remote_formats[op];
	uint8_t *p = out + REMOTE_HEADER;
	struct remote_head head = {.op = op, .error = error, .id = id};
	size_t len;

	if (side == REMOTE_REQUEST && !f->oneway)
		p = put_fields(p, remote_caller_fields, m);
	if (!error)
		p = put_fields(p, side == REMOTE_REQUEST ? f->request : f->answer, m);
	len = p - out;
	head.len = len - REMOTE_HEADER + (error ? 0 : m->data_len);
	put_head(out, &head);
	return len;
}

size_t remote_put_entry(uint8_t *out, size_t room, const struct remote_entry *e)
{
	uint8_t one[REMOTE_ENTRY_MAX];
	uint8_t *p = put_fields(one, remote_entry_fields, e);
	size_t n;

	if (e->node)
		p = put_fields(p, remote_entry_node_fields, e);
	n = p - one;
	if (n > room)
		return 0;
	memcpy(out, one, n);
	return n;
}

void remote_put_forget(uint8_t *out, const struct remote_forget *f)
{
	put_fields(out, remote_forget_fields, f);
}
