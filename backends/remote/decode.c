/* Bytes to messages. Every byte is another's. */
#include "fields.h"

#include <limits.h>
#include <string.h>

/* Where decoding is. After a violation everything reads as 0 and `bad` stays. */
struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static const uint8_t *get_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || n > c->left) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static uint64_t get_number(struct cursor *c, unsigned width)
{
	const uint8_t *p = get_bytes(c, width);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < width; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static uint64_t get_bounded(struct cursor *c, unsigned width, uint64_t min, uint64_t max)
{
	uint64_t v = get_number(c, width);

	if (v >= min && v <= max)
		return v;
	c->bad = true;
	return 0;
}

static const char *get_string(struct cursor *c, size_t min, size_t max)
{
	size_t n = get_bounded(c, 2, min, max);
	const char *s = (const char *)get_bytes(c, n + 1);

	if (!s || s[n] != '\0' || strlen(s) != n) {
		c->bad = true;
		return "";
	}
	return s;
}

static const char *get_name(struct cursor *c)
{
	const char *name = get_string(c, 1, NAME_MAX);

	if (strchr(name, '/'))
		c->bad = true;
	return name;
}

static void store(void *at, unsigned size, uint64_t v)
{
	uint32_t v32 = v;

	if (size == sizeof(v32))
		memcpy(at, &v32, sizeof(v32));
	else
		memcpy(at, &v, sizeof(v));
}

static void get_fields(struct cursor *c, const struct field *f, void *to);

static bool is_time(const struct timespec *t)
{
	return t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

static void check_stat(struct cursor *c, const struct stat *st)
{
	static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO,
				       S_IFCHR, S_IFBLK, S_IFSOCK};
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		known |= (st->st_mode & ~07777) == types[i];
	if (!known || !is_time(&st->st_atim) || !is_time(&st->st_mtim) || !is_time(&st->st_ctim))
		c->bad = true;
}

static void get_stat(struct cursor *c, struct stat *st)
{
	get_fields(c, remote_stat_fields, st);
	check_stat(c, st);
}

static void get_dir_stat(struct cursor *c, struct stat *st)
{
	get_fields(c, remote_stat_fields, st);
	if (st->st_mode == 0)
		return;
	check_stat(c, st);
	c->bad |= !S_ISDIR(st->st_mode);
}

static void get_setattr(struct cursor *c, struct bk_setattr *a)
{
	get_fields(c, remote_setattr_fields, a);
	if (a->mask >= BK_SET_KILL_SUIDGID << 1 || a->mode & ~07777U || !is_time(&a->atime) ||
	    !is_time(&a->mtime))
		c->bad = true;
}

static void get_field(struct cursor *c, const struct field *f, void *at)
{
	switch ((enum kind)f->kind) {
	case KIND_U32:
		store(at, f->size, get_number(c, 4));
		break;
	case KIND_U64:
		store(at, f->size, get_number(c, 8));
		break;
	case KIND_OFF:
		store(at, f->size, get_bounded(c, 8, 0, INT64_MAX));
		break;
	case KIND_ID:
		store(at, f->size, get_bounded(c, 8, 1, UINT64_MAX));
		break;
	case KIND_NAME:
		*(const char **)at = get_name(c);
		break;
	case KIND_TEXT:
		*(const char **)at = get_string(c, 0, PATH_MAX - 1);
		break;
	case KIND_STAT:
		get_stat(c, at);
		break;
	case KIND_DIR_STAT:
		get_dir_stat(c, at);
		break;
	case KIND_SETATTR:
		get_setattr(c, at);
		break;
	case KIND_STATVFS:
		get_fields(c, remote_statvfs_fields, at);
		break;
	case KIND_DATA: /* remote_decode takes it */
	case KIND_END:
		break;
	}
}

static void get_fields(struct cursor *c, const struct field *f, void *to)
{
	for (; f->kind != KIND_END; f++)
		get_field(c, f, (char *)to + f->offset);
}

static bool ends_in_data(const struct field *f)
{
	while (f->kind != KIND_END && f->kind != KIND_DATA)
		f++;
	return f->kind == KIND_DATA;
}

int remote_decode_head(const uint8_t *in, struct remote_head *ret)
{
	struct cursor c = {.p = in, .left = REMOTE_HEADER};
	struct remote_head h;

	h.len = get_bounded(&c, 4, 0, REMOTE_MAX_PAYLOAD);
	h.op = get_bounded(&c, 2, 1, REMOTE_N_OPS - 1);
	h.error = get_bounded(&c, 2, 0, REMOTE_MAX_ERRNO);
	h.id = get_number(&c, 8);
	if (c.bad || (h.error && h.len))
		return -EPROTO;
	*ret = h;
	return 0;
}

int remote_decode(const uint8_t *payload, size_t len, enum remote_op op, enum remote_side side,
		  struct remote_msg *ret)
{
	const struct format *f = &remote_formats[op];
	const struct field *fields = side == REMOTE_REQUEST ? f->request : f->answer;
	struct cursor c = {.p = payload, .left = len};

	*ret = (struct remote_msg){.data = NULL};
	if (side == REMOTE_REQUEST && !f->oneway)
		get_fields(&c, remote_caller_fields, ret);
	get_fields(&c, fields, ret);
	if (!c.bad && ends_in_data(fields)) {
		ret->data_len = c.left;
		ret->data = get_bytes(&c, c.left);
	}
	return c.bad || c.left > 0 || ret->data_len > REMOTE_MAX_DATA ? -EPROTO : 0;
}

int remote_get_entry(const uint8_t *data, size_t len, size_t *pos, struct remote_entry *ret)
{
	struct cursor c = {.p = data + *pos, .left = len - *pos};
	bool dot;

	if (c.left == 0)
		return 0;
	get_fields(&c, remote_entry_fields, ret);
	dot = strcmp(ret->name, ".") == 0 || strcmp(ret->name, "..") == 0;
	if (ret->node)
		get_fields(&c, remote_entry_node_fields, ret);
	if (c.bad || ret->type > 15 || (dot && ret->node))
		return -EPROTO;
	*pos = len - c.left;
	return 1;
}

int remote_get_forget(const uint8_t *data, size_t len, size_t *pos, struct remote_forget *ret)
{
	struct cursor c = {.p = data + *pos, .left = len - *pos};

	if (c.left == 0)
		return 0;
	get_fields(&c, remote_forget_fields, ret);
	*pos = len - c.left;
	return c.bad ? -EPROTO : 1;
}
