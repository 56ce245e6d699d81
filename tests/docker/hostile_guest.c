/*
 * An aib-guest that lies: all of it is aib-guest's own but what `serve` sends and what it takes ids
 * for, which the linker leads through here (--wrap). A lie is a valid frame with a wrong answer in
 * it; a break is what the protocol forbids, and ends the connection.
 *
 * /hostile/conf says what it does, as "KEY VALUE" lines, each time that serve starts: seed; lie and
 * break, one answer in so many; kinds, letters of `enum kind`; secret, a path outside of the
 * container that links are to lead to. Without the file it is honest.
 *
 * Answers are sent one at a time (server.sending), which guards all state here.
 */
#include "remote/server.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#define FRAME (REMOTE_HEADER + REMOTE_MAX_PAYLOAD)
/* Other ids of a node: above its own, the type (S_IF… >> 12) that it is told to have there (0: its
 * own), and a number. */
#define TYPE_SHIFT 56
#define NUMBER_SHIFT 60
#define REAL_ID ((UINT64_C(1) << TYPE_SHIFT) - 1)
#define KNOWN 32

int __real_remote_stream_write(struct remote_stream *s, struct iovec *iov, int n, int fd);
int __wrap_remote_stream_write(struct remote_stream *s, struct iovec *iov, int n, int fd);
int __real_serve_resolve(struct server_call *c);
int __wrap_serve_resolve(struct server_call *c);
int __wrap_serve_forget_all(struct server *s, const struct remote_msg *m);

enum kind {
	KIND_ATTRS = 'a',
	KIND_NODES = 'n', /* one file for another, directories in themselves, one with many ids */
	KIND_DIRS = 'd',  /* listings */
	KIND_LINKS = 'l', /* files that are links, and where they lead */
	KIND_TWO_FACED = 't', /* nothing but names that are now directories, now links up and out */
	KIND_ERRORS = 'e',    /* none where there is one, and the other way */
	KIND_VALUES = 'x',    /* data, sizes, offsets */
	KIND_FDS = 'f',	      /* descriptors of other files */
	KIND_BAD_FDS = 'F',   /* a break, as what follows */
	KIND_BYTES = 'B',     /* frames that are none */
	KIND_STALLS = 's',
};

static struct {
	bool is_read;
	uint64_t random;
	unsigned lie, brk;
	char kinds[32], secret[512];
	struct {
		uint64_t id;
		struct stat st;
	} known[KNOWN];
	unsigned n_known;
	uint64_t root;
	_Atomic uint64_t spared;   /* the id of a request that is answered as it should be */
	_Atomic mode_t types[256]; /* by the low byte of a request's id: told of its node; or 0 */
} me;

/* ---- Chance ---- */

static uint64_t rnd(uint64_t n)
{
	me.random ^= me.random << 13;
	me.random ^= me.random >> 7;
	me.random ^= me.random << 17;
	return (me.random >> 11) % n;
}

static bool one_in(unsigned n)
{
	return n > 0 && rnd(n) == 0;
}

static bool does(enum kind k)
{
	return strchr(me.kinds, k);
}

static void read_conf(void)
{
	FILE *f = fopen("/hostile/conf", "re");
	unsigned seed = 0;

	me.is_read = true;
	if (!f || fscanf(f, "seed %u lie %u break %u kinds %31s secret %511s", &seed, &me.lie,
			 &me.brk, me.kinds, me.secret) != 5)
		me.lie = me.brk = 0;
	if (f)
		fclose(f);
	/* Another one for each connection, and the same for the same number of them. */
	me.random = (seed + 1) * 0x9e3779b97f4a7c15ULL ^ (uint64_t)getpid() << 20;
}

/* ---- Attributes and nodes ---- */

static void learn(const struct remote_msg *m)
{
	unsigned i = me.n_known < KNOWN ? me.n_known++ : rnd(KNOWN);

	me.known[i].id = m->node;
	me.known[i].st = m->st;
}

/* A file that changes its type is a break: it gets another id for each. */
static void set_type(struct remote_msg *m, mode_t type, unsigned number)
{
	m->st.st_mode = (m->st.st_mode & 07777) | type;
	m->node = (m->node & REAL_ID) | (uint64_t)(type >> 12) << TYPE_SHIFT |
		  (uint64_t)number << NUMBER_SHIFT;
}

static void lie_of_type(struct remote_msg *m)
{
	static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO,
				       S_IFCHR, S_IFBLK, S_IFSOCK};

	set_type(m, types[rnd(ARRAY_SIZE(types))], 0);
	m->st.st_rdev = makedev(1, rnd(12));
}

static void lie_of_attrs(struct stat *st)
{
	static const uint64_t numbers[] = {
	    0, 1, 2, 3, 4095, INT32_MAX, UINT32_MAX, 1ULL << 40, INT64_MAX - 1, INT64_MAX};
	uint64_t n = numbers[rnd(ARRAY_SIZE(numbers))];

	switch (rnd(10)) {
	case 0:
	case 1:
		st->st_size = n;
		break;
	case 2:
		st->st_mode = (st->st_mode & S_IFMT) | (rnd(2) ? 06777 : rnd(010000));
		break;
	case 3:
		st->st_nlink = rnd(2) ? 0 : n;
		break;
	case 4:
		st->st_ino = rnd(2) ? n : me.known[rnd(KNOWN)].st.st_ino;
		break;
	case 5:
		st->st_blksize = (uint32_t)n;
		break;
	case 6:
		st->st_blocks = n;
		break;
	case 7:
		st->st_uid = st->st_gid = n;
		break;
	case 8:
		st->st_mtim.tv_sec = st->st_ctim.tv_sec = rnd(2) ? (int64_t)n : -(int64_t)n;
		break;
	default:
		st->st_dev = n;
	}
}

static void lie_of_node(struct remote_msg *m)
{
	unsigned i = rnd(KNOWN);

	if (i < me.n_known) {
		m->node = me.known[i].id;
		m->st = me.known[i].st;
	}
	if (!m->node || rnd(4) == 0) {
		m->node = me.root;
		m->st.st_mode = S_IFDIR | 0755;
	}
	if (rnd(3) == 0)
		set_type(m, m->st.st_mode & S_IFMT, rnd(8));
}

/* A name that is a directory for one and a link for the next is how a link would lead out. */
static void lie_of_link(struct remote_msg *m)
{
	set_type(m, rnd(2) ? S_IFLNK : S_IFDIR, 0);
}

static void lie_of_file(enum remote_op op, struct remote_msg *m)
{
	bool may_link = op == REMOTE_LOOKUP && does(KIND_LINKS);

	if (op == REMOTE_LOOKUP && does(KIND_TWO_FACED))
		lie_of_link(m);
	else if (op == REMOTE_LOOKUP && does(KIND_NODES) && rnd(4) == 0)
		lie_of_node(m);
	else if (op == REMOTE_LOOKUP && does(KIND_ATTRS) && rnd(4) == 0)
		lie_of_type(m);
	else if (may_link && rnd(3) == 0)
		lie_of_link(m);
	else if (does(KIND_ATTRS))
		lie_of_attrs(&m->st);
}

/* ---- Links ---- */

static void lie_of_target(struct remote_msg *m)
{
	static char target[PATH_MAX];
	static const char *const formats[] = {
	    "%s",
	    "../../../../../../../../..%s",
	    "a/../../../../../../../../..%s",
	    "a/../..%s",
	    "a/b/../../../..%s",
	    "../a/../../../..%s",
	    "/proc/self/root%s",
	    "/proc/1/root%s",
	};
	/* From what is a directory for who looks where they lead, and a link to the root for the
	 * kernel. */
	static const char *const up[] = {"/", "b/../m/secret", "b/../h/secret",
					 "b/../../state/secret"};
	size_t n = 0;

	if (does(KIND_TWO_FACED)) {
		m->text = up[rnd(ARRAY_SIZE(up))];
		return;
	}
	switch (rnd(5)) {
	case 0:
		target[0] = '\0';
		break;
	case 1:
		memset(target, 'x', PATH_MAX - 1);
		target[PATH_MAX - 1] = '\0';
		break;
	case 2:
		while (n + 3 + strlen(me.secret) < PATH_MAX)
			n += snprintf(target + n, PATH_MAX - n, "%s", n % 5 ? "../" : "a/");
		snprintf(target + n, PATH_MAX - n, "%s", me.secret);
		break;
	default:
		snprintf(target, sizeof(target), formats[rnd(ARRAY_SIZE(formats))], me.secret);
	}
	m->text = target;
}

/* ---- Values ---- */

static void lie_of_statfs(struct statvfs *v)
{
	uint64_t n = rnd(2) ? UINT64_MAX : 0;

	*v = (struct statvfs){.f_bsize = (uint32_t)rnd(3) * 0x7fffffff,
			      .f_frsize = (uint32_t)n,
			      .f_blocks = n,
			      .f_bfree = ~n,
			      .f_bavail = rnd(UINT64_MAX),
			      .f_files = n,
			      .f_namemax = (uint32_t)n};
}

static uint8_t junk[REMOTE_MAX_DATA];

/* An attribute's value or list, not longer than what was asked for. */
static void lie_of_xattr(enum remote_op op, struct remote_msg *m)
{
	if (m->data_len == 0) {
		m->size = rnd(XATTR_SIZE_MAX + 1);
		return;
	}
	m->size = m->data_len = rnd(m->data_len) + 1;
	memset(junk, rnd(256), m->data_len);
	if (op == REMOTE_LISTXATTR)
		junk[m->data_len - 1] = '\0';
	m->data = junk;
}

static void lie_of_value(enum remote_op op, struct remote_msg *m)
{
	switch (op) {
	case REMOTE_READ:
		m->data_len = m->data_len ? rnd(m->data_len + 1) : 0;
		break;
	case REMOTE_WRITE:
		m->size = m->size ? rnd(m->size + 1) : 0;
		break;
	case REMOTE_LSEEK:
		m->off = rnd(INT64_MAX);
		break;
	case REMOTE_STATFS:
		lie_of_statfs(&m->vfs);
		break;
	case REMOTE_GETXATTR:
	case REMOTE_LISTXATTR:
		lie_of_xattr(op, m);
		break;
	default:
		break;
	}
}

/* ---- Listings ---- */

static const char *strange_name(void)
{
	static char name[NAME_MAX + 1];
	size_t n = rnd(2) ? NAME_MAX : 1 + rnd(8);

	for (size_t i = 0; i < n; i++) {
		name[i] = 1 + rnd(255);
		if (name[i] == '/')
			name[i] = '\n';
	}
	name[n] = '\0';
	return name;
}

static void lie_of_entry(struct remote_entry *e, const struct remote_entry *before)
{
	struct remote_msg m = {.node = e->node, .st = e->st};
	bool dot = strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0;

	switch (rnd(8)) {
	case 0:
		e->next = rnd(2) ? before->next : 1 + rnd(UINT64_MAX);
		break;
	case 1:
		e->type = rnd(16);
		break;
	case 2:
		e->ino = rnd(2) ? before->ino : rnd(3);
		break;
	case 3:
		e->name = dot || e->node ? e->name : "..";
		break;
	case 4:
		e->name = dot ? "again" : before->name;
		e->node = strcmp(e->name, ".") && strcmp(e->name, "..") ? e->node : 0;
		break;
	case 5:
		e->name = strange_name();
		break;
	default:
		if (!e->node)
			break;
		lie_of_file(REMOTE_LOOKUP, &m);
		e->node = m.node;
		e->st = m.st;
	}
	/* Names that are the dots have no node, whatever else is told. */
	if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
		e->node = 0;
}

static void lie_of_listing(struct remote_msg *m)
{
	static uint8_t data[REMOTE_MAX_DATA];
	struct remote_entry e, before = {.next = 1, .name = "first"};
	size_t pos = 0, len = 0, n = 1;

	while (n > 0 && remote_get_entry(m->data, m->data_len, &pos, &e) > 0) {
		struct remote_entry told = e;

		if (one_in(me.lie))
			lie_of_entry(&told, &before);
		n = one_in(20) ? 1 : remote_put_entry(data + len, sizeof(data) - len, &told);
		len += n == 1 ? 0 : n; /* 1: it is left out */
		before = e;
	}
	/* A listing that does not end. */
	if (len == 0 && rnd(3) > 0) {
		e = (struct remote_entry){.next = 1 + rnd(9), .name = strange_name()};
		if (strcmp(e.name, ".") && strcmp(e.name, ".."))
			len = remote_put_entry(data, sizeof(data), &e);
	}
	m->data = data;
	m->data_len = len;
}

/* ---- Descriptors ---- */

static int open_fifo(void)
{
	(void)mkfifo("/tmp/.hostile-fifo", 0600);
	return open("/tmp/.hostile-fifo", O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

/* Of a regular file, and open for what was asked: what the daemon has to judge by the device. */
static int other_file(int mode)
{
	static const char *const paths[] = {
	    "/proc/self/mem", "/proc/self/environ",
	    "/dev/shm/h",     "/tmp/.hostile-file",
	    "/.aib-guest",    "/sys/kernel/mm/transparent_hugepage/enabled"};
	int fd;

	if (rnd(6) == 0) {
		fd = memfd_create("h", MFD_CLOEXEC);
		return fd >= 0 && ftruncate(fd, 100000) < 0 ? -1 : fd;
	}
	fd = open(paths[rnd(ARRAY_SIZE(paths))], mode | O_CLOEXEC | O_NOFOLLOW);
	return fd;
}

static int bad_file(int mode)
{
	int fds[2];

	switch (rnd(6)) {
	case 0:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case 1:
		return open_fifo();
	case 2:
		return open("/dev/null", mode | O_CLOEXEC);
	case 3:
		return open("/tmp/.hostile-file", O_PATH | O_CREAT | O_CLOEXEC, 0600);
	case 4:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
			return -1;
		close(fds[1]);
		return fds[0];
	default: /* less than asked, where that is more than one */
		return open("/tmp/.hostile-file",
			    (mode == O_RDONLY ? O_WRONLY : O_RDONLY) | O_CREAT | O_CLOEXEC, 0600);
	}
}

/* FD, or what is sent instead; the caller closes it where it is another. */
static int lie_of_fd(const struct remote_head *h, const struct remote_msg *m, int fd)
{
	int other = -1;

	if (fd < 0 || h->error)
		return fd;
	if (h->op != REMOTE_EXEC && does(KIND_FDS) && one_in(me.lie))
		other = other_file(fcntl(fd, F_GETFL) & O_ACCMODE);
	else if (does(KIND_BAD_FDS) && one_in(me.brk))
		other = bad_file(fcntl(fd, F_GETFL) & O_ACCMODE);
	return other >= 0 ? other : fd;
}

/* ---- One answer ---- */

/* A success that is none. What M may have is set to something. */
static void lie_of_success(struct remote_head *h, struct remote_msg *m)
{
	if (h->op == REMOTE_OPEN || h->op == REMOTE_CREATE || h->op == REMOTE_OPENDIR ||
	    h->op == REMOTE_EXEC || me.n_known == 0)
		return; /* of an open file it would be an id that means nothing */
	if (h->op == REMOTE_GETATTR || h->op == REMOTE_SETATTR)
		return; /* it would have to be of the node's type */
	h->error = 0;
	lie_of_node(m);
	if (h->op == REMOTE_MKDIR || h->op == REMOTE_SYMLINK)
		set_type(m, h->op == REMOTE_MKDIR ? S_IFDIR : S_IFLNK, 1);
	lie_of_target(m);
}

static void lie(struct remote_head *h, struct remote_msg *m)
{
	bool links = does(KIND_LINKS) || does(KIND_TWO_FACED);

	if (h->error && h->op == REMOTE_LOOKUP && does(KIND_TWO_FACED) && me.n_known) {
		h->error = 0;
		lie_of_node(m);
	}
	if (h->error && h->op == REMOTE_READLINK && links) {
		h->error = 0; /* it is told to be a link */
		lie_of_target(m);
	} else if (does(KIND_ERRORS) && rnd(6) == 0) {
		if (h->error)
			lie_of_success(h, m);
		else
			h->error = 1 + rnd(REMOTE_MAX_ERRNO);
	} else if (h->error) {
		return;
	} else if (h->op == REMOTE_READLINK) {
		if (links)
			lie_of_target(m);
	} else if (h->op == REMOTE_READDIR) {
		if (does(KIND_DIRS))
			lie_of_listing(m);
	} else if (m->st.st_mode) {
		lie_of_file(h->op, m);
	} else if (does(KIND_VALUES)) {
		lie_of_value(h->op, m);
	}
}

/* ---- Bytes ---- */

static int flood(struct remote_stream *s, const uint8_t *frame, size_t len)
{
	int r = 0;

	for (int i = 0; i < 2000 && r == 0; i++) {
		struct iovec iov = {(void *)frame, len};

		r = __real_remote_stream_write(s, &iov, 1, -1);
	}
	return r;
}

/* More than was asked for, whatever that was. */
static void tell_more(struct remote_msg *m)
{
	memset(junk, 'j', sizeof(junk));
	m->data = junk;
	m->data_len = sizeof(junk);
}

/* What is sent of the frame of *LEN bytes; it may end the connection. */
static int break_bytes(struct remote_stream *s, uint8_t *frame, size_t *len)
{
	switch (rnd(6)) {
	case 0:
		*len = rnd(*len + 1);
		break;
	case 1:
		frame[rnd(4)] = rnd(256);
		break;
	case 2:
		return flood(s, frame, *len);
	case 3:
		for (size_t i = 0; i < *len; i++)
			frame[i] = rnd(256);
		break;
	case 4:
		remote_stream_shutdown(s);
		break;
	default:
		for (unsigned i = 1 + rnd(4); i > 0; i--)
			frame[rnd(*len)] ^= 1 << rnd(8);
	}
	return 0;
}

static size_t make_frame(uint8_t *out, const struct remote_head *h, const struct remote_msg *m)
{
	size_t len = remote_encode(out, h->op, REMOTE_ANSWER, h->id, h->error, m);

	if (h->error || m->data_len == 0)
		return len;
	memcpy(out + len, m->data, m->data_len);
	return len + m->data_len;
}

static size_t gather(uint8_t *out, const struct iovec *iov, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return len;
}

/* The frame of LEN bytes in FRAME as it is told. */
static size_t tell(uint8_t *frame, size_t len, int *fd)
{
	static uint8_t honest[FRAME];
	struct remote_msg m = {.data = NULL};
	struct remote_head h;
	mode_t type;

	memcpy(honest, frame, len);
	(void)remote_decode_head(honest, &h);
	if (!h.error)
		(void)remote_decode(honest + REMOTE_HEADER, h.len, h.op, REMOTE_ANSWER, &m);
	if (h.op == REMOTE_HELLO) {
		me.root = m.node;
		return len;
	}
	if (m.node)
		learn(&m);
	type = me.types[h.id & 0xff];
	if ((h.op == REMOTE_GETATTR || h.op == REMOTE_SETATTR) && type)
		m.st.st_mode = (m.st.st_mode & 07777) | type;
	/* Where the root's names were lies too, there would be little below them. */
	if (me.spared == h.id && rnd(50))
		return len;
	if (one_in(me.lie))
		lie(&h, &m);
	if (h.op == REMOTE_READ && !h.error && does(KIND_BYTES) && one_in(me.brk))
		tell_more(&m);
	*fd = h.error ? -1 : lie_of_fd(&h, &m, *fd);
	return make_frame(frame, &h, &m);
}

int __wrap_remote_stream_write(struct remote_stream *s, struct iovec *iov, int n, int fd)
{
	static uint8_t frame[FRAME];
	size_t len = gather(frame, iov, n);
	struct iovec out = {frame, 0};
	int told = fd, r = 0;

	if (!me.is_read)
		read_conf();
	len = tell(frame, len, &told);
	if (does(KIND_STALLS) && one_in(me.brk))
		(void)poll(NULL, 0, rnd(3) ? rnd(1000) : 3600 * 1000);
	if (does(KIND_BYTES) && one_in(me.brk))
		r = break_bytes(s, frame, &len);
	out.iov_len = len;
	if (r == 0)
		r = __real_remote_stream_write(s, &out, 1, told);
	if (told != fd)
		closep(&told);
	return r;
}

/* ---- What comes ---- */

int __wrap_serve_resolve(struct server_call *c)
{
	me.types[c->head.id & 0xff] = (c->in.node >> TYPE_SHIFT & 0xf) << 12;
	c->in.node &= REAL_ID;
	c->in.node2 &= REAL_ID;
	if (c->head.op == REMOTE_LOOKUP && c->in.node == me.root)
		me.spared = c->head.id;
	return __real_serve_resolve(c);
}

/* What was lied of is counted wrongly: every node stays. */
int __wrap_serve_forget_all(struct server *s, const struct remote_msg *m)
{
	return 0;
}
