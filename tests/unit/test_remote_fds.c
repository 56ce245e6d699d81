/*
 * Descriptors over the remote protocol: what is passed is the file that was opened, by whichever
 * pieces its frame comes in, and whatever else comes ends the connection and is closed.
 */
#include "remote_world.h"

#include "base/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

extern const struct bk_type host_type;

static bool any(void *ctx, const struct stat *st)
{
	return true;
}

static bool none(void *ctx, const struct stat *st)
{
	(*(unsigned *)ctx)++;
	return false;
}

/* ---- A host directory, served in this process ---- */

struct place {
	char dir[40];
	struct bk *host, *bk;
	struct bk_node *root;
	struct world w;
};

static void place_init(struct place *p, const struct remote_conf *conf)
{
	cJSON *options = cJSON_CreateObject();
	const struct bk_mount mount = {.can_switch_user = false};
	int fd;

	strcpy(p->dir, "/tmp/aib-test-fds-XXXXXX");
	CHECK(mkdtemp(p->dir));
	cJSON_AddStringToObject(options, "path", p->dir);
	CHECK_EQ(host_type.make(&mount, "/host", options, NULL, &p->host, NULL), 0);
	CHECK_EQ(p->host->ops->prepare(NULL, p->host, NULL, NULL, NULL), 0);
	cJSON_Delete(options);
	fd = world_serve(&p->w, p->host, 0);
	CHECK_EQ(remote_new(NULL, fd, fd, "/remote", conf, &p->bk, NULL), 0);
	p->root = bk_root(p->bk);
}

static void place_done(struct place *p)
{
	bk_node_unref(p->root);
	bk_free(p->bk);
	world_join(&p->w);
	CHECK_EQ(p->w.result, 0);
	bk_free(p->host);
	CHECK_EQ(rmdir(p->dir), 0);
}

static void create(struct place *p, const char *name, int flags, struct bk_node **ret_node,
		   struct bk_file **ret_file)
{
	struct stat st;

	CHECK_EQ(bk_create(NULL, p->root, name, 0600, O_CREAT | flags, ret_node, ret_file, &st), 0);
}

static void remove_file(struct place *p, const char *name, struct bk_node *node,
			struct bk_file *file)
{
	bk_release(file);
	bk_node_unref(node);
	CHECK_EQ(bk_unlink(NULL, p->root, name), 0);
}

static void check_fd(struct place *p, const char *name, int fd, int flags)
{
	char path[64];
	struct stat want, st;

	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	CHECK_EQ(stat(path, &want), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK(st.st_dev == want.st_dev && st.st_ino == want.st_ino);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, flags);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void an_open_file_has_its_descriptor_and_reads_ask_nobody(void)
{
	const struct remote_conf conf = {.fd_ok = any};
	struct bk_file *file, *again;
	struct bk_node *node;
	struct place p;
	char got[16];
	uint64_t calls;

	place_init(&p, &conf);
	create(&p, "f", O_RDWR, &node, &file);
	check_fd(&p, "f", bk_backing_fd(file), O_RDWR);
	CHECK_EQ(bk_write(NULL, file, "hello", 5, 3), 5);
	CHECK_EQ(bk_open(NULL, node, O_RDONLY, &again), 0);
	check_fd(&p, "f", bk_backing_fd(again), O_RDONLY);
	calls = atomic_load(&p.host->calls);
	CHECK_EQ(bk_read(NULL, again, got, sizeof(got), 3), 5);
	CHECK(memcmp(got, "hello", 5) == 0);
	CHECK_EQ(bk_read(NULL, again, got, sizeof(got), 8), 0);
	CHECK_EQ(bk_fsync(NULL, file, true), 0);
	CHECK_EQ(bk_lseek(NULL, file, 8, SEEK_DATA), -ENXIO);
	CHECK_EQ(atomic_load(&p.host->calls), calls);
	bk_release(again);
	CHECK_EQ(bk_open(NULL, node, O_WRONLY | O_APPEND, &again), 0);
	check_fd(&p, "f", bk_backing_fd(again), O_WRONLY);
	CHECK_EQ(bk_write(NULL, again, "!", 1, 0), 1);
	CHECK_EQ(bk_read(NULL, again, got, 1, 0), -EBADF);
	CHECK_EQ(bk_read(NULL, file, got, 1, 8), 1);
	bk_release(again);
	remove_file(&p, "f", node, file);
	place_done(&p);
}

/* The server's calls that CALL costs, which changes the attributes of NODE to ATTR. */
static uint64_t cost(struct place *p, struct bk_node *node, const struct bk_setattr *attr)
{
	uint64_t calls = atomic_load(&p->host->calls);
	struct stat st, now;

	CHECK_EQ(bk_setattr(NULL, node, NULL, attr, &st), 0);
	calls = atomic_load(&p->host->calls) - calls;
	CHECK_EQ(bk_getattr(NULL, node, NULL, &now), 0);
	CHECK_EQ(now.st_mode, st.st_mode);
	CHECK_EQ(now.st_mtim.tv_sec, st.st_mtim.tv_sec);
	CHECK_EQ(now.st_size, st.st_size);
	if (attr->mask & BK_SET_MODE)
		CHECK_EQ(st.st_mode & 07777, attr->mode);
	if (attr->mask & BK_SET_MTIME)
		CHECK_EQ(st.st_mtim.tv_sec, attr->mtime.tv_sec);
	return calls;
}

/* Only where the server may do all that this process may, and never where setuid bits come into it.
 */
static void attributes_of_an_open_file_are_changed_without_asking(void)
{
	const struct bk_setattr times = {.mask = BK_SET_MTIME | BK_SET_ATIME, .mtime.tv_sec = 77};
	const struct bk_setattr mode = {.mask = BK_SET_MODE, .mode = 0644};
	const struct bk_setattr setuid = {.mask = BK_SET_MODE, .mode = 04755};
	const struct bk_setattr owner = {.mask = BK_SET_UID | BK_SET_KILL_SUIDGID,
					 .uid = geteuid()};
	const struct bk_setattr size = {.mask = BK_SET_SIZE, .size = 5};

	for (int here = 0; here < 2; here++) {
		const struct remote_conf conf = {.fd_ok = any, .attrs_here = here};
		struct bk_file *file, *again;
		struct bk_node *node;
		struct place p;
		struct stat st;
		uint64_t calls;

		place_init(&p, &conf);
		create(&p, "f", O_RDWR, &node, &file);
		CHECK_EQ(cost(&p, node, &times), here ? 0 : 1);
		CHECK_EQ(cost(&p, node, &mode), here ? 0 : 1);
		CHECK_EQ(cost(&p, node, &owner), here ? 0 : 1);
		calls = atomic_load(&p.host->calls);
		CHECK_EQ(bk_getattr(NULL, node, NULL, &st), 0);
		CHECK_EQ(bk_getattr(NULL, node, file, &st), 0);
		CHECK_EQ(atomic_load(&p.host->calls) - calls, here ? 0 : 2);
		CHECK_EQ(cost(&p, node, &size), 1);
		CHECK_EQ(cost(&p, node, &setuid), 1);
		CHECK_EQ(cost(&p, node, &times), 1);
		CHECK_EQ(cost(&p, node, &mode), 1);
		CHECK_EQ(bk_open(NULL, node, O_RDONLY, &again), 0);
		bk_release(file);
		CHECK_EQ(cost(&p, node, &times), 1); /* the one that was lent is closed */
		bk_release(again);
		CHECK_EQ(cost(&p, node, &mode), 1);
		CHECK_EQ(bk_open(NULL, node, O_RDONLY, &file), 0);
		CHECK_EQ(cost(&p, node, &mode), here ? 0 : 1);
		remove_file(&p, "f", node, file);
		place_done(&p);
	}
}

/* The nth of many: times of a directory have ticks. */
static void check_dir(struct place *p, bool asked)
{
	uint64_t calls = atomic_load(&p->host->calls);
	struct stat st, want;

	CHECK_EQ(bk_getattr(NULL, p->root, NULL, &st), 0);
	CHECK_EQ(atomic_load(&p->host->calls) - calls, asked);
	CHECK_EQ(stat(p->dir, &want), 0);
	CHECK_EQ(st.st_ino, want.st_ino);
	CHECK_EQ(st.st_nlink, want.st_nlink);
	CHECK_EQ(st.st_mtim.tv_sec, want.st_mtim.tv_sec);
	CHECK_EQ(st.st_mtim.tv_nsec, want.st_mtim.tv_nsec);
}

static void a_change_tells_of_its_directory(void)
{
	const struct remote_conf conf = {.fd_ok = any, .attrs_here = true};
	const struct bk_setattr mode = {.mask = BK_SET_MODE, .mode = 0644};
	struct bk_node *node, *dir, *other;
	struct bk_file *file;
	struct place p;
	struct stat st;
	char path[64];

	place_init(&p, &conf);
	snprintf(path, sizeof(path), "%s/beside", p.dir);
	for (int i = 0; i < 10; i++) {
		check_dir(&p, true);
		create(&p, "f", O_RDWR, &node, &file);
		CHECK_EQ(cost(&p, node, &mode), 0);
		check_dir(&p, false);
		CHECK_EQ(bk_mkdir(NULL, p.root, "d", 0700, &dir, &st), 0);
		check_dir(&p, false);
		CHECK_EQ(bk_symlink(NULL, p.root, "l", "f", &other, &st), 0);
		bk_node_unref(other);
		check_dir(&p, false);
		CHECK_EQ(bk_link(NULL, node, p.root, "h", &other, &st), 0);
		bk_node_unref(other);
		check_dir(&p, false);
		CHECK_EQ(bk_unlink(NULL, p.root, "h"), 0);
		check_dir(&p, false);
		CHECK_EQ(bk_mknod(NULL, p.root, "p", S_IFIFO | 0600, 0, &other, &st), 0);
		bk_node_unref(other);
		check_dir(&p, false);
		CHECK_EQ(bk_rmdir(NULL, p.root, "d"), 0);
		bk_node_unref(dir);
		check_dir(&p, false);
		/* What may have changed it otherwise. */
		CHECK_EQ(mkdir(path, 0700), 0);
		remote_changed(p.bk);
		check_dir(&p, true);
		CHECK_EQ(rmdir(path), 0);
		CHECK_EQ(bk_unlink(NULL, p.root, "l"), 0);
		CHECK_EQ(bk_rename(NULL, p.root, "p", p.root, "q", 0), 0);
		check_dir(&p, true);
		CHECK_EQ(bk_unlink(NULL, p.root, "q"), 0);
		remove_file(&p, "f", node, file);
		usleep(110000); /* CLIENT_AHEAD_MS */
	}
	place_done(&p);
}

static void what_is_refused_or_not_asked_for_is_read_as_ever(void)
{
	unsigned refused = 0;
	const struct remote_conf confs[] = {{.fd_ok = none, .ctx = &refused}, {.fd_ok = NULL}};
	struct bk_file *file;
	struct bk_node *node;
	struct place p;
	char got[8];

	for (size_t i = 0; i < ARRAY_SIZE(confs); i++) {
		place_init(&p, &confs[i]);
		create(&p, "f", O_RDWR, &node, &file);
		CHECK_EQ(bk_backing_fd(file), -EOPNOTSUPP);
		CHECK_EQ(bk_write(NULL, file, "hello", 5, 0), 5);
		CHECK_EQ(bk_read(NULL, file, got, sizeof(got), 0), 5);
		remove_file(&p, "f", node, file);
		place_done(&p);
	}
	CHECK_EQ(refused, 1);
}

struct opening {
	struct place *p;
	unsigned id;
	pthread_t thread;
};

static void *open_many(void *arg)
{
	static char data[300000];
	struct opening *o = arg;
	char name[16];

	for (int i = 0; i < 300; i++) {
		struct bk_node *node;
		struct bk_file *file;
		struct stat st;

		snprintf(name, sizeof(name), "f%u-%d", o->id, i);
		create(o->p, name, O_RDWR, &node, &file);
		check_fd(o->p, name, bk_backing_fd(file), O_RDWR);
		CHECK_EQ(bk_write(NULL, file, data, sizeof(data), 0), sizeof(data));
		CHECK_EQ(bk_getattr(NULL, node, file, &st), 0);
		remove_file(o->p, name, node, file);
	}
	return NULL;
}

static void each_of_many_threads_gets_its_own(void)
{
	const struct remote_conf conf = {.fd_ok = any};
	struct opening o[8];
	struct place p;

	place_init(&p, &conf);
	for (unsigned i = 0; i < ARRAY_SIZE(o); i++) {
		o[i] = (struct opening){.p = &p, .id = i};
		CHECK_EQ(pthread_create(&o[i].thread, NULL, open_many, &o[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(o); i++)
		CHECK_EQ(pthread_join(o[i].thread, NULL), 0);
	place_done(&p);
}

/* ---- A server that passes what a test says ---- */

#define MAX_SENT 4

struct scripted {
	int fd;
	bool agrees, can_exec; /* as its hello says */
	/* Send the answer to an OPEN, an EXEC or a GETATTR. */
	void (*answer)(struct scripted *s, const struct remote_head *head);
	int pass[MAX_SENT]; /* descriptors for it */
	pthread_t thread;
	struct bk *bk;
	struct bk_node *root, *node;
};

static void send_with(int fd, const void *data, size_t size, const int *fds, unsigned n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_SENT * sizeof(int))];
	} control = {.align = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
			       .cmsg_level = SOL_SOCKET,
			       .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static size_t encode(uint8_t *out, const struct remote_head *head, uint32_t flags)
{
	const struct remote_msg m = {
	    .magic = REMOTE_MAGIC,
	    .version = REMOTE_VERSION,
	    .inflight = 8,
	    .flags = flags,
	    .node = head->op == REMOTE_HELLO ? 1 : 2,
	    .st = {.st_ino = 2, .st_mode = head->op == REMOTE_HELLO ? S_IFDIR : S_IFREG},
	    .file = 7,
	};

	return remote_encode(out, head->op, REMOTE_ANSWER, head->id, 0, &m);
}

static void *serve_script(void *arg)
{
	struct scripted *s = arg;
	uint8_t *payload = malloc(REMOTE_MAX_PAYLOAD), out[REMOTE_MAX_HEAD];
	struct remote_head head;

	while (raw_read(s->fd, &head, payload)) {
		uint32_t flags =
		    (s->agrees ? REMOTE_CAN_PASS_FDS : 0) | (s->can_exec ? REMOTE_CAN_EXEC : 0);

		if (head.op == REMOTE_OPEN || head.op == REMOTE_GETATTR || head.op == REMOTE_EXEC)
			s->answer(s, &head);
		else if (remote_has_answer(head.op))
			raw_write(s->fd, out, encode(out, &head, flags));
	}
	close(s->fd);
	free(payload);
	return NULL;
}

static void script_begin(struct scripted *s, const struct remote_conf *conf, bool agrees,
			 void (*answer)(struct scripted *, const struct remote_head *))
{
	struct stat st;
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	s->fd = fds[1];
	s->agrees = agrees;
	s->answer = answer;
	CHECK_EQ(pthread_create(&s->thread, NULL, serve_script, s), 0);
	CHECK_EQ(remote_new(NULL, fds[0], fds[0], "/remote", conf, &s->bk, NULL), 0);
	s->root = bk_root(s->bk);
	CHECK_EQ(bk_lookup(NULL, s->root, "f", &s->node, &st), 0);
}

static void script_end(struct scripted *s)
{
	bk_node_unref(s->node);
	bk_node_unref(s->root);
	bk_free(s->bk);
	CHECK_EQ(pthread_join(s->thread, NULL), 0);
}

/* ---- Frames in pieces ---- */

static void in_one(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	bool open = head->op != REMOTE_GETATTR;
	size_t n = encode(out, head, open ? REMOTE_HAS_FD : 0);

	send_with(s->fd, out, n, s->pass, open);
}

static void byte_by_byte(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	size_t n = encode(out, head, head->op == REMOTE_OPEN ? REMOTE_HAS_FD : 0);

	for (size_t i = 0; i < n; i++)
		send_with(s->fd, out + i, 1, s->pass, i == 0 && head->op == REMOTE_OPEN);
}

/* The head alone, then the rest together with all of the next answer, once there are two. */
static void rest_with_the_next(struct scripted *s, const struct remote_head *head)
{
	static struct remote_head first;
	uint8_t out[2 * REMOTE_MAX_HEAD];
	size_t n, at = 5;

	if (head->op == REMOTE_OPEN) {
		first = *head;
		return;
	}
	n = encode(out, &first, REMOTE_HAS_FD);
	send_with(s->fd, out, at, s->pass, 1);
	usleep(2000);
	n += encode(out + n, head, 0);
	send_with(s->fd, out + at, n - at, NULL, 0);
}

/* The answer before it, and it, before the client reads either. */
static void behind_another(struct scripted *s, const struct remote_head *head)
{
	static struct remote_head first;
	uint8_t out[REMOTE_MAX_HEAD];
	size_t n;

	if (head->op == REMOTE_OPEN) {
		first = *head;
		return;
	}
	n = encode(out, head, 0);
	send_with(s->fd, out, n, NULL, 0);
	n = encode(out, &first, REMOTE_HAS_FD);
	send_with(s->fd, out, n, s->pass, 1);
}

static void *ask_attr(void *arg)
{
	struct stat st;

	usleep(5000);
	CHECK_EQ(bk_getattr(NULL, arg, NULL, &st), 0);
	return NULL;
}

static void a_descriptor_is_its_frames_however_that_comes(void)
{
	static void (*const answers[])(struct scripted *, const struct remote_head *) = {
	    in_one, byte_by_byte, rest_with_the_next, behind_another};
	const struct remote_conf conf = {.fd_ok = any};
	char name[] = "/tmp/aib-test-fds-XXXXXX";
	int fd = mkstemp(name);
	struct stat want, st;

	CHECK_EQ(fstat(fd, &want), 0);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct scripted s = {.pass = {fd}};
		struct bk_file *file;
		pthread_t other;

		script_begin(&s, &conf, true, answers[i]);
		CHECK_EQ(pthread_create(&other, NULL, ask_attr, s.node), 0);
		CHECK_EQ(bk_open(NULL, s.node, O_RDWR, &file), 0);
		CHECK_EQ(pthread_join(other, NULL), 0);
		CHECK_EQ(fstat(bk_backing_fd(file), &st), 0);
		CHECK_EQ(st.st_ino, want.st_ino);
		bk_release(file);
		script_end(&s);
	}
	close(fd);
	unlink(name);
}

/* ---- What may not come ---- */

static void two_at_once(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];

	send_with(s->fd, out, encode(out, head, REMOTE_HAS_FD), s->pass, 2);
}

static void two_in_pieces(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	size_t n = encode(out, head, REMOTE_HAS_FD);

	send_with(s->fd, out, 3, s->pass, 1);
	send_with(s->fd, out + 3, n - 3, s->pass, 1);
}

static void not_told(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];

	send_with(s->fd, out, encode(out, head, 0), s->pass, 1);
}

static void with_an_error(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	size_t n = remote_encode(out, head->op, REMOTE_ANSWER, head->id, EIO, NULL);

	send_with(s->fd, out, n, s->pass, 1);
}

struct wrong {
	void (*answer)(struct scripted *, const struct remote_head *);
	int fd;
	bool agrees, wanted, getattr;
};

static void check_wrong(const struct wrong *w)
{
	const struct remote_conf conf = {.fd_ok = w->wanted ? any : NULL};
	struct scripted s = {.pass = {w->fd, w->fd}};
	unsigned fds = count_fds();
	struct bk_file *file;
	struct stat st;

	script_begin(&s, &conf, w->agrees, w->answer);
	if (w->getattr)
		CHECK_EQ(bk_getattr(NULL, s.node, NULL, &st), -EIO);
	else
		CHECK_EQ(bk_open(NULL, s.node, O_RDWR, &file), -EIO);
	/* Where the connection's thread saw it, it may be about to say so. */
	for (int i = 0; i < 1000 && !remote_is_over(s.bk); i++)
		usleep(1000);
	CHECK(remote_is_over(s.bk));
	script_end(&s);
	CHECK_EQ(count_fds(), fds);
}

static void any_other_ends_the_connection_and_is_closed(void)
{
	char dir[] = "/tmp/aib-test-fds-XXXXXX", path[64];
	int fds[4], pipes[2];

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	fds[0] = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	fds[1] = open(path, O_RDONLY | O_CLOEXEC);
	fds[2] = open(path, O_PATH | O_CLOEXEC);
	fds[3] = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	const struct wrong wrong[] = {
	    {in_one, fds[1], true, true, false},	/* only to read */
	    {in_one, fds[2], true, true, false},	/* O_PATH */
	    {in_one, fds[3], true, true, false},	/* a directory */
	    {in_one, pipes[0], true, true, false},	/* a FIFO */
	    {two_at_once, fds[0], true, true, false},	/* one is cut off */
	    {two_in_pieces, fds[0], true, true, false}, /* of one frame */
	    {not_told, fds[0], true, true, false},	/* its flag is not set */
	    {not_told, fds[0], true, true, true},	/* beside another answer */
	    {with_an_error, fds[0], true, true, false},
	    {in_one, fds[0], false, true, false},    /* the server had said that it passes none */
	    {not_told, fds[0], false, false, false}, /* the client had not asked */
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		check_wrong(&wrong[i]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(pipes[0]);
	close(pipes[1]);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(rmdir(dir), 0);
}

static void a_server_takes_none(void)
{
	struct remote_head head = {.op = REMOTE_HELLO, .id = 1};
	const struct remote_msg m = {
	    .magic = REMOTE_MAGIC, .version = REMOTE_VERSION, .inflight = 1};
	uint8_t out[REMOTE_MAX_HEAD];
	unsigned fds = count_fds();
	struct fake f;
	struct world w;
	int fd;

	fake_init(&f);
	fd = world_serve(&w, &f.bk, 0);
	send_with(fd, out, remote_encode(out, head.op, REMOTE_REQUEST, head.id, 0, &m), &fd, 1);
	world_join(&w);
	CHECK_EQ(w.result, -EPROTO);
	close(fd);
	fake_done(&f);
	CHECK_EQ(count_fds(), fds);
}

/* This process may have no more descriptors: the file is read as without. */
static void without_room_for_it_the_file_is_opened_all_the_same(void)
{
	const struct remote_conf conf = {.fd_ok = any};
	struct rlimit before, limit;
	struct scripted s = {.fd = -1};
	struct bk_file *file;
	char name[] = "/tmp/aib-test-fds-XXXXXX";
	int fd = mkstemp(name);

	s.pass[0] = fd;
	script_begin(&s, &conf, true, in_one);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 3;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	CHECK_EQ(bk_open(NULL, s.node, O_RDWR, &file), 0);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
	CHECK_EQ(bk_backing_fd(file), -EOPNOTSUPP);
	CHECK(!remote_is_over(s.bk));
	bk_release(file);
	script_end(&s);
	close(fd);
	unlink(name);
}

static void a_closed_connection_reads_nothing_more(void)
{
	const struct remote_conf conf = {.fd_ok = any};
	char name[] = "/tmp/aib-test-fds-XXXXXX", got[4];
	struct scripted s = {.pass = {mkstemp(name)}};
	struct bk_file *file;

	script_begin(&s, &conf, true, in_one);
	CHECK_EQ(bk_open(NULL, s.node, O_RDWR, &file), 0);
	CHECK_EQ(bk_read(NULL, file, got, sizeof(got), 0), 0);
	CHECK_EQ(shutdown(s.fd, SHUT_RDWR), 0);
	for (int i = 0; i < 1000 && !remote_is_over(s.bk); i++)
		usleep(1000);
	CHECK_EQ(bk_read(NULL, file, got, sizeof(got), 0), -EIO);
	bk_release(file);
	script_end(&s);
	close(s.pass[0]);
	unlink(name);
}

/* ---- Commands ---- */

struct exec_server {
	struct fake fake;
	int fd;
	pthread_t thread;
};

/* A command that prints its words, "|" behind each, and then its environment. */
static int print_words(void *ctx, const char *const *argv, const char *const *env, int *ret_fd)
{
	int fds[2];

	if (strcmp(argv[0], "fail") == 0)
		return -ENOEXEC;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (; *argv; argv++)
		dprintf(fds[1], "%s|", *argv);
	for (; env && *env; env++)
		dprintf(fds[1], "%s;", *env);
	dprintf(fds[1], "%s", env ? "." : "none.");
	close(fds[1]);
	*ret_fd = fds[0];
	return 0;
}

static void *serve_exec(void *arg)
{
	struct exec_server *s = arg;
	const struct remote_serve_conf conf = {.exec = print_words};

	CHECK_EQ(remote_serve(&s->fake.bk, s->fd, s->fd, &conf), 0);
	return NULL;
}

static void check_words(struct bk *bk, const char *const *argv, const char *const *env,
			const char *want)
{
	struct bk_stream *s;
	char got[256] = "";
	int fd;

	CHECK_EQ(remote_exec(NULL, bk, argv, env, &s, NULL), 0);
	CHECK(s->ops->fd(s) >= 0 && !s->ops->pending(s));
	CHECK_EQ(s->ops->read(s, got, sizeof(got) - 1), strlen(want));
	CHECK_STR(got, want);
	CHECK_EQ(s->ops->read(s, got, sizeof(got)), 0);
	s->ops->free(s);
	CHECK_EQ(remote_exec(NULL, bk, argv, env, &s, NULL), 0);
	fd = s->ops->take_fd(s);
	s->ops->free(s);
	CHECK_EQ(read(fd, got, sizeof(got) - 1), strlen(want));
	close(fd);
}

static void a_command_has_its_words_and_environment(void)
{
	const struct remote_conf conf = {.fd_ok = any};
	_cleanup_free_ char *much = malloc(REMOTE_MAX_DATA + 1);
	const char *const argv[] = {"run", "", "a b", NULL}, *const fail[] = {"fail", NULL};
	const char *const none_at_all[] = {NULL}, *const env[] = {"A=b", "C=", NULL};
	const char *const large[] = {much, NULL};
	unsigned fds = count_fds();
	struct exec_server s;
	struct bk_stream *stream;
	struct bk *bk;
	int pair[2];

	fake_init(&s.fake);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	s.fd = pair[1];
	CHECK_EQ(pthread_create(&s.thread, NULL, serve_exec, &s), 0);
	CHECK_EQ(remote_new(NULL, pair[0], pair[0], "/remote", &conf, &bk, NULL), 0);
	check_words(bk, argv, NULL, "run||a b|none.");
	check_words(bk, argv, env, "run||a b|A=b;C=;.");
	check_words(bk, argv, none_at_all, "run||a b|.");
	CHECK_EQ(remote_exec(NULL, bk, fail, NULL, &stream, NULL), -ENOEXEC);
	CHECK_EQ(remote_exec(NULL, bk, none_at_all, NULL, &stream, NULL), -EINVAL);
	memset(much, 'x', REMOTE_MAX_DATA);
	much[REMOTE_MAX_DATA] = '\0';
	CHECK_EQ(remote_exec(NULL, bk, large, NULL, &stream, NULL), -E2BIG);
	CHECK(!remote_is_over(bk));
	bk_free(bk);
	CHECK_EQ(pthread_join(s.thread, NULL), 0);
	fake_done(&s.fake);
	CHECK_EQ(count_fds(), fds);
}

static void where_no_commands_are_started_none_is_asked_for(void)
{
	const struct remote_conf conf = {.fd_ok = any};
	const char *const argv[] = {"run", NULL};
	struct bk_stream *stream;
	struct err err = {""};
	struct place p;

	place_init(&p, &conf);
	CHECK_EQ(remote_exec(NULL, p.bk, argv, NULL, &stream, &err), -EOPNOTSUPP);
	CHECK(err.text[0]);
	place_done(&p);
}

static void exec_answer(const struct wrong *w, int want)
{
	const struct remote_conf conf = {.fd_ok = any};
	const char *const argv[] = {"run", NULL};
	struct scripted s = {.pass = {w->fd, w->fd}};
	unsigned fds = count_fds();
	struct bk_stream *stream;

	s.can_exec = true;
	script_begin(&s, &conf, true, w->answer);
	CHECK_EQ(remote_exec(NULL, s.bk, argv, NULL, &stream, NULL), want);
	CHECK_EQ(remote_is_over(s.bk), want == -EIO);
	script_end(&s);
	CHECK_EQ(count_fds(), fds);
}

static void told_but_missing(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];

	raw_write(s->fd, out, encode(out, head, REMOTE_HAS_FD));
}

static void only_a_stream_socket_is_a_command(void)
{
	char name[] = "/tmp/aib-test-fds-XXXXXX";
	int file = mkstemp(name), packets[2], pipes[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets), 0);
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	exec_answer(&(struct wrong){in_one, file}, -EIO);
	exec_answer(&(struct wrong){in_one, packets[0]}, -EIO);
	exec_answer(&(struct wrong){in_one, pipes[0]}, -EIO);
	exec_answer(&(struct wrong){two_at_once, packets[0]}, -EIO);
	exec_answer(&(struct wrong){not_told, packets[0]}, -EIO);
	exec_answer(&(struct wrong){told_but_missing, -1}, -EMFILE);
	close(packets[0]);
	close(packets[1]);
	close(pipes[0]);
	close(pipes[1]);
	close(file);
	unlink(name);
}

int main(void)
{
	unsigned fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	umask(0);
	log_set_stderr(0);
	an_open_file_has_its_descriptor_and_reads_ask_nobody();
	attributes_of_an_open_file_are_changed_without_asking();
	a_change_tells_of_its_directory();
	what_is_refused_or_not_asked_for_is_read_as_ever();
	each_of_many_threads_gets_its_own();
	a_descriptor_is_its_frames_however_that_comes();
	any_other_ends_the_connection_and_is_closed();
	a_server_takes_none();
	without_room_for_it_the_file_is_opened_all_the_same();
	a_closed_connection_reads_nothing_more();
	a_command_has_its_words_and_environment();
	where_no_commands_are_started_none_is_asked_for();
	only_a_stream_socket_is_a_command();
	CHECK_EQ(count_fds(), fds);
	return 0;
}
