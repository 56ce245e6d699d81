/* One actor: its open files, its mappings, and the calls that are made through them. */
#include "differ.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAP_SIZE (16 * 4096)
#define BUF_SIZE 65536

struct mapping {
	char *at;
	bool writable;
};

static int fds[SLOTS];
static struct mapping maps[SLOTS];
static char data[BUF_SIZE] __attribute__((aligned(4096)));
static sigjmp_buf fault;

/* ---- Answers ---- */

void say(char *out, const char *format, ...)
{
	size_t n = strlen(out);
	va_list ap;

	va_start(ap, format);
	vsnprintf(out + n, OUT_SIZE - n, format, ap);
	va_end(ap);
}

void say_result(char *out, long r)
{
	if (r < 0)
		say(out, "-%s ", strerrorname_np(errno));
	else
		say(out, "%ld ", r);
}

uint64_t digest(const void *p, size_t size)
{
	const unsigned char *bytes = p;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		h = (h ^ bytes[i]) * 0x100000001b3ULL;
	return h;
}

static void say_data(char *out, const void *p, long r)
{
	say_result(out, r);
	if (r > 0)
		say(out, "%llx", (unsigned long long)digest(p, r));
}

/* ---- Open files ---- */

static void do_open(const struct op *op, char *out)
{
	char buf[PATH_SIZE];
	int fd = open(path_string(&op->a, buf), op->flags, op->mode & 07777), old = fds[op->slot];

	say_result(out, fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	say_stat(out, fd, "", AT_EMPTY_PATH);
	fds[op->slot] = fd;
	if (old >= 0)
		close(old);
}

static long copied(const struct op *op, char *out)
{
	off_t from = op->off, to = op->off2;
	bool given = op->choice % 3 != 0;
	long r = copy_file_range(fds[op->slot], given ? &from : NULL, fds[op->slot2],
				 given ? &to : NULL, op->len, op->choice % 40 == 0);

	if (r >= 0 && given)
		say(out, "%lld,%lld ", (long long)(from - op->off), (long long)(to - op->off2));
	return r;
}

static void fill(const struct op *op)
{
	uint64_t state = op->choice;
	size_t n = op->len < 0 ? 0 : op->len;

	for (size_t i = 0; i < n && i < BUF_SIZE; i += 8) {
		uint64_t r = op->choice % 8 ? random_next(&state) : 0;

		memcpy(data + i, &r, 8);
	}
}

static long written(const struct op *op)
{
	struct iovec v[3];
	size_t len = op->len;
	off_t off = op->off;

	fill(op);
	if (op->kind == OP_WRITEV) {
		v[0] = (struct iovec){data, len / 3};
		v[1] = (struct iovec){data + len / 3, 0};
		v[2] = (struct iovec){data + len / 3, len - len / 3};
		return op->choice % 2 ? writev(fds[op->slot], v, 3)
				      : pwritev(fds[op->slot], v, 3, off);
	}
	return op->choice % 2 ? write(fds[op->slot], data, len)
			      : pwrite(fds[op->slot], data, len, off);
}

/* Where a listing is, is a number of the file system's. */
static bool is_directory(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_direct(int fd)
{
	return fcntl(fd, F_GETFL) & O_DIRECT;
}

/* What O_DIRECT is asked for is aligned: which alignment is needed is the file system's. */
static struct op aligned(const struct op *op)
{
	struct op a = *op;

	if (is_direct(fds[op->slot]) || is_direct(fds[op->slot2])) {
		a.off &= ~4095LL;
		a.off2 &= ~4095LL;
		a.len = (a.len < 0 ? 0 : a.len + 4095) & ~4095LL;
	}
	return a;
}

static long synced(const struct op *op)
{
	switch (op->choice % 3) {
	case 0:
		return fsync(fds[op->slot]);
	case 1:
		return fdatasync(fds[op->slot]);
	default:
		return sync_file_range(fds[op->slot], 0, 0, SYNC_FILE_RANGE_WRITE);
	}
}

/* ---- Mappings: a touch of what is past the end is told ---- */

static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

static void do_mmap(const struct op *op, char *out)
{
	struct mapping *m = &maps[op->slot];
	bool shared = op->choice % 4 != 0, writable = op->choice % 5 != 0;
	char *at =
	    mmap(NULL, MAP_SIZE, PROT_READ | (writable ? PROT_WRITE : 0),
		 shared ? MAP_SHARED : MAP_PRIVATE, fds[op->slot], op->choice % 3 ? 0 : 4096);

	if (m->at)
		munmap(m->at, MAP_SIZE);
	say_result(out, at == MAP_FAILED ? -1 : 0);
	*m = (struct mapping){at == MAP_FAILED ? NULL : at, writable};
}

static void touch_map(const struct op *op, char *out)
{
	struct mapping *m = &maps[op->slot];
	size_t at = op->off & (MAP_SIZE - 1), len = op->len < 0 ? 0 : op->len;

	if (len > MAP_SIZE - at)
		len = MAP_SIZE - at;
	if (!m->at || (op->kind == OP_MSTORE && !m->writable))
		return;
	if (sigsetjmp(fault, 1)) {
		say(out, "SIGBUS");
		if (op->kind == OP_MSTORE) /* what came before the file's end was stored */
			say_result(out, msync(m->at, MAP_SIZE, MS_SYNC));
		return;
	}
	if (op->kind == OP_MSTORE) {
		fill(op);
		memcpy(m->at + at, data, len < BUF_SIZE ? len : BUF_SIZE);
		/* Until then it is open when the times change. */
		say_result(out, msync(m->at, MAP_SIZE, MS_SYNC));
	} else {
		memcpy(data, m->at + at, len);
		say_data(out, data, len);
	}
}

/* ---- Locks: never waits ---- */

static long locked(const struct op *op, char *out)
{
	static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
	static const int commands[] = {F_SETLK, F_SETLK, F_OFD_SETLK, F_GETLK, F_OFD_GETLK};
	struct flock l = {
	    .l_type = types[op->choice % 3], .l_start = op->off % 200, .l_len = op->len % 100};
	int command = commands[op->choice / 3 % 5];
	long r = fcntl(fds[op->slot], command, &l);

	if (r == 0 && (command == F_GETLK || command == F_OFD_GETLK))
		say(out, "%d %d %lld %lld ", l.l_type, l.l_pid > 0, (long long)l.l_start,
		    (long long)l.l_len);
	return r;
}

static long flocked(const struct op *op)
{
	static const int how[] = {LOCK_SH, LOCK_EX, LOCK_UN};

	return flock(fds[op->slot], how[op->choice % 3] | LOCK_NB);
}

/* ---- One call ---- */

static void act_files(const struct op *given, char *out)
{
	struct op op = aligned(given);
	int fd = fds[op.slot];
	long r;

	switch (op.kind) {
	case OP_OPEN:
		do_open(given, out);
		return;
	case OP_CLOSE:
		fds[op.slot] = -1;
		r = close(fd);
		break;
	case OP_DUP:
		r = op.slot == op.slot2 || fd < 0
			? 0
			: dup3(fd, fds[op.slot2] < 0 ? 500 + op.slot2 : fds[op.slot2], O_CLOEXEC);
		if (r > 0)
			fds[op.slot2] = r;
		r = r < 0 ? r : 0;
		break;
	case OP_READ:
		if (op.choice % 50 == 1) {
			r = read(fd, (void *)1, op.len);
			break;
		}
		r = op.choice % 2 ? read(fd, data, op.len) : pread(fd, data, op.len, op.off);
		say_data(out, data, r);
		return;
	case OP_WRITE:
	case OP_WRITEV:
		r = written(&op);
		break;
	case OP_LSEEK:
		r = is_directory(fd) ? 0 : lseek(fd, op.off, op.flags);
		break;
	case OP_FTRUNCATE:
		r = ftruncate(fd, op.off);
		break;
	case OP_FALLOCATE:
		r = fallocate(fd, op.flags, op.off, op.len);
		break;
	case OP_COPY:
		r = copied(&op, out);
		break;
	case OP_SENDFILE:
		r = sendfile(fds[op.slot2], fd, op.choice % 2 ? &op.off : NULL, op.len);
		break;
	case OP_SYNC:
		r = synced(&op);
		break;
	case OP_ADVISE:
		r = posix_fadvise(fd, 0, 0,
				  op.choice % 2 ? POSIX_FADV_DONTNEED : POSIX_FADV_WILLNEED);
		break;
	case OP_MMAP:
		do_mmap(&op, out);
		return;
	case OP_MSTORE:
	case OP_MLOAD:
		touch_map(&op, out);
		return;
	case OP_MUNMAP:
		if (maps[op.slot].at)
			munmap(maps[op.slot].at, MAP_SIZE);
		maps[op.slot].at = NULL;
		return;
	case OP_FLOCK:
		r = flocked(&op);
		break;
	case OP_LOCK:
		r = locked(&op, out);
		break;
	default:
		return;
	}
	say_result(out, r);
}

static void become(const struct actor *a)
{
	if (setgroups(a->n_groups, a->groups) < 0 || setresgid(a->gid, a->gid, a->gid) < 0 ||
	    setresuid(a->uid, a->uid, a->uid) < 0)
		_exit(3);
}

void act(int fd, unsigned who, const char *dir, const struct setup *setup)
{
	static const uint32_t masks[ACTORS] = {022, 0, 027, 077, 02};
	struct op op;

	signal(SIGBUS, on_fault);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (int i = 0; i < SLOTS; i++)
		fds[i] = -1;
	umask(masks[who]);
	if (chdir(dir) < 0)
		_exit(2);
	if (setup->users)
		become(&actors[who]);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user ends it */
	while (read(fd, &op, sizeof(op)) == sizeof(op)) {
		char out[OUT_SIZE] = "";

		if (!act_names(&op, fds, out))
			act_files(&op, out);
		if (write(fd, out, sizeof(out)) != sizeof(out))
			break;
	}
	_exit(0);
}
