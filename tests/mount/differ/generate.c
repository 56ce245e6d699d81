/* Calls from a seed. Few names, so that calls meet; some that are at the edge of what is allowed.
 */
#include "differ.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t *s, uint64_t n)
{
	return random_next(s) % n;
}

static bool chance(uint64_t *s, unsigned percent)
{
	return below(s, 100) < percent;
}

#define PICK(s, array) ((array)[below((s), sizeof(array) / sizeof((array)[0]))])

/* ---- Paths ---- */

enum { NAME_255 = 12, NAME_256, NAMES };
static const char *const names[] = {
    "a", "b", "c", "d", "e", "a", "b", "c", "d", "\xff\xfe", "new\nline", "..",
};

enum shape { PLAIN, SLASH, DOT, DOTDOT, DOUBLE, EMPTY, LONG, BAD, SELF, SHAPES };

static void make_path(uint64_t *s, struct path *p)
{
	*p = (struct path){.count = 1 + (below(s, 3) == 0) + (below(s, 9) == 0)};
	for (unsigned i = 0; i < p->count; i++) {
		p->names[i] = below(s, chance(s, 8) ? NAMES : 9);
		if (i == 0 && p->names[i] == 11)
			p->names[i] = 0; /* never above the top */
		if (p->names[i] == 11 && i > 0 && p->names[i - 1] == 11)
			p->names[i] = 1;
	}
	p->shape = chance(s, 88) ? PLAIN : below(s, SHAPES);
	if (p->shape == DOTDOT && p->count > 1 && p->names[p->count - 1] == 11)
		p->shape = PLAIN;
}

static void add_name(char *buf, unsigned name)
{
	size_t n = strlen(buf);

	if (name < NAME_255) {
		strcpy(buf + n, names[name]);
		return;
	}
	memset(buf + n, 'n', name == NAME_255 ? 255 : 256);
	buf[n + (name == NAME_255 ? 255 : 256)] = '\0';
}

const char *path_string(const struct path *p, char *buf)
{
	static const char *const tails[SHAPES] = {[SLASH] = "/", [DOT] = "/.", [DOTDOT] = "/.."};

	*buf = '\0';
	if (p->shape == BAD)
		return NULL;
	if (p->shape == EMPTY)
		return buf;
	if (p->shape == SELF)
		return strcpy(buf, ".");
	if (p->shape == LONG)
		for (int i = 0; i < 2047; i++)
			strcat(buf, "./");
	for (unsigned i = 0; i < p->count; i++) {
		if (i > 0)
			strcat(buf, p->shape == DOUBLE ? "//" : "/");
		add_name(buf, p->names[i]);
	}
	if (tails[p->shape])
		strcat(buf, tails[p->shape]);
	return buf;
}

/* ---- Numbers ---- */

static int64_t make_offset(uint64_t *s)
{
	static const int64_t far[] = {-1,	 1LL << 31, (1LL << 32) - 100,
				      1LL << 32, 1LL << 40, -4096};

	if (chance(s, 4))
		return PICK(s, far);
	return chance(s, 30) ? (int64_t)below(s, 24) * 4096 : (int64_t)below(s, 60000);
}

static int64_t make_length(uint64_t *s)
{
	if (chance(s, 5))
		return (int64_t)below(s, 3) - 1;
	return chance(s, 50) ? 1 + (int64_t)below(s, 200) : 1 + (int64_t)below(s, 40000);
}

static uint32_t make_mode(uint64_t *s)
{
	static const uint32_t modes[] = {0,	0777,  0666,  0644,  0700,  0755,  0600,  0400,
					 0200,	0070,  0007,  0711,  01777, 02777, 02755, 04755,
					 06755, 06711, 02644, 04644, 06777, 02770};

	return chance(s, 80) ? PICK(s, modes) : below(s, 010000);
}

static uint32_t make_open_flags(uint64_t *s, const struct setup *setup)
{
	static const uint32_t access[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR};
	static const uint32_t more[] = {O_TRUNC, O_APPEND, O_EXCL,    O_NOFOLLOW, O_DIRECTORY,
					O_SYNC,	 O_DSYNC,  O_NOATIME, O_CLOEXEC,  O_NOCTTY};
	uint32_t flags = PICK(s, access) | O_NONBLOCK;

	if (chance(s, 5))
		return O_PATH | (chance(s, 50) ? O_NOFOLLOW : 0) |
		       (chance(s, 30) ? O_DIRECTORY : 0);
	if (chance(s, 5))
		return O_TMPFILE | (chance(s, 90) ? O_RDWR : O_RDONLY) |
		       (chance(s, 20) ? O_EXCL : 0);
	if (chance(s, 60))
		flags |= O_CREAT;
	while (chance(s, 30))
		flags |= PICK(s, more);
	if (setup->direct && chance(s, 4))
		flags |= O_DIRECT;
	return flags;
}

/* ---- Calls ---- */

static const uint8_t weights[OP_KINDS] = {
    [OP_OPEN] = 24,	[OP_CLOSE] = 5,	      [OP_DUP] = 1,	  [OP_READ] = 8,
    [OP_WRITE] = 12,	[OP_WRITEV] = 2,      [OP_LSEEK] = 4,	  [OP_FTRUNCATE] = 4,
    [OP_TRUNCATE] = 4,	[OP_FALLOCATE] = 5,   [OP_COPY] = 4,	  [OP_SENDFILE] = 2,
    [OP_SYNC] = 2,	[OP_ADVISE] = 2,      [OP_MMAP] = 4,	  [OP_MSTORE] = 5,
    [OP_MLOAD] = 5,	[OP_MUNMAP] = 2,      [OP_LINK] = 8,	  [OP_FLINK] = 2,
    [OP_RENAME] = 14,	[OP_UNLINK] = 9,      [OP_RMDIR] = 4,	  [OP_MKDIR] = 10,
    [OP_MKNOD] = 4,	[OP_SOCKET] = 1,      [OP_SYMLINK] = 6,	  [OP_READLINK] = 2,
    [OP_CHMOD] = 10,	[OP_FCHMOD] = 3,      [OP_CHOWN] = 8,	  [OP_FCHOWN] = 3,
    [OP_UTIMENS] = 6,	[OP_FUTIMENS] = 3,    [OP_SETXATTR] = 5,  [OP_GETXATTR] = 3,
    [OP_LISTXATTR] = 2, [OP_REMOVEXATTR] = 2, [OP_FSETXATTR] = 2, [OP_FLOCK] = 3,
    [OP_LOCK] = 5,	[OP_STAT] = 4,	      [OP_FSTAT] = 4,	  [OP_LIST] = 2,
    [OP_FLIST] = 2,	[OP_ACCESS] = 3,      [OP_STATFS] = 1,	  [OP_UMASK] = 1,
};

static enum kind make_kind(uint64_t *s)
{
	unsigned sum = 0, at;

	for (int i = 0; i < OP_KINDS; i++)
		sum += weights[i];
	at = below(s, sum);
	for (int i = 0;; i++) {
		if (at < weights[i])
			return i;
		at -= weights[i];
	}
}

static uint32_t make_flags(uint64_t *s, enum kind kind, const struct setup *setup)
{
	static const uint32_t whence[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 77};
	static const uint32_t allocate[] = {0,
					    0,
					    FALLOC_FL_KEEP_SIZE,
					    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    FALLOC_FL_PUNCH_HOLE};
	static const uint32_t rename[] = {
	    0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_NOREPLACE | RENAME_EXCHANGE, 64};
	static const uint32_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, 0,
					 S_IFDIR, S_IFLNK, S_IFCHR,  S_IFBLK};

	switch (kind) {
	case OP_OPEN:
		return make_open_flags(s, setup);
	case OP_LSEEK:
		return PICK(s, whence);
	case OP_FALLOCATE:
		return PICK(s, allocate);
	case OP_RENAME:
		return PICK(s, rename);
	case OP_MKNOD:
		return chance(s, 80) ? types[below(s, 2)] : PICK(s, types);
	default:
		return below(s, 1 << 16);
	}
}

void op_make(uint64_t *s, const struct setup *setup, struct op *ret)
{
	struct op op = {.kind = make_kind(s)};

	if (!setup->xattrs && op.kind >= OP_SETXATTR && op.kind <= OP_FSETXATTR)
		op.kind = OP_STAT;
	op.actor = chance(s, 40) ? 0 : below(s, ACTORS);
	op.slot = below(s, chance(s, 70) ? 2 : SLOTS);
	op.slot2 = below(s, SLOTS);
	make_path(s, &op.a);
	make_path(s, &op.b);
	op.flags = make_flags(s, op.kind, setup);
	op.mode = make_mode(s);
	if (!setup->suid && (op.kind == OP_CHMOD || op.kind == OP_FCHMOD))
		op.mode &= 01777;
	if (!setup->holes && op.kind == OP_LSEEK &&
	    (op.flags == SEEK_DATA || op.flags == SEEK_HOLE))
		op.flags = SEEK_END;
	op.choice = below(s, 1 << 30);
	op.off = make_offset(s);
	op.off2 = make_offset(s);
	op.len = make_length(s);
	*ret = op;
}

/* ---- Printing ---- */

static const char *const kind_names[OP_KINDS] = {
    "open",
    "close",
    "dup",
    "read",
    "write",
    "writev",
    "lseek",
    "ftruncate",
    "truncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "sync",
    "fadvise",
    "mmap",
    "mstore",
    "mload",
    "munmap",
    "link",
    "flink",
    "rename",
    "unlink",
    "rmdir",
    "mkdir",
    "mknod",
    "socket",
    "symlink",
    "readlink",
    "chmod",
    "fchmod",
    "chown",
    "fchown",
    "utimens",
    "futimens",
    "setxattr",
    "getxattr",
    "listxattr",
    "removexattr",
    "fsetxattr",
    "flock",
    "lock",
    "stat",
    "fstat",
    "list",
    "flist",
    "access",
    "statfs",
    "umask",
};

static void print_path(FILE *f, const struct path *p)
{
	char buf[PATH_SIZE];
	const char *s = path_string(p, buf);
	size_t n = s ? strlen(s) : 0;

	if (!s) {
		fputs(" NULL", f);
		return;
	}
	fputs(" \"", f);
	for (size_t i = 0; i < n; i++) {
		if (i == 24 && n > 60) {
			fprintf(f, "<%zu>", n - 48);
			i = n - 24;
		}
		if (s[i] >= ' ' && s[i] < 127)
			fputc(s[i], f);
		else
			fprintf(f, "\\%03o", (unsigned char)s[i]);
	}
	fputc('"', f);
}

void op_print(FILE *f, const struct op *op)
{
	fprintf(f, "actor %u (%u:%u): %s slot=%u,%u", op->actor, actors[op->actor].uid,
		actors[op->actor].gid, kind_names[op->kind], op->slot, op->slot2);
	print_path(f, &op->a);
	print_path(f, &op->b);
	fprintf(f, " flags=%#o mode=%#o choice=%u off=%lld,%lld len=%lld", op->flags, op->mode,
		op->choice % 1000, (long long)op->off, (long long)op->off2, (long long)op->len);
}
