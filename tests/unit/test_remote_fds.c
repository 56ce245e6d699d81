/*
 * Descriptors over the remote protocol: what is passed is the file that was opened, by whichever
 * pieces its frame comes in, and whatever else comes ends the connection and is closed.
 */
#include "remote_script.h"
#include "remote_world.h"

#include "base/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

extern const struct bk_type host_type;

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
	const struct remote_conf conf = {.fd_ok = script_any_fd};
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
		const struct remote_conf conf = {.fd_ok = script_any_fd, .attrs_here = here};
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
	const struct remote_conf conf = {.fd_ok = script_any_fd, .attrs_here = true};
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
	const struct remote_conf conf = {.fd_ok = script_any_fd};
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

/* ---- Frames in pieces ---- */

static void byte_by_byte(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	size_t n = script_encode(out, head, head->op == REMOTE_OPEN ? REMOTE_HAS_FD : 0);

	for (size_t i = 0; i < n; i++)
		script_send(s->fd, out + i, 1, s->pass, i == 0 && head->op == REMOTE_OPEN);
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
	n = script_encode(out, &first, REMOTE_HAS_FD);
	script_send(s->fd, out, at, s->pass, 1);
	usleep(2000);
	n += script_encode(out + n, head, 0);
	script_send(s->fd, out + at, n - at, NULL, 0);
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
	n = script_encode(out, head, 0);
	script_send(s->fd, out, n, NULL, 0);
	n = script_encode(out, &first, REMOTE_HAS_FD);
	script_send(s->fd, out, n, s->pass, 1);
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
	    script_in_one, byte_by_byte, rest_with_the_next, behind_another};
	const struct remote_conf conf = {.fd_ok = script_any_fd};
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

static void two_in_pieces(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	size_t n = script_encode(out, head, REMOTE_HAS_FD);

	script_send(s->fd, out, 3, s->pass, 1);
	script_send(s->fd, out + 3, n - 3, s->pass, 1);
}

static void with_an_error(struct scripted *s, const struct remote_head *head)
{
	uint8_t out[REMOTE_MAX_HEAD];
	size_t n = remote_encode(out, head->op, REMOTE_ANSWER, head->id, EIO, NULL);

	script_send(s->fd, out, n, s->pass, 1);
}

struct wrong {
	void (*answer)(struct scripted *, const struct remote_head *);
	int fd;
	bool agrees, wanted, getattr;
};

static void check_wrong(const struct wrong *w)
{
	const struct remote_conf conf = {.fd_ok = w->wanted ? script_any_fd : NULL};
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
	    {script_in_one, fds[1], true, true, false},	  /* only to read */
	    {script_in_one, fds[2], true, true, false},	  /* O_PATH */
	    {script_in_one, fds[3], true, true, false},	  /* a directory */
	    {script_in_one, pipes[0], true, true, false}, /* a FIFO */
	    {script_two, fds[0], true, true, false},	  /* one is cut off */
	    {two_in_pieces, fds[0], true, true, false},	  /* of one frame */
	    {script_not_told, fds[0], true, true, false}, /* its flag is not set */
	    {script_not_told, fds[0], true, true, true},  /* beside another answer */
	    {with_an_error, fds[0], true, true, false},
	    {script_in_one, fds[0], false, true,
	     false}, /* the server had said that it passes none */
	    {script_not_told, fds[0], false, false, false}, /* the client had not asked */
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
	script_send(fd, out, remote_encode(out, head.op, REMOTE_REQUEST, head.id, 0, &m), &fd, 1);
	world_join(&w);
	CHECK_EQ(w.result, -EPROTO);
	close(fd);
	fake_done(&f);
	CHECK_EQ(count_fds(), fds);
}

/* This process may have no more descriptors: the file is read as without. */
static void without_room_for_it_the_file_is_opened_all_the_same(void)
{
	const struct remote_conf conf = {.fd_ok = script_any_fd};
	struct rlimit before, limit;
	struct scripted s = {.fd = -1};
	struct bk_file *file;
	char name[] = "/tmp/aib-test-fds-XXXXXX";
	int fd = mkstemp(name);

	s.pass[0] = fd;
	script_begin(&s, &conf, true, script_in_one);
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
	const struct remote_conf conf = {.fd_ok = script_any_fd};
	char name[] = "/tmp/aib-test-fds-XXXXXX", got[4];
	struct scripted s = {.pass = {mkstemp(name)}};
	struct bk_file *file;

	script_begin(&s, &conf, true, script_in_one);
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
	CHECK_EQ(count_fds(), fds);
	return 0;
}
