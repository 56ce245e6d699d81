/*
 * The messages as tables of fields, and the two functions that go through them. A field is a number
 * of a width on the wire, or one of a few kinds that are made of them.
 */
#include "protocol.h"

#include <limits.h>
#include <string.h>

enum kind {
	KIND_END,
	KIND_U32,
	KIND_U64,
	KIND_OFF,  /* at most INT64_MAX */
	KIND_ID,   /* not 0 */
	KIND_NAME, /* a component, of 1 to NAME_MAX bytes */
	KIND_TEXT, /* 0 to PATH_MAX - 1 bytes */
	KIND_STAT,
	KIND_SETATTR,
	KIND_STATVFS,
	KIND_DATA, /* all that is left; the last field */
};

struct field {
	uint8_t kind;
	uint8_t size; /* of a number, in memory: 4 or 8 */
	uint16_t offset;
};

#define FIELD(type, k, member)                                                                     \
	{                                                                                          \
		.kind = KIND_##k, .size = sizeof(((type *)NULL)->member),                          \
		.offset = offsetof(type, member)                                                   \
	}

/* ---- What structs are made of ---- */

#define S(k, member) FIELD(struct stat, k, member)
static const struct field stat_fields[] = {
    S(U64, st_ino),
    S(U64, st_dev),
    S(U32, st_mode),
    S(U32, st_nlink),
    S(U32, st_uid),
    S(U32, st_gid),
    S(U64, st_rdev),
    S(OFF, st_size),
    S(OFF, st_blocks),
    S(U32, st_blksize),
    S(U64, st_atim.tv_sec),
    S(U32, st_atim.tv_nsec),
    S(U64, st_mtim.tv_sec),
    S(U32, st_mtim.tv_nsec),
    S(U64, st_ctim.tv_sec),
    S(U32, st_ctim.tv_nsec),
    {KIND_END},
};

#define A(k, member) FIELD(struct bk_setattr, k, member)
static const struct field setattr_fields[] = {
    A(U32, mask),	   A(U32, mode),	 A(U32, uid),		A(U32, gid),
    A(OFF, size),	   A(U64, atime.tv_sec), A(U32, atime.tv_nsec), A(U64, mtime.tv_sec),
    A(U32, mtime.tv_nsec), {KIND_END},
};

#define V(k, member) FIELD(struct statvfs, k, member)
static const struct field statvfs_fields[] = {
    V(U32, f_bsize),  V(U32, f_frsize),	 V(U64, f_blocks), V(U64, f_bfree),
    V(U64, f_bavail), V(U64, f_files),	 V(U64, f_ffree),  V(U64, f_favail),
    V(U64, f_flag),   V(U32, f_namemax), {KIND_END},
};

#define E(k, member) FIELD(struct remote_entry, k, member)
static const struct field entry_fields[] = {
    E(ID, next), E(U64, ino), E(U32, type), E(NAME, name), E(U64, node), {KIND_END},
};
static const struct field entry_node_fields[] = {E(STAT, st), {KIND_END}};

#define G(k, member) FIELD(struct remote_forget, k, member)
static const struct field forget_fields[] = {G(ID, node), G(ID, count), {KIND_END}};

/* ---- The messages ---- */

#define M(k, member) FIELD(struct remote_msg, k, member)
#define A_NODE M(ID, node)
#define OTHER_NODE M(ID, node2)
#define A_FILE M(ID, file)
#define A_DIR M(ID, dir)
#define ANY_FILE M(U64, file), M(U64, dir) /* one of them, or none: 0 */
#define A_NAME M(NAME, name)
#define OTHER_NAME M(NAME, name2)
#define A_TEXT M(TEXT, text)
#define A_STAT M(STAT, st)
#define FLAGS M(U32, flags)
#define SOME_DATA M(DATA, data)

static const struct field caller_fields[] = {
    M(U32, uid), M(U32, gid), M(U32, pid), M(U32, caller_flags), {KIND_END},
};

static const struct format {
	const char *name;
	bool oneway, changes;
	struct field request[8], answer[8]; /* an empty one ends them */
} formats[REMOTE_N_OPS] = {
    [REMOTE_HELLO] = {"hello", .request = {M(U32, magic), M(U32, version), FLAGS, M(U32, inflight)},
		      .answer = {M(U32, magic), M(U32, version), FLAGS, M(U32, inflight), A_NODE,
				 A_STAT}},
    [REMOTE_CANCEL] = {"cancel", .oneway = true},
    [REMOTE_FORGET] = {"forget", .oneway = true, .request = {SOME_DATA}},
    [REMOTE_RELEASE] = {"release", .oneway = true, .request = {A_FILE}},
    [REMOTE_RELEASEDIR] = {"releasedir", .oneway = true, .request = {A_DIR}},
    [REMOTE_LOOKUP] = {"lookup", .request = {A_NODE, A_NAME}, .answer = {A_NODE, A_STAT}},
    [REMOTE_MKNOD] = {"mknod", .changes = true,
		      .request = {A_NODE, A_NAME, M(U32, mode), M(U64, rdev)},
		      .answer = {A_NODE, A_STAT}},
    [REMOTE_MKDIR] = {"mkdir", .changes = true, .request = {A_NODE, A_NAME, M(U32, mode)},
		      .answer = {A_NODE, A_STAT}},
    [REMOTE_SYMLINK] = {"symlink", .changes = true, .request = {A_NODE, A_NAME, A_TEXT},
			.answer = {A_NODE, A_STAT}},
    [REMOTE_LINK] = {"link", .changes = true, .request = {A_NODE, OTHER_NODE, A_NAME},
		     .answer = {A_NODE, A_STAT}},
    [REMOTE_UNLINK] = {"unlink", .changes = true, .request = {A_NODE, A_NAME}},
    [REMOTE_RMDIR] = {"rmdir", .changes = true, .request = {A_NODE, A_NAME}},
    [REMOTE_RENAME] = {"rename", .changes = true,
		       .request = {A_NODE, A_NAME, OTHER_NODE, OTHER_NAME, FLAGS}},
    [REMOTE_GETATTR] = {"getattr", .request = {A_NODE, ANY_FILE}, .answer = {A_STAT}},
    [REMOTE_SETATTR] = {"setattr", .changes = true, .request = {A_NODE, ANY_FILE, M(SETATTR, attr)},
			.answer = {A_STAT}},
    [REMOTE_READLINK] = {"readlink", .request = {A_NODE}, .answer = {A_TEXT}},
    [REMOTE_STATFS] = {"statfs", .request = {A_NODE}, .answer = {M(STATVFS, vfs)}},
    [REMOTE_GETXATTR] = {"getxattr", .request = {A_NODE, A_TEXT, M(U32, size)},
			 .answer = {M(U32, size), SOME_DATA}},
    [REMOTE_LISTXATTR] = {"listxattr", .request = {A_NODE, M(U32, size)},
			  .answer = {M(U32, size), SOME_DATA}},
    [REMOTE_SETXATTR] = {"setxattr", .changes = true,
			 .request = {A_NODE, A_TEXT, FLAGS, SOME_DATA}},
    [REMOTE_REMOVEXATTR] = {"removexattr", .changes = true, .request = {A_NODE, A_TEXT}},
    [REMOTE_OPEN] = {"open", .request = {A_NODE, FLAGS}, .answer = {A_FILE, FLAGS}},
    [REMOTE_CREATE] = {"create", .changes = true, .request = {A_NODE, A_NAME, M(U32, mode), FLAGS},
		       .answer = {A_NODE, A_STAT, A_FILE, FLAGS}},
    [REMOTE_READ] = {"read", .request = {A_FILE, M(OFF, off), M(U32, size)}, .answer = {SOME_DATA}},
    [REMOTE_WRITE] = {"write", .changes = true, .request = {A_FILE, M(OFF, off), SOME_DATA},
		      .answer = {M(U32, size)}},
    [REMOTE_FLUSH] = {"flush", .request = {A_FILE}},
    [REMOTE_FSYNC] = {"fsync", .request = {A_FILE, FLAGS}},
    [REMOTE_LSEEK] = {"lseek", .request = {A_FILE, M(OFF, off), M(U32, whence)},
		      .answer = {M(OFF, off)}},
    [REMOTE_FALLOCATE] = {"fallocate", .changes = true,
			  .request = {A_FILE, M(U32, mode), M(OFF, off), M(OFF, len)}},
    [REMOTE_OPENDIR] = {"opendir", .request = {A_NODE}, .answer = {A_DIR}},
    [REMOTE_READDIR] = {"readdir", .request = {A_DIR, M(U64, cookie), M(U32, size), FLAGS},
			.answer = {SOME_DATA}},
    [REMOTE_FSYNCDIR] = {"fsyncdir", .request = {A_DIR, FLAGS}},
};

const char *remote_op_name(enum remote_op op)
{
	return formats[op].name;
}

bool remote_has_answer(enum remote_op op)
{
	return !formats[op].oneway;
}

bool remote_changes(enum remote_op op)
{
	return formats[op].changes;
}

/* ---- Encoding: the caller has made room ---- */

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
		return put_fields(p, stat_fields, at);
	case KIND_SETATTR:
		return put_fields(p, setattr_fields, at);
	case KIND_STATVFS:
		return put_fields(p, statvfs_fields, at);
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
	const struct format *f = &formats[op];
	uint8_t *p = out + REMOTE_HEADER;
	struct remote_head head = {.op = op, .error = error, .id = id};
	size_t len;

	if (side == REMOTE_REQUEST && !f->oneway)
		p = put_fields(p, caller_fields, m);
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
	uint8_t *p = put_fields(one, entry_fields, e);
	size_t n;

	if (e->node)
		p = put_fields(p, entry_node_fields, e);
	n = p - one;
	if (n > room)
		return 0;
	memcpy(out, one, n);
	return n;
}

void remote_put_forget(uint8_t *out, const struct remote_forget *f)
{
	put_fields(out, forget_fields, f);
}

/* ---- Decoding: every byte is another's ---- */

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

static void get_stat(struct cursor *c, struct stat *st)
{
	static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO,
				       S_IFCHR, S_IFBLK, S_IFSOCK};
	bool known = false;

	get_fields(c, stat_fields, st);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		known |= (st->st_mode & ~07777) == types[i];
	if (!known || !is_time(&st->st_atim) || !is_time(&st->st_mtim) || !is_time(&st->st_ctim))
		c->bad = true;
}

static void get_setattr(struct cursor *c, struct bk_setattr *a)
{
	get_fields(c, setattr_fields, a);
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
	case KIND_SETATTR:
		get_setattr(c, at);
		break;
	case KIND_STATVFS:
		get_fields(c, statvfs_fields, at);
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
	const struct format *f = &formats[op];
	const struct field *fields = side == REMOTE_REQUEST ? f->request : f->answer;
	struct cursor c = {.p = payload, .left = len};

	*ret = (struct remote_msg){.data = NULL};
	if (side == REMOTE_REQUEST && !f->oneway)
		get_fields(&c, caller_fields, ret);
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
	get_fields(&c, entry_fields, ret);
	dot = strcmp(ret->name, ".") == 0 || strcmp(ret->name, "..") == 0;
	if (ret->node)
		get_fields(&c, entry_node_fields, ret);
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
	get_fields(&c, forget_fields, ret);
	*pos = len - c.left;
	return c.bad ? -EPROTO : 1;
}
